"""Which conversion or check runs next: a check as soon as its artifact exists, conversions longest first."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from prefect.futures import PrefectFuture, as_completed

from converters import manifest, release
from converters.contract import Source
from converters.convert import Conversion
from converters.errors import BadInput
from converters.manifest import Row, files_of
from converters.spec import ModelSpec

Key = tuple[str, str]
"""Target and variant."""

BASE_MB = 300.0
TIMES_MODEL = 12.0
"""Memory of a step that was never measured: TensorFlow's own, and copies of the model. MobileNetV2's int8 needs the most."""


def run_all(
    planned: Sequence[Key],
    side_by_side: int,
    costs: Mapping[Key, float],
    convert: Callable[[Key], PrefectFuture[Any]],
    check: Callable[[Key, Conversion], PrefectFuture[Any]],
) -> dict[Key, list[Row]]:
    """Submit conversions and checks, `side_by_side` at one time; the rows of each.

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
    return rows


@dataclass(frozen=True)
class Needs:
    """What conversions and checks of a model are known or taken to need.

    `seconds` are known for those of the current release, memory in MB too.
    """

    seconds: Mapping[Key, float] = field(default_factory=dict)
    memory_mb: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    build_mb: float | None = None

    def build(self, wanted: ModelSpec) -> float:
        """MB that building and exporting need."""
        given = sum(path.stat().st_size for path in wanted.given_files())
        return self.build_mb or _guess(given)

    def of(self, key: Key, step: Literal["convert", "check"], source: Source) -> float:
        """MB that converting one variant needs, or checking it."""
        return self.memory_mb.get((*key, step)) or _guess(sum(f.stat().st_size for f in files_of(source.saved_model)))


def measured_needs(releases: Path, model: str) -> Needs:
    """What was measured when the model's current release was made; nothing where there is none."""
    version = release.current(releases, model)
    if version is None:
        return Needs()
    try:
        written = manifest.read(releases / model / str(version))
    except BadInput:
        return Needs()
    return Needs(
        {(row.target, row.variant): sum(row.seconds.values()) for row in written.targets},
        {(row.target, row.variant, step): mb for row in written.targets for step, mb in row.memory_mb.items()},
        written.source.memory_mb,
    )


def _guess(model_bytes: int) -> float:
    """MB for a step that was never measured, of a model of that size."""
    return BASE_MB + TIMES_MODEL * model_bytes / 1e6
