"""A release is what was published: every file and folder, what kind of thing it is, and what is in it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from converters.release import files
from converters.release.manifest import Manifest, SourceRecord


@pytest.fixture(name="release")
def _release(tmp_path: Path) -> Path:
    root = tmp_path / "release"
    for name in ("golden.npz", "tflite/int8.tflite", "serving/1/saved_model.pb", "manifest.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.fixture(name="written")
def _written(release: Path) -> Manifest:
    source = SourceRecord(kind="module", digest="sha256:0", signatures={})
    return Manifest(
        model="m",
        version=1,
        status="passed",
        created="2026-11-22T02:00:07Z",
        seconds=1.0,
        source=source,
        environment={},
        targets=[],
        files=files.record_files(release),
    )


def test_changed_files_finds_nothing_when_nothing_was_changed(release: Path, written: Manifest) -> None:
    assert files.changed_files(release, written) == {}


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("tflite/int8.tflite", lambda path: path.write_text("other"), "is not what the manifest's digest says"),
        ("tflite/int8.tflite", Path.unlink, "is missing"),
        ("tflite/int8.tflite", _link, "is a symbolic link"),
        ("tflite/int8.tflite", lambda path: os.link(path, path.parents[2] / "other"), r"has 2 names \(hard links\)"),
        ("tflite/int8.tflite", lambda path: path.chmod(0o666), "has the mode 666"),
        ("tflite/int8.tflite", lambda path: path.chmod(0o755), "has the mode 755"),
        ("manifest.json", lambda path: path.chmod(0o664), "has the mode 664"),
        ("serving/1", lambda path: path.chmod(0o777), "has the mode 777"),
        ("tflite/evil.tflite", Path.touch, "is not in the manifest"),
        ("serving/2/saved_model.pb", lambda path: (path.parent.mkdir(), path.touch()), "is not in the manifest"),
        ("serving/2", Path.mkdir, "is a folder without a file of the manifest"),
        ("tflite/fifo", os.mkfifo, "is neither a file nor a folder"),
    ],
)
def test_changed_files_names_it_when_something_was_changed(
    release: Path, written: Manifest, name: str, change: Callable[[Path], object], problem: str
) -> None:
    change(release / name)
    found = files.changed_files(release, written)
    assert name in found
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(found[name])
