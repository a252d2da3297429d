"""The page that a person reads."""

from pathlib import Path
from typing import Any

import numpy as np
from programs_run import look

from converters.config.spec import ModelSpec
from converters.contract.values import Case, CheckResult, Ends, LayerLoss, Prediction, Scale, Signature, TensorSpec
from converters.formats.dtypes import as_strings
from converters.reference.answers import answers
from converters.reference.labelled import EvaluationRecord
from converters.reference.observed import observed
from converters.release import plots, report
from converters.release.comparison import Comparison, Difference
from converters.release.explain.facts import File
from converters.release.explain.programs import Part, Program
from converters.release.manifest import Manifest, Row, SourceRecord

ROW = Row(
    target="tflite", variant="int8-io-batch1", signature="serving_default", status="passed",
    path="tflite/int8-io-batch1.tflite", bytes=2168, shapes={"image": (1, 8, 8, 1)},
    quantized=Ends(
        inputs={"image": Scale(dtype="int8", scale=1 / 255, zero_point=-128)},
        outputs={"<b>": Scale(dtype="int8", scale=0.00390625, zero_point=-128)},
    ),
)  # fmt: skip
SPEC = ModelSpec(name="digits", model="digits.py:build")
NASTY = '<img src=x onerror="alert(1)">'
SIGNATURE = Signature(
    inputs={
        "image": TensorSpec(shape=(None, 8, 8, 1), dtype="float32"),
        "sound": TensorSpec(shape=(None, 400), dtype="float32"),
        "word": TensorSpec(shape=(None,), dtype="string"),
    },
    outputs={"digit": TensorSpec(shape=(None, 3), dtype="float32")},
)
SCORES = np.float32([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.4, 0.35, 0.25]])
CASE = Case(
    inputs={
        "image": np.linspace(0, 1, 3 * 64, dtype="f").reshape(3, 8, 8, 1),
        "sound": np.sin(np.linspace(0, 60, 1200, dtype="f")).reshape(3, 400),
        "word": as_strings(["one", NASTY, "three"]),
    },
    outputs={"digit": SCORES},
)


def manifest(*rows: Row, **fields: Any) -> Manifest:
    """One of these rows."""
    told: dict[str, Any] = {
        "model": "digits", "version": 1, "status": "passed", "created": "2026-11-22T02:00:07Z", "seconds": 1.0,
        "environment": {}, "source": SourceRecord(kind="keras", digest="sha256:0", signatures={}), "targets": list(rows),
    }  # fmt: skip
    return Manifest(**told | fields)


def page(tmp_path: Path, *rows: Row) -> str:
    """The text of it, of these rows."""
    return report.render(manifest(*rows), SPEC, {}, tmp_path)


def row(target: str, variant: str, snr: float, size: int, **fields: Any) -> Row:
    """One that answered golden's samples a little off, by its noise."""
    noise = np.float32(10 ** (-snr / 20))
    given = Prediction(runtime=f"runtime of {target}", outputs=[{"digit": SCORES + noise * np.float32([-1, 1, 0])}])
    values = CheckResult(
        name="values", runtime=given.runtime, status="failed" if fields.get("status") == "failed" else "passed",
        measured=float(noise), limit=0.1, latency_ms=0.3, latency_range_ms=(0.2, 1.4), figures={"snr_db": snr, "top1": 1.0},
    )  # fmt: skip
    slower = CheckResult(name="values", runtime="chromium", status="passed", measured=0.0, limit=0.1, latency_ms=11.7)
    told = {
        "status": "passed",
        "path": f"{target}/{variant}",
        "bytes": size,
        "checks": [values, slower],
        "data": "given",
    }
    told["answers"] = list(answers(SIGNATURE, [CASE], [given]))
    return Row.model_validate({"target": target, "variant": variant, "signature": "serving_default", **told, **fields})


def full(version: int, **fields: Any) -> Manifest:
    """One with everything that a page can show."""
    rows = [
        row("tflite", "float32", 140, 40_000),
        row("tflite", "float16", 80, 20_000, reason="note of a row that passed"),
        row("tflite", "int8", 15, 10_000, status="failed", reason=f"values: {NASTY} (0.3 against a limit of 0.1)",
            layers=[LayerLoss(layer=NASTY, op="CONV_2D", snr_db=3.0, added=0.5)]),
        row("tfjs", "graph", 130, 45_000),
        row("tfjs", "layers", 130, 44_000, status="unsupported", reason="a mask that it does not obey", path=None, bytes=None),
    ]  # fmt: skip
    told: dict[str, Any] = {
        "version": version, "source": SourceRecord(kind="keras", digest="sha256:0", signatures={"serving_default": SIGNATURE}),
        "observed": observed({"serving_default": SIGNATURE}, {"serving_default": [CASE]}), "notes": [f"a note: {NASTY}"],
        "environment": {"tensorflow": "2.19.0"},
        "evaluation": EvaluationRecord(
            metric="accuracy", better="higher", signature="serving_default", output="digit", samples=3, live=0.98, data="sha256:1"
        ),
    }  # fmt: skip
    return manifest(*fields.pop("targets", rows), **told | fields)


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


def test_render_says_first_whether_it_ships_and_why_not(tmp_path: Path) -> None:
    assert "fit to ship" in page(tmp_path, ROW)
    refused = manifest(ROW, status="failed", refusals=["tflite int8: too far off", "another"])
    shown = report.render(refused, SPEC, {}, tmp_path)
    assert "not shipped</strong>\ntflite int8: too far off\nanother" in shown
    assert "fit to ship" not in shown


def test_render_says_where_no_accuracy_was_measured(tmp_path: Path) -> None:
    assert "No accuracy was measured" in page(tmp_path, ROW)
    assert "No accuracy was measured" not in report.render(full(1), SPEC, {}, tmp_path)


def test_render_shows_each_runtimes_latency_and_what_was_seen_of_inputs(tmp_path: Path) -> None:
    shown = report.render(full(1), SPEC, {"serving_default": [CASE]}, tmp_path)
    assert "0.300 ms (0.2 to 1.4)" in shown
    assert "11.7 ms" in shown
    assert "<td>0 to 1</td>" in shown


def test_render_shows_samples_the_worst_first_with_every_files_answer(tmp_path: Path) -> None:
    labelled = SPEC.model_copy(update={"labels": {"digit": ("zero", "one", "two")}})
    shown = report.render(full(1), labelled, {"serving_default": [CASE]}, tmp_path)
    assert shown.count('<img src="data:image/png;base64,') == 3
    assert "zero 0.7, one 0.2, two 0.1" in shown
    first, *_ = shown.partition('</table>\n</div>\n<div class="sample"')
    first = first[first.index('<div class="samples">') :]
    assert "sample 3 of 3" in first  # where the least noise turns the class
    assert '<td class="failed">one' in first


def test_plot_labels_files_of_nearly_one_place_together() -> None:
    plot = plots.size_against_loss(full(1, targets=[
        row("tflite", "float32", 140, 40_000), row("tflite", "int8", 40, 10_000), row("tfjs", "graph", 139, 40_900),
        row("tfjs", "layers", 60, 40_100),
    ]))  # fmt: skip
    assert plot is not None
    for label in ("tflite float32, tfjs graph", "tflite int8", "tfjs layers"):
        assert f">{label}</text>" in plot.svg


def test_render_draws_no_plot_of_a_single_file(tmp_path: Path) -> None:
    assert "<svg" not in page(tmp_path, ROW)


def test_page_is_read_at_any_width_and_by_everyone_and_asks_for_nothing(tmp_path: Path) -> None:
    compared = Comparison(
        version=8, contract="changed", contract_changes=["output digit is gone"], differences=[
            Difference(target="tflite", variant="int8", signature="serving_default", figure="size", before=1, now=2, change=1.0)
        ],
    )  # fmt: skip
    told = full(9, status="failed", refusals=[f"tflite int8: {NASTY}"], comparison=compared)
    described = SPEC.model_copy(update={"description": NASTY, "labels": {"digit": (NASTY, "b", "c")}})
    before = [full(8), full(7)]
    path = tmp_path / "report.html"
    path.write_text(report.render(told, described, {"serving_default": [CASE]}, tmp_path, before))
    wide = ["evaluate", "wide", "document.documentElement.scrollWidth"]
    narrow = ["evaluate", "narrow", "document.documentElement.scrollWidth"]
    found = look(
        path.as_uri(), ["axe"], wide, ["dark", True], ["axe"], ["size", 390, 800], narrow, ["axe"], ["dark", False], ["axe"],
        ["evaluate", "plots", "document.querySelectorAll('svg[role=img]').length"],
        ["evaluate", "nasty", "document.querySelectorAll('img[src=x]').length"],
    )  # fmt: skip
    assert found["violations"] == []
    assert (found["console"], found["thrown"], found["foreign"]) == ([], [], [])
    assert (found["wide"], found["narrow"]) == (1400, 390)
    assert found["plots"] == 3 + 3  # and each sample's sound
    assert found["nasty"] == 0


def test_link_to_a_row_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(tmp_path, ROW, ROW.model_copy(update={"variant": "int8"})))
    which = "[...document.querySelectorAll('section[aria-labelledby=rows] > details')].map((each) => each.open)"
    seen = "document.querySelector('#row-1').closest('details').querySelector('summary').getBoundingClientRect().top"
    clicked = look(
        path.as_uri(), ["evaluate", "before", which], ["click", "a[href='#row-1']"], ["evaluate", "after", which],
        ["evaluate", "top", f"{seen} >= 0"],
    )  # fmt: skip
    assert (clicked["before"], clicked["after"], clicked["top"]) == ([False, False], [False, True], True)
    assert look(f"{path.as_uri()}#row-0", ["evaluate", "first", which])["first"] == [True, False]


def test_page_has_the_code_that_uses_each_kind_of_file(tmp_path: Path) -> None:
    code = f"print({NASTY!r})  # " + "a long line, " * 40 + "</code></pre>"
    file = File("tflite", "float32", "tflite/float32.tflite", (ROW,), ())
    part = Part(
        f"TF Lite {NASTY}",
        (file,),
        (Program("Python", "python", code, "examples/tflite.py"), Program("Kotlin", "kotlin", code)),
    )
    path = tmp_path / "report.html"
    path.write_text(report.render(manifest(ROW), SPEC, {}, tmp_path, uses=[part]))
    links = "[...document.querySelectorAll('section[aria-labelledby=use] a')].map((each) => each.getAttribute('href'))"
    opened = ["evaluate", "opened", "document.querySelectorAll('details').forEach((each) => { each.open = true; })"]
    found = look(
        path.as_uri(), ["size", 390, 800], opened, ["text", "code", "section[aria-labelledby=use] pre"], ["axe"], ["dark", True],
        ["axe"], ["evaluate", "narrow", "document.documentElement.scrollWidth"],
        ["evaluate", "links", links],
        ["evaluate", "nasty", "document.querySelectorAll('img').length"],
    )  # fmt: skip
    assert found["code"].strip() == code
    assert found["links"] == ["USAGE.md", "examples/tflite.py"]
    assert (found["violations"], found["narrow"], found["nasty"]) == ([], 390, 0)


def test_axe_is_red_where_a_picture_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text('<!doctype html><html lang="en"><title>t</title><main><img src="data:image/png;base64,"></main>')
    assert any("image-alt" in violation for violation in look(path.as_uri(), ["axe"])["violations"])
