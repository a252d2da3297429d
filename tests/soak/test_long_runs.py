"""The long run in short, and what it would find."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.soak import long_runs

GROWING: dict[str, Callable[[int], float]] = {
    "server MB": lambda deploy: 250 + 1.5 * deploy,
    "worker files": lambda deploy: 16 + deploy,
    "server threads": lambda deploy: 15 + deploy // 2,
    "processes": lambda deploy: 4 + (deploy > 40),
    "temporary": lambda deploy: 4 + deploy // 20,
    "database MB": lambda deploy: 6 + 0.4 * deploy,
    "other rows": lambda deploy: 200 + 2 * deploy,
    "events": lambda deploy: 300 + 30 * deploy,
}


@pytest.mark.server
@pytest.mark.tensorflow
def test_nothing_grows_and_only_the_last_run_is_left_when_models_are_deployed_again_and_again(tmp_path: Path) -> None:
    measured = list(long_runs.runs(3, tmp_path, ["module"]))
    # Memory says something only after many.
    assert [found for found in long_runs.unbounded(measured) if " MB: " not in found] == []
    assert measured[-1]["processes"] == 2  # server and worker


@pytest.mark.parametrize("name", GROWING)
def test_unbounded_names_what_grows(name: str) -> None:
    steady = [{each: of(0) for each, of in GROWING.items()} for _ in range(60)]
    assert long_runs.unbounded(steady) == []
    growing = [figures | {name: GROWING[name](deploy)} for deploy, figures in enumerate(steady)]
    (found,) = long_runs.unbounded(growing)
    assert found.startswith(f"{name}: ")
    shrinking = list(reversed(growing))
    assert long_runs.unbounded(shrinking) == []
