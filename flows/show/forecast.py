"""How much of a deploy is done and how long the rest takes, by what the models' current releases took."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from converters.contract.errors import BadInput
from converters.contract.values import UnitName
from converters.release import manifest, publish
from flows.show.events import Event, Stage

OVER: tuple[Stage, ...] = ("released", "refused", "unchanged", "failed")
"""The last event of a model."""


class Ahead(NamedTuple):
    """What is to come: the share of the work that is done, and the seconds that the rest usually takes."""

    share: float
    seconds: float

    def left(self) -> str:
        """The rest, for a person."""
        minutes, seconds = divmod(round(self.seconds), 60)
        return f"about {f'{minutes} min ' if minutes else ''}{seconds} s left" if minutes or seconds else "nearly done"

    def sentence(self) -> str:
        """Both, for a person."""
        return f"{min(self.share, 0.99):.0%}, {self.left()}"


@dataclass
class _Step:
    """Work of usually so many `seconds`, begun or ended at a moment of the clock."""

    seconds: float
    since: float | None = None
    over: bool = False

    def left(self, now: float) -> float:
        done = self.seconds if self.over else 0.0 if self.since is None else now - self.since
        return max(0.0, self.seconds - done)


@dataclass
class _Model:
    """The steps of one model: building and exporting, and for each variant converting and checking.

    `usual` are the seconds of a variant that the current release has not: what its own take in the mean.
    """

    source: list[_Step]
    units: dict[UnitName, list[_Step]]
    usual: list[float]
    told: set[UnitName] = field(default_factory=set)


class Forecast:
    """Listens to the events of a deploy. It says nothing where a model has no current release, or cannot be read.

    One thread may tell it of events while another asks what is ahead.

    Args:
        models: their names.
        side_by_side: how many conversions and checks run at one time.
        clock: seconds.
    """

    def __init__(
        self,
        releases: Path,
        models: Iterable[str],
        side_by_side: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._side_by_side = clock, side_by_side
        self._models = {name: _measured(releases, name) for name in models}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take note of one event."""
        with self._lock:
            self._note(event)

    def _note(self, event: Event) -> None:
        model, now = self._models.get(event.model), self._clock()
        if model is None:
            return
        if event.stage in OVER:
            _end([*model.source, *(step for steps in model.units.values() for step in steps)])
        elif event.target:
            self._of_unit(model, event, now)
        elif event.stage in _SOURCE:
            _begin(model.source, _SOURCE.index(event.stage), now)

    def _of_unit(self, model: _Model, event: Event, now: float) -> None:
        _end(model.source)
        model.told.add(event.unit)
        steps = model.units.setdefault(event.unit, list(map(_Step, model.usual)))
        if event.stage in _UNIT:
            # By now all that is to be made was told.
            model.units = {unit: steps for unit, steps in model.units.items() if unit in model.told}
            _begin(steps, _UNIT.index(event.stage), now)
        elif event.stage == "done":
            _end(steps)

    def ahead(self) -> Ahead | None:
        """What is to come, as far as earlier runs tell."""
        with self._lock:
            return self._ahead()

    def _ahead(self) -> Ahead | None:
        known = [model for model in self._models.values() if model is not None]
        if len(known) < len(self._models):
            return None
        now = self._clock()
        sources = [step for model in known for step in model.source]
        units = [steps for model in known for steps in model.units.values()]
        left = [sum(step.left(now) for step in steps) for steps in units]
        before = sum(step.left(now) for step in sources)
        # The variants of one model wait for its export; several models are made side by side.
        seconds = (
            before + sum(left) / self._side_by_side if len(known) == 1 else (before + sum(left)) / self._side_by_side
        )
        whole = sum(step.seconds for step in [*sources, *(step for steps in units for step in steps)])
        return Ahead(1 - (before + sum(left)) / whole, max(seconds, *left, 0.0)) if whole else None


_SOURCE: tuple[Stage, ...] = ("building", "exporting")
_UNIT: tuple[Stage, ...] = ("converting", "checking")


def _begin(steps: list[_Step], place: int, now: float) -> None:
    _end(steps[:place])
    steps[place].since = now


def _end(steps: Iterable[_Step]) -> None:
    """They are over; what never began was kept, and is no work."""
    for step in steps:
        step.seconds = 0.0 if step.since is None else step.seconds
        step.over = True


def _measured(releases: Path, model: str) -> _Model | None:
    """What the current release took; None where there is none, or none that can be read."""
    try:
        version = publish.current(releases, model)
        if version is None:
            return None
        current = manifest.read(releases / model / str(version))
    except BadInput:  # the deploy makes another, or says so
        return None
    seconds = {row.unit: row.seconds for row in current.targets}
    units = {unit: [took.get(step, 0.0) for step in ("convert", "check")] for unit, took in seconds.items()}
    return _Model(
        [_Step(current.source.seconds.get(step, 0.0)) for step in ("build", "export")],
        {unit: list(map(_Step, took)) for unit, took in units.items()},
        [mean(each) for each in zip(*units.values(), strict=True)] or [0.0, 0.0],
    )
