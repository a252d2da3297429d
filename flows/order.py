"""Which conversion or check runs next: a check as soon as its artifact exists, conversions longest first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from prefect.futures import PrefectFuture, as_completed

from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput
from converters.contract.values import Source
from converters.release import manifest, publish
from converters.release.files import files_of
from converters.release.manifest import Row
from converters.steps.convert import Conversion
from converters.targets.registry import TARGETS

Key = tuple[str, str]
"""Target and variant."""

BASE_MB = 300.0
TIMES_MODEL = 12.0
"""Memory of a step that was never measured: TensorFlow's own, and copies of the model. MobileNetV2's int8 needs the most."""


class Later(NamedTuple):
    """A task that runs already and at whose end there is more to convert: `planned` of its result."""

    future: PrefectFuture[Any]
    planned: Callable[[Any], Sequence[Key]]


def run_all(
    planned: Sequence[Key],
    side_by_side: int,
    cost: Callable[[Key], float],
    convert: Callable[[Key], PrefectFuture[Any]],
    check: Callable[[Key, Conversion], PrefectFuture[Any]],
    later: Later | None = None,
) -> dict[Key, list[Row]]:
    """Submit conversions and checks, `side_by_side` at one time; the rows of each.

    A check goes before the next conversion, so that what is wrong shows early; the longest conversion goes first, so
    that none is left to run alone at the end.

    Raises what a task raised that has no result, once all that run have ended.
    """
    line = _Line(cost, convert, check)
    line.add(planned)
    if later is not None:
        line.running[later.future] = None
    while line.go_on(side_by_side):
        future = next(as_completed(list(line.running)))
        work = line.running.pop(future)
        # A Failed task carries what it found all the same; one that raised raises here.
        result = future.result(raise_on_failure=False)
        if isinstance(result, BaseException):
            for other in line.running:
                other.wait()
            raise result
        if work is not None:
            line.take(work, result)
        elif later is not None:
            line.add(later.planned(result))
    return line.rows


class _Work(NamedTuple):
    key: Key
    is_check: bool


class _Line:
    """What waits, what runs (None: what is more to come after), and what has been found."""

    def __init__(
        self,
        cost: Callable[[Key], float],
        convert: Callable[[Key], PrefectFuture[Any]],
        check: Callable[[Key, Conversion], PrefectFuture[Any]],
    ) -> None:
        self._cost, self._convert, self._check = cost, convert, check
        self._waiting: list[Key] = []
        self._made: list[tuple[Key, Conversion]] = []
        self.running: dict[PrefectFuture[Any], _Work | None] = {}
        self.rows: dict[Key, list[Row]] = {}

    def add(self, planned: Sequence[Key]) -> None:
        self._waiting = sorted([*self._waiting, *planned], key=lambda key: -self._cost(key))

    def take(self, work: _Work, result: Any) -> None:
        if work.is_check:
            self.rows[work.key] = result
        else:
            self._made.append((work.key, result))

    def go_on(self, side_by_side: int) -> bool:
        """Submit what there is room for. Returns whether anything runs."""
        while (self._made or self._waiting) and len(self.running) < side_by_side:
            if self._made:
                key, conversion = self._made.pop(0)
                self.running[self._check(key, conversion)] = _Work(key, True)
            else:
                key = self._waiting.pop(0)
                self.running[self._convert(key)] = _Work(key, False)
        return bool(self.running)


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

    def cost(self, key: Key) -> float:
        """Seconds that converting and checking one variant take, or usually do."""
        target, variant = key
        return self.seconds.get(key) or TARGETS[target].variant(variant).usual_seconds

    def of(self, key: Key, step: Literal["convert", "check"], source: Source) -> float:
        """MB that converting one variant needs, or checking it."""
        # Before the export has ended nothing is to be said of the SavedModel, though there may be a part of one.
        model = source.saved_model if source.digest else source.keras_file
        size = sum(file.stat().st_size for file in files_of(model)) if model is not None else 0
        return self.memory_mb.get((*key, step)) or _guess(size)


def measured_needs(releases: Path, model: str) -> Needs:
    """What was measured when the model's current release was made; nothing where there is none."""
    version = publish.current(releases, model)
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
