"""Files that one process of a run makes for all."""

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import pytest

from converters.processes import once, scratch


def made(name: str, folder: Path) -> tuple[Path, str]:
    """The folder, and what is in it."""

    def make(place: Path) -> None:
        with (folder / "times").open("a") as times:
            times.write("x")
        (place / "file").write_text(name)

    found = once.once(name, make, folder)
    return found, (found / "file").read_text()


def test_once_makes_a_thing_for_all_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / f"{scratch.PREFIX}abc"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    with ThreadPoolExecutor(4) as pool:
        a, *others = pool.map(made, "aaab", repeat(tmp_path))
    assert others[:2] == [a, a]
    assert others[2][1] == "b"
    assert (tmp_path / "times").read_text() == "xx"


def test_once_makes_it_again_when_the_one_that_made_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / f"{scratch.PREFIX}abc"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))

    def fails(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        once.once("a", fails, tmp_path)
    folder, _ = made("a", tmp_path)
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_once_makes_it_for_each_where_there_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert made("a", tmp_path)[0] != made("a", tmp_path)[0]
