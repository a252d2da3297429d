"""Which conversion or check runs next: a check as soon as its artifact exists, conversions longest first."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.futures import PrefectFuture, as_completed

from converters import manifest, release
from converters.convert import Conversion
from converters.manifest import Row

Key = tuple[str, str]
"""Target and variant."""


def run_all(
    planned: Sequence[Key],
    side_by_side: int,
    costs: Mapping[Key, float],
    convert: Callable[[Key], PrefectFuture[Any]],
    check: Callable[[Key, Conversion], PrefectFuture[Any]],
) -> list[Row]:
    """Submit conversions and checks, `side_by_side` at one time; rows in the order of `planned`.

    A check goes before the next conversion, so that what is wrong shows early; the longest conversion goes first, so
    that none is left to run alone at the end. What has no known cost is taken to be long.
    """
    waiting = deque(sorted(planned, key=lambda key: -costs.get(key, float("inf"))))
    made: deque[tuple[Key, Conversion]] = deque()
    running: dict[PrefectFuture[Any], tuple[Key, bool]] = {}
    rows: dict[Key, list[Row]] = {}
    while waiting or made or running:
        while (made or waiting) and len(running) < side_by_side:
            if made:
                key, conversion = made.popleft()
                running[check(key, conversion)] = (key, True)
            else:
                key = waiting.popleft()
                running[convert(key)] = (key, False)
        future = next(as_completed(list(running)))
        key, is_check = running.pop(future)
        # A Failed task carries what it found all the same; one that raised raises here.
        result = future.result(raise_on_failure=False)
        if isinstance(result, BaseException):
            raise result
        if is_check:
            rows[key] = result
        else:
            made.append((key, result))
    return [row for key in planned for row in rows[key]]


def measured_costs(releases: Path, model: str) -> dict[Key, float]:
    """Seconds that each conversion took in the model's current release; empty where there is none."""
    version = release.current(releases, model)
    if version is None:
        return {}
    rows = manifest.read(releases / model / str(version)).targets
    return {(row.target, row.variant): sum(row.seconds.values()) for row in rows}
