"""The flows: build, export, then convert and check every target side by side, then release."""

import contextvars
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from converters.config import read
from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput, FanoutError
from converters.contract.layout import check_log
from converters.contract.values import Source
from converters.processes import child as isolate
from converters.processes import memory, resident
from converters.processes.slots import Slots
from converters.release import publish as release
from converters.release.assemble import Released
from converters.release.manifest import Row
from converters.release.publish import Staging
from converters.source.builder import Builder
from converters.steps import key, reuse
from converters.steps.reuse import Kept
from converters.steps.store import Store
from converters.steps.unit import Unit, plan
from flows import one_at_a_time, settings
from flows.cluster.dask import Cluster, connected
from flows.executor import Executor, Here, Job
from flows.order import Key, measured_needs, run_all
from flows.settings import releases_dir
from flows.show import artifacts
from flows.show.events import Event, tell
from flows.tasks import Exported, build, called, check, convert, export, publish, unchanged
from flows.ui import notify

SIDE_BY_SIDE = max(2, os.cpu_count() or 2)
"""Builds, conversions and checks that run at one time, those of all models together; each is a process of its own."""
MOST_THREADS = 256
"""Each waits for a child process, or for a cluster; how many really run is the executor's affair."""
MODELS_AT_ONCE = SIDE_BY_SIDE + 1
"""Models that a deploy-all works on at one time: while the last conversions of one run, the next is built."""

if "PREFECT__FLOW_RUN_ID" in os.environ:  # a worker's run: TensorFlow loads while Prefect prepares it
    isolate.warm_up()

slots = Slots(SIDE_BY_SIDE)
_turn = contextvars.ContextVar("turn", default=0)
"""The model's place in a deploy-all; an earlier one goes first."""


@flow(
    name="deploy-model",
    flow_run_name="deploy {model}",
    task_runner=ThreadPoolTaskRunner(max_workers=MOST_THREADS),  # type: ignore[arg-type]
    validate_parameters=True,
    on_failure=[notify.run_failed],
    on_crashed=[notify.run_crashed],
)
def deploy_model(model: str, targets: list[str] | None = None, force: bool = False, promote: bool = True) -> State[Any]:
    """Deploy one model: a config's name, a config file, or the path of a SavedModel, .keras or .h5 file."""
    started = time.monotonic()
    if later := _caught_up_by():
        return Cancelled(message=f"skipped: {later}, which is due as well, makes up for this run")
    try:
        wanted = read.find(model)
        if targets:
            wanted = wanted.with_targets(targets)
        waiting = Event(wanted.name, "queued", detail="waiting for another deploy of this model")
        with (
            artifacts.live_progress(wanted.name),
            one_at_a_time.one_at_a_time(releases_dir(), wanted.name, lambda: tell(waiting)),
            _children_end_first(wanted.name),
            resident.keeping(),
        ):
            known = key.known(wanted)
            current = Kept() if force else reuse.look(releases_dir(), wanted, known)
            released = _deploy(wanted, current, known, started, promote)
            artifacts.record(released or current.released())
    except FanoutError as error:
        tell(Event(model, "failed", detail=str(error), error=error))
        return Failed(message=str(error))
    if released is None:
        return Completed(name="Cached", message=current.sentence(), data=current.released())
    if released.refusals:
        return Failed(message=released.sentence(), data=released)
    return Completed(message=released.sentence(), data=released)


def _caught_up_by() -> str | None:
    context = FlowRunContext.get()
    return one_at_a_time.caught_up_by(context.flow_run if context else None)


def _deploy(wanted: ModelSpec, current: Kept, known: key.Known, started: float, promote: bool) -> Released | None:
    """A new release, with what is kept of the current one; None where all of that is kept."""
    name = wanted.name
    if current.whole:
        _show_kept(name, current, ["build", "export"])
        for each in current.rows:
            _show_kept(name, current, [called(*each), f"check {called(*each)}"])
        _show_kept(name, current, ["release"])
        tell(Event(name, "unchanged", released=current.released()))
        return None
    for reason in current.reasons:
        tell(Event(name, "changed", detail=reason))
    with (
        _executor(slots) as where,
        memory.measured() as peak,
        release.staging(releases_dir(), name) as place,
    ):
        making = _Making(wanted, current, where, place)
        exported = making.run()
        if untold := reuse.record(place, exported.source, wanted, known, exported.built_from, making.planned):
            get_run_logger().warning("%s, so the next deploy will do everything again", untold)
        rows = [row for each in making.planned for row in making.rows[each]]
        return publish(name, place, exported.record, wanted, rows, started, promote, peak.mb)


@contextmanager
def _executor(slots: Slots) -> Iterator[Executor]:
    """What the environment asks for: this machine, with these places, or the cluster, connected for the block.

    Raises:
        BadInput, StoreFailed, ClusterFailed: the cluster cannot be used, and why.
    """
    wanted = settings.cluster()
    if wanted is None:
        yield Here(slots)
        return
    store = Store(wanted.store)
    with connected(wanted.dask) as client:
        cluster = Cluster(client, store, wanted)
        cluster.require_equal()
        cluster.listen()
        yield cluster


class _Making:
    """One version in the making: `planned` are its variants, in the manifest's order, and `rows` what became of each."""

    def __init__(self, wanted: ModelSpec, current: Kept, where: Executor, place: Staging) -> None:
        self.planned: list[Key] = []
        self.rows: dict[Key, list[Row]] = {}
        self._wanted, self._current, self._where, self._place = wanted, current, where, place
        self._needs = measured_needs(releases_dir(), wanted.name)

    def run(self) -> Exported:
        """Make and check all that is not kept of the current release. Raises what building or exporting raises."""
        name, turn = self._wanted.name, _turn.get()
        if self._current.source:
            _show_kept(name, self._current, ["build", "export"])
            kept_source = self._current.copy_source(self._place, self._wanted)
            exported = Exported(kept_source, self._current.source_record(), self._current.built_from())
            self._run_all(exported)
            return exported
        (self._place.release / reuse.SOURCE).mkdir()
        place = self._place
        places = (place.release, place.release / reuse.SOURCE, place.version, place.release / "logs" / "build.log")
        with slots.held(self._needs.build(self._wanted), turn), Builder(self._wanted, *places) as builder:
            exported = export(name, builder, place, build(name, builder, place))
        self._run_all(exported)
        return exported

    def _run_all(self, exported: Exported) -> None:
        """All variants that are to be made."""
        source, needs, where = exported.source, self._needs, self._where
        self._plan(source)
        jobs = {each: self._job(*each, exported) for each in self.planned if each not in self.rows}
        self.rows |= run_all(
            list(jobs),
            where.side_by_side,
            needs.cost,
            lambda each: convert.submit(where, jobs[each], needs.of(each, "convert", source)),
            lambda each, made: check.submit(where, jobs[each], made, needs.of(each, "check", source)),
        )

    def _job(self, target: str, variant: str, exported: Exported) -> Job:
        release, log = self._place.release, self._place.root / check_log(target, variant)
        unit = Unit(target=target, variant=variant, source=exported.source, spec=self._wanted, release=release, log=log)
        return Job(unit, exported.built_from.reads, _turn.get())

    def _plan(self, source: Source) -> None:
        """Settle what there is to make, and take what is kept of it."""
        name = self._wanted.name
        self.planned = plan(source, self._wanted)
        for target, variant in self.planned:
            if (target, variant) in self._current.rows:
                _show_kept(name, self._current, [called(target, variant), f"check {called(target, variant)}"])
                self.rows[target, variant] = self._current.copy_variant(target, variant, self._place)
                tell(Event(name, "done", target, variant, rows=tuple(self.rows[target, variant])))
            else:
                tell(Event(name, "waiting", target, variant))


def _show_kept(model: str, current: Kept, steps: Sequence[str]) -> None:
    for step in steps:
        unchanged(model, step, current.version)


@contextmanager
def _children_end_first(model: str) -> Iterator[None]:
    """When the run is interrupted or cancelled, end its children, or the threads that wait for them would go on."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        tell(Event(model, "interrupted"))
        isolate.end_all()
        raise


@flow(name="deploy-all", flow_run_name="deploy all", validate_parameters=True)
def deploy_all(
    models: list[str] | None = None, targets: list[str] | None = None, force: bool = False, promote: bool = True
) -> State[Any]:
    """Deploy several models (every config, unless named); one that fails does not stop the others."""
    if later := _caught_up_by():
        return Cancelled(message=f"skipped: {later}, which is due as well, makes up for this run")
    chosen = models or read.names()
    if not chosen:
        raise BadInput(f"{read.CONFIGS} holds no config")
    with resident.keeping():
        states = _side_by_side(chosen, targets, force, promote)
    failed = {
        _short(model): state.message or str(state.name) for model, state in states.items() if not state.is_completed()
    }
    if failed:
        return Failed(message=f"{len(failed)} of {len(states)} failed: " + "; ".join(failed.values()))
    same = [model for model, state in states.items() if state.name == "Cached"]
    made = [model for model in states if model not in same]
    said = [
        f"{len(some)} {word}: {', '.join(map(_short, some))}"
        for some, word in ((made, "promoted"), (same, "unchanged"))
        if some
    ]
    return Completed(message="; ".join(said))


def _side_by_side(
    models: Sequence[str], targets: list[str] | None, force: bool, promote: bool
) -> dict[str, State[Any]]:
    """The state of each model's own flow run. Several run at one time, in threads, and share the places for children."""

    def run(turn: int, model: str) -> State[Any]:
        _turn.set(turn)
        return deploy_model(model, targets, force, promote, return_state=True)

    with ThreadPoolExecutor(MODELS_AT_ONCE, thread_name_prefix="model") as pool, _children_end_first("deploy all"):
        try:
            # Prefect finds the flow that one belongs to in the context.
            running = [
                pool.submit(contextvars.copy_context().run, run, turn, model) for turn, model in enumerate(models)
            ]
            return {model: future.result() for model, future in zip(models, running, strict=True)}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _short(model: str) -> str:
    return Path(model).stem
