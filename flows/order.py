"""Which conversion or check runs next: a check as soon as its artifact exists, conversions longest first."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from prefect.futures import PrefectFuture, as_completed

from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput
from converters.contract.values import Source, UnitName
from converters.release import manifest, publish
from converters.release.files import files_of
from converters.release.manifest import Row
from converters.steps.convert import Conversion
from converters.targets.registry import TARGETS

BASE_MB = 300.0
TIMES_MODEL = 12.0
"""Memory of a step that was never measured: TensorFlow's own, and copies of the model. MobileNetV2's int8 needs the most."""


class _Work(NamedTuple):
    unit: UnitName
    is_check: bool


def run_all(
    planned: Sequence[UnitName],
    side_by_side: int,
    cost: Callable[[UnitName], float],
    convert: Callable[[UnitName], PrefectFuture[Any]],
    check: Callable[[UnitName, Conversion], PrefectFuture[Any]],
) -> dict[UnitName, list[Row]]:
    """Submit conversions and checks, `side_by_side` at one time; the rows of each.

    A check goes before the next conversion, so that what is wrong shows early; the longest conversion goes first, so
    that none is left to run alone at the end.

    Raises what a task raised that has no result, once all that run have ended.
    """
    waiting = sorted(planned, key=lambda unit: -cost(unit))
    unchecked: list[tuple[UnitName, Conversion]] = []
    running: dict[PrefectFuture[Any], _Work] = {}
    rows: dict[UnitName, list[Row]] = {}
    while waiting or unchecked or running:
        while (waiting or unchecked) and len(running) < side_by_side:
            if unchecked:
                unit, conversion = unchecked.pop(0)
                running[check(unit, conversion)] = _Work(unit, True)
            else:
                unit = waiting.pop(0)
                running[convert(unit)] = _Work(unit, False)
        future = next(as_completed(list(running)))
        work = running.pop(future)
        result = _result(future, running)
        if work.is_check:
            rows[work.unit] = result
        else:
            unchecked.append((work.unit, result))
    return rows


def _result(future: PrefectFuture[Any], others: Iterable[PrefectFuture[Any]]) -> Any:
    """What a task found, a Failed one too; what one raises that has no result is raised once the others have ended."""
    result = future.result(raise_on_failure=False)
    if isinstance(result, BaseException):
        for other in others:
            other.wait()
        raise result
    return result


@dataclass(frozen=True)
class Needs:
    """What conversions and checks of a model are known or taken to need.

    `seconds` are known for those of the current release, memory in MB too.
    """

    seconds: Mapping[UnitName, float] = field(default_factory=dict)
    memory_mb: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    build_mb: float | None = None

    def build(self, spec: ModelSpec) -> float:
        """MB that building and exporting need."""
        size = sum(path.stat().st_size for path in spec.given_files())
        return self.build_mb or _guess(size)

    def cost(self, unit: UnitName) -> float:
        """Seconds that converting and checking one variant take, or usually do."""
        target, variant = unit
        return self.seconds.get(unit) or TARGETS[target].variant(variant).usual_seconds

    def of(self, unit: UnitName, step: Literal["convert", "check"], source: Source) -> float:
        """MB that converting one variant needs, or checking it."""
        size = sum(file.stat().st_size for file in files_of(source.saved_model))
        return self.memory_mb.get((*unit, step)) or _guess(size)


def measured_needs(releases: Path, model: str) -> Needs:
    """What was measured when the model's current release was made; nothing where there is none."""
    version = publish.current(releases, model)
    if version is None:
        return Needs()
    try:
        current = manifest.read(releases / model / str(version))
    except BadInput:
        return Needs()
    return Needs(
        {row.unit: sum(row.seconds.values()) for row in current.targets},
        {(*row.unit, step): mb for row in current.targets for step, mb in row.memory_mb.items()},
        current.source.memory_mb,
    )


def _guess(model_bytes: int) -> float:
    """MB for a step that was never measured, of a model of that size."""
    return BASE_MB + TIMES_MODEL * model_bytes / 1e6
