"""The page that a person reads."""

from pathlib import Path

from converters.contract.values import Ends, Scale
from converters.release import report
from converters.release.manifest import Manifest, Row, SourceRecord

ROW = Row(
    target="tflite", variant="int8-io-batch1", signature="serving_default", status="passed",
    path="tflite/int8-io-batch1.tflite", bytes=2168, shapes={"image": (1, 8, 8, 1)},
    quantized=Ends(
        inputs={"image": Scale(dtype="int8", scale=1 / 255, zero_point=-128)},
        outputs={"<b>": Scale(dtype="int8", scale=0.00390625, zero_point=-128)},
    ),
)  # fmt: skip


def page(tmp_path: Path, *rows: Row) -> str:
    """The text of it, of these rows."""
    manifest = Manifest(
        model="digits", version=1, status="passed", created="2026-11-22T02:00:07Z", seconds=1.0, environment={},
        source=SourceRecord(kind="keras", digest="sha256:0", signatures={}), targets=list(rows), files={},
    )  # fmt: skip
    return report.render(manifest, "", tmp_path)


def test_render_shows_fixed_sizes_and_what_integers_stand_for(tmp_path: Path) -> None:
    shown = page(tmp_path, ROW)
    assert "<code>image [1, 8, 8, 1]</code>" in shown
    assert "image: int8, zero point -128, scale 0.00392156863" in shown
    assert "&lt;b&gt;: int8" in shown
    assert "<b>" not in shown


def test_render_says_nothing_of_sizes_where_they_are_the_models(tmp_path: Path) -> None:
    shown = page(tmp_path, ROW.model_copy(update={"shapes": None, "quantized": None}))
    assert "Fixed sizes" not in shown
    assert "stand for" not in shown
