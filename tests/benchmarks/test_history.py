"""The history of `make bench`, by made-up figures."""

from pathlib import Path

import pytest

from tests.benchmarks import history

HERE, THERE = "a, x86_64, 2 cores", "b, x86_64, 8 cores"


def test_worse_names_what_grew_by_more_than_a_tenth() -> None:
    before = {"digits alone, s": 20.0, "setup, s": 40.0, "fleet, s": 30.0, "gone, s": 1.0}
    now = {"digits alone, s": 22.1, "setup, s": 43.9, "fleet, s": 12.0, "new, s": 99.0}
    (found,) = history.worse(before, now)
    assert found == ("digits alone, s", 20.0, 22.1)
    assert found.sentence() == "digits alone, s: 22.1, +10% against the last run's 20"


def test_worse_names_nothing_when_nothing_was_measured_before() -> None:
    assert history.worse({}, {"digits alone, s": 20.0}) == []


def test_last_is_each_figure_of_the_last_run_on_that_machine_that_has_it(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "bench.jsonl"
    assert history.last(file, HERE) == {}
    history.add(file, HERE, {"digits alone, s": 20.0, "setup, s": 40.0}, "first")
    history.add(file, THERE, {"digits alone, s": 5.0}, "first")
    history.add(file, HERE, {"digits alone, s": 15.00004}, "second")
    assert history.last(file, HERE) == {"digits alone, s": 15.0, "setup, s": 40.0}
    assert history.last(file, THERE) == {"digits alone, s": 5.0}
    assert history.last(file, "c") == {}


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"machine": "a, x86_64, 2 cores", "figures": {"x": "y"}}', "{"])
def test_last_says_which_line_is_none_of_ours(tmp_path: Path, line: str) -> None:
    file = tmp_path / "bench.jsonl"
    history.add(file, HERE, {"digits alone, s": 20.0}, "first")
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(ValueError, match=r"bench\.jsonl, line 2, is no run of `make bench`"):
        history.last(file, HERE)


def test_path_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert history.path() == tmp_path / "tf-fanout" / "bench.jsonl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert history.path() == Path.home() / ".cache" / "tf-fanout" / "bench.jsonl"
