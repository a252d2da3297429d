"""The flows: build, export, then convert and check every target side by side, then release."""

import contextvars
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from converters.config import read
from converters.config.spec import ModelSpec
from converters.contract import layout
from converters.contract.errors import BadInput, FanoutError, of_disk
from converters.contract.values import UnitName
from converters.processes import child, ending, memory, resident, scratch
from converters.processes.slots import Slots
from converters.release.assemble import Released
from converters.release.locking import reading
from converters.release.manifest import Row
from converters.release.publish import tidy
from converters.release.staging import Staging, staging
from converters.source.builder import Builder
from converters.steps import again, key, reuse
from converters.steps.reuse import Reusable
from converters.steps.unit import Unit, plan
from flows import one_at_a_time
from flows.cluster.dask import connected
from flows.executor import Executor, Here, Job
from flows.order import Needs, measured_needs, run_all
from flows.settings import Settings, in_force
from flows.show import artifacts
from flows.show.events import Event, tell
from flows.tasks import Exported, build, check, convert, export, publish, unchanged
from flows.ui import notify

SIDE_BY_SIDE = max(2, os.cpu_count() or 2)
"""Builds, conversions and checks that run at one time, those of all models together; each is a process of its own."""
MOST_THREADS = 256
"""Each waits for a child process, or for a cluster; how many really run is the executor's affair."""
MODELS_AT_ONCE = SIDE_BY_SIDE + 1
"""Models that a deploy-all works on at one time: while the last conversions of one run, the next is built."""

if "PREFECT__FLOW_RUN_ID" in os.environ:  # a worker's run: TensorFlow loads while Prefect prepares it
    scratch.begin()
    child.warm_up()


class Turn(NamedTuple):
    """The places for children, which all models of a deploy-all share, and a model's own turn; the lowest goes first."""

    slots: Slots
    number: int = 0


_turn: contextvars.ContextVar[Turn | None] = contextvars.ContextVar("turn", default=None)
"""What a deploy-all gives the runs of its models."""


@flow(
    name="deploy-model",
    flow_run_name="deploy {model}",
    task_runner=ThreadPoolTaskRunner(max_workers=MOST_THREADS),  # type: ignore[arg-type]
    validate_parameters=True,
    on_failure=[notify.run_failed],
    on_crashed=[notify.run_crashed],
)
def deploy_model(
    model: str,
    targets: list[str] | None = None,
    force: bool = False,
    promote: bool = True,
    data: str | None = None,
) -> State[Any]:
    """Deploy one model: a config's name, a config file, or the path of a SavedModel, .keras or .h5 file.

    `data` are real inputs in place of the config's golden.data and representative, in the same forms.
    """
    started = time.monotonic()
    if later := _caught_up_by():
        return Cancelled(message=f"skipped: {later}, which is due as well, makes up for this run")
    try:
        settings = in_force()
        spec = read.find(model, settings.configs)
        if targets:
            spec = spec.with_targets(targets)
        if data:
            spec = spec.with_data(data)
        named = [model, *(("--data", str(spec.golden.data)) if data else ())]
        waiting = Event(spec.name, "queued", detail="waiting for another deploy of this model")
        with (
            artifacts.live_progress(spec.name),
            one_at_a_time.one_at_a_time(settings.releases, spec.name, lambda: tell(waiting)),
            _children_end_first(spec.name),
            resident.keeping(),
        ):
            tidy(settings.releases, spec.name)
            recipe = key.recipe(spec)
            current, reasons = (None, []) if force else reuse.look(settings.releases, spec, recipe)
            if current is not None and current.whole:
                released = _leave(current)
            else:
                for reason in reasons:
                    tell(Event(spec.name, "changed", detail=reason))
                released = _deploy(named, spec, current, recipe, settings, started, promote)
            artifacts.record(released, settings)
    except (FanoutError, OSError) as error:
        known = of_disk(error, in_force().releases)
        if known is None:
            raise
        tell(Event(model, "failed", detail=str(known), error=known))
        return Failed(message=str(known))
    if current is not None and current.whole:
        return Completed(name="Cached", message=current.sentence(), data=released)
    state = Failed if released.manifest.refusals else Completed
    return state(message=released.sentence(), data=released)


def _caught_up_by() -> str | None:
    context = FlowRunContext.get()
    return one_at_a_time.caught_up_by(context.flow_run if context else None)


def _leave(current: Reusable) -> Released:
    """The current release, which is what a deploy would make."""
    steps = [step for unit in current.rows for step in (unit.title, f"check {unit.title}")]
    _show_unchanged(current, "build", "export", *steps, "release")
    tell(Event(current.manifest.model, "unchanged", released=current.released()))
    return current.released()


def _deploy(
    named: Sequence[str],
    spec: ModelSpec,
    current: Reusable | None,
    recipe: key.Recipe,
    settings: Settings,
    started: float,
    promote: bool,
) -> Released:
    """A new release, with what may stay of the current one."""
    turn = _turn.get() or Turn(Slots(SIDE_BY_SIDE))
    with (
        _executor(turn.slots, settings) as executor,
        reading(current.path) if current else nullcontext(),  # what stays of it is copied
        memory.measured() as peak,
        staging(settings.releases, spec.name) as place,
    ):
        making = _Making(named, spec, current, executor, place, turn, measured_needs(settings.releases, spec.name))
        exported = making.source()
        rows = making.rows(exported)
        if untold := reuse.record(place, exported.source, spec, recipe, exported.built_from, rows):
            get_run_logger().warning("%s, so the next deploy will do everything again", untold)
        return publish(place, exported.record, spec, [*chain(*rows.values())], started, promote, peak.mb)


@contextmanager
def _executor(slots: Slots, settings: Settings) -> Iterator[Executor]:
    """What the settings ask for: this machine, with these places, or the cluster, connected for the block."""
    cluster = settings.cluster()
    if cluster is None:
        yield Here(slots)
    else:
        with connected(cluster) as workers:
            yield workers


class _Making(NamedTuple):
    """One version in the making, with what may stay of the current release."""

    named: Sequence[str]
    """The model and its data, as the person named them."""
    spec: ModelSpec
    current: Reusable | None
    executor: Executor
    place: Staging
    turn: Turn
    needs: Needs

    def source(self) -> Exported:
        """What all targets are made of. Raises what building or exporting raises."""
        place, name, current = self.place, self.spec.name, self.current
        if current is not None:
            _show_unchanged(current, "build", "export")
            return Exported(current.copy_source(place, self.spec), current.source_record(), current.built_from())
        work, log = place.release / layout.SOURCE, place.release / layout.BUILD_LOG
        work.mkdir()
        again.head(log, f"builds {name} {place.version}", ["fanout", "deploy", *self.named, "--force"])
        with (
            self.turn.slots.held(self.needs.build(self.spec), self.turn.number),
            Builder(self.spec, place.release, work, place.version, log) as builder,
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
        _show_unchanged(current, unit.title, f"check {unit.title}")
        rows = current.copy_variant(unit, self.place)
        tell(Event(self.spec.name, "done", *unit, rows=tuple(rows)))
        return rows


def _show_unchanged(current: Reusable, *steps: str) -> None:
    """Tasks that Prefect shows in place of those steps."""
    for step in steps:
        unchanged(current.manifest.model, step, current.version)


@contextmanager
def _children_end_first(model: str) -> Iterator[None]:
    """When the run is interrupted or cancelled, end its children, or the threads that wait for them would go on."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        tell(Event(model, "interrupted"))
        ending.end_all()
        raise


@flow(name="deploy-all", flow_run_name="deploy all", validate_parameters=True)
def deploy_all(
    models: list[str] | None = None, targets: list[str] | None = None, force: bool = False, promote: bool = True
) -> State[Any]:
    """Deploy several models (every config, unless named); one that fails does not stop the others."""
    if later := _caught_up_by():
        return Cancelled(message=f"skipped: {later}, which is due as well, makes up for this run")
    configs = in_force().configs
    chosen = models or read.names(configs)
    if not chosen:
        raise BadInput(f"{configs} holds no config")
    with resident.keeping():
        states = _side_by_side(chosen, targets, force, promote)
    failed = {
        _short(model): state.message or str(state.name) for model, state in states.items() if not state.is_completed()
    }
    if failed:
        return Failed(message=f"{len(failed)} of {len(states)} failed: " + "; ".join(failed.values()))
    same = [model for model, state in states.items() if state.name == "Cached"]
    promoted = [model for model in states if model not in same]
    said = [
        f"{len(some)} {word}: {', '.join(map(_short, some))}"
        for some, word in ((promoted, "promoted"), (same, "unchanged"))
        if some
    ]
    return Completed(message="; ".join(said))


def _side_by_side(
    models: Sequence[str], targets: list[str] | None, force: bool, promote: bool
) -> dict[str, State[Any]]:
    """The state of each model's own flow run. Several run at one time, in threads, and share the places for children."""

    slots = Slots(SIDE_BY_SIDE)

    def run(number: int, model: str) -> State[Any]:
        _turn.set(Turn(slots, number))
        return deploy_model(model, targets, force, promote, return_state=True)

    with ThreadPoolExecutor(MODELS_AT_ONCE, thread_name_prefix="model") as pool, _children_end_first("deploy all"):
        try:
            # Prefect finds the flow that one belongs to in the context.
            running = [
                pool.submit(contextvars.copy_context().run, run, number, model) for number, model in enumerate(models)
            ]
            return {model: future.result() for model, future in zip(models, running, strict=True)}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _short(model: str) -> str:
    return Path(model).stem
