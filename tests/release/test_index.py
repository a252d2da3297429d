"""The page of all models."""

from pathlib import Path
from typing import Any

from programs_run import look

from converters.release import files, index, publish
from converters.release.manifest import Manifest, SourceRecord
from converters.release.staging import staging


def made(releases: Path, model: str, **fields: Any) -> int:
    """Publish the next version; returns it."""
    source = SourceRecord(kind="module", digest="sha256:0", signatures={})
    told = {"status": "passed", "created": "2026-11-22T02:00:07Z", "seconds": 1.0, "environment": {}, "targets": []}
    with staging(releases, model) as place:
        (place.release / "golden.npz").write_text("12345")
        manifest = Manifest(model=model, version=place.version, source=source, **told | fields)
        place.publish(manifest.model_copy(update={"files": files.record_files(place.release)}))
    return place.version


def page(releases: Path) -> str:
    """Its text."""
    return (releases / index.INDEX).read_text()


def test_promote_rollback_and_prune_write_the_page(tmp_path: Path) -> None:
    for _ in range(2):
        publish.promote(tmp_path, "a", made(tmp_path, "a"))
    assert '<a href="a/2/report.html">2</a>' in page(tmp_path)
    publish.rollback(tmp_path, "a")
    assert '<td><a href="a/1/report.html">1</a></td><td><a href="a/2/report.html">2</a>' in page(tmp_path)
    publish.promote(tmp_path, "b", made(tmp_path, "b"))
    assert page(tmp_path).count('<th scope="row">') == 2
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(f".{index.INDEX}")]


def test_page_names_what_was_refused_after_the_current_release(tmp_path: Path) -> None:
    publish.promote(tmp_path, "a", made(tmp_path, "a"))
    made(tmp_path, "a", status="failed", refusals=["tflite int8: <b>too far</b>", "another"])
    publish.list_anew(tmp_path, "a")
    assert "✗ failed" in page(tmp_path)
    assert "tflite int8: &lt;b&gt;too far&lt;/b&gt; (and 1 more)" in page(tmp_path)


def test_page_lists_a_release_that_cannot_be_read_and_one_that_was_damaged_later(tmp_path: Path) -> None:
    for model in ("a", "b"):
        publish.promote(tmp_path, model, made(tmp_path, model))
    (tmp_path / "a" / "1" / "manifest.json").write_text("{")
    made(tmp_path, "b")
    publish.list_anew(tmp_path, "b")
    assert "is no manifest of schema 1" in page(tmp_path)


def test_page_is_read_by_everyone_and_asks_for_nothing(tmp_path: Path) -> None:
    publish.promote(tmp_path, "a", made(tmp_path, "a"))
    made(tmp_path, "a", status="failed", refusals=["tflite int8: " + "too far off, " * 20])
    publish.list_anew(tmp_path, "a")
    found = look(
        (tmp_path / index.INDEX).as_uri(), ["axe"], ["size", 390, 800], ["dark", True], ["axe"],
        ["evaluate", "width", "document.documentElement.scrollWidth"],
    )  # fmt: skip
    assert (found["violations"], found["console"], found["foreign"], found["width"]) == ([], [], [], 390)
