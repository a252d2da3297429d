"""One version in the making: its source, then each variant converted and checked, or kept from the current release."""

from collections.abc import Sequence
from typing import NamedTuple

from converters.config.spec import ModelSpec
from converters.contract import layout
from converters.contract.values import UnitName
from converters.processes.slots import Slots
from converters.release.manifest import Row
from converters.release.staging import Staging
from converters.source.builder import Builder
from converters.steps.reuse import Reusable
from converters.steps.unit import Unit, plan
from flows.ahead import start
from flows.executor import Executor, Job
from flows.order import Needs, run_all
from flows.show.events import Event, tell
from flows.tasks import Exported, build, check, convert, export, unchanged


class Turn(NamedTuple):
    """The places for children, which all models of a deploy-all share, and a model's own turn; the lowest goes first."""

    slots: Slots
    number: int = 0


class Making(NamedTuple):
    """One version in the making, with what may stay of the current release."""

    named: Sequence[str]
    """The model and its data, as the person named them."""
    spec: ModelSpec
    current: Reusable | None
    executor: Executor
    place: Staging
    turn: Turn
    needs: Needs
    begun: Builder | None = None
    """What builds it already."""

    def source(self) -> Exported:
        """What all targets are made of. Raises what building or exporting raises."""
        place, name, current = self.place, self.spec.name, self.current
        if current is not None:
            show_unchanged(current, "build", "export")
            return Exported(current.copy_source(place, self.spec), current.source_record(), current.built_from())
        with (
            self.turn.slots.held(self.needs.build(self.spec), self.turn.number),
            self.begun or start(self.named, self.spec, place) as builder,
        ):
            return export(name, builder, place, build(name, builder, place))

    def rows(self, exported: Exported) -> dict[UnitName, list[Row]]:
        """Those of every variant, in the manifest's order."""
        source, needs, executor = exported.source, self.needs, self.executor
        planned = plan(source, self.spec)
        current = self.current
        rows = {each: self._copied(current, each) for each in planned if each in current.rows} if current else {}
        jobs = {each: self._job(each, exported) for each in planned if each not in rows}
        for each in jobs:
            tell(Event(self.spec.name, "waiting", *each))
        rows |= run_all(
            list(jobs),
            executor.side_by_side,
            needs.cost,
            lambda each: convert.submit(executor, jobs[each], needs.of(each, "convert", source)),
            lambda each, made: check.submit(executor, jobs[each], made, needs.of(each, "check", source)),
        )
        return {each: rows[each] for each in planned}

    def _job(self, name: UnitName, exported: Exported) -> Job:
        release, log = self.place.release, self.place.root / layout.check_log(*name)
        unit = Unit(**name._asdict(), source=exported.source, spec=self.spec, release=release, log=log)
        return Job(unit, exported.built_from.reads, self.turn.number)

    def _copied(self, current: Reusable, unit: UnitName) -> list[Row]:
        show_unchanged(current, unit.title, f"check {unit.title}")
        rows = current.copy_variant(unit, self.place)
        tell(Event(self.spec.name, "done", *unit, rows=tuple(rows)))
        return rows


def show_unchanged(current: Reusable, *steps: str) -> None:
    """Tasks that Prefect shows in place of those steps."""
    for step in steps:
        unchanged(current.manifest.model, step, current.version)
