"""The flows: build, export, then convert and check every target side by side, then release."""

import contextvars
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.runtime import task_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from converters import convert as converting
from converters import isolate, kept, key, memory, release, reuse, spec, work
from converters.assemble import Released, assemble
from converters.contract import Source
from converters.convert import Conversion
from converters.errors import BadInput, BuilderFailed, ChildDied, ChildFailed, FanoutError
from converters.manifest import Row, SourceRecord, title
from converters.release import Staging
from converters.reuse import BuiltFrom, Kept
from converters.slots import Slots
from converters.source import Builder, Built
from converters.spec import ModelSpec
from flows import artifacts, child_logs, elsewhere, nightly, notify
from flows.elsewhere import Executor, Job
from flows.events import Event, tell
from flows.schedule import Needs, measured_needs, run_all
from flows.settings import releases_dir

SIDE_BY_SIDE = max(2, os.cpu_count() or 2)
"""Builds, conversions and checks that run at one time, those of all models together; each is a process of its own."""
MOST_THREADS = 256
"""Each waits for a child process, or for a cluster; how many really run is the executor's affair."""
MODELS_AT_ONCE = SIDE_BY_SIDE + 1
"""Models that a deploy-all works on at one time: while the last conversions of one run, the next is built."""

slots = Slots(SIDE_BY_SIDE)
_turn = contextvars.ContextVar("turn", default=0)
"""The model's place in a deploy-all; an earlier one goes first."""

CRASH_RETRIES = 1
"""How often a conversion is done again whose child process crashed. What a converter says itself it would say again."""

# Results are passed on in memory; what must last is in the release. A conversion or check that found something wrong
# ends as Failed, for the UI, and still carries what it found. Prefect's own cache knows parameters and not what is on
# disk, so `converters.reuse` decides what is unchanged; such a task's state has the name that Prefect gives a hit.
_options: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


def _row_name() -> str:
    """What a person calls the conversion or check that is about to run."""
    job: Job = task_run.parameters["job"]
    return f"{job.wanted.name} {job.place.version}: {_called(job.target, job.variant)}"


def _check_name() -> str:
    return _row_name().replace(": ", ": check ", 1)


def _called(target: str, variant: str) -> str:
    return f"{target} {variant}".removesuffix(" default")


class Exported(NamedTuple):
    """The source by path, what the manifest says of it, and what its key is made of."""

    source: Source
    record: SourceRecord
    built_from: BuiltFrom


@task(name="unchanged", task_run_name="{model} {version}: {what}", **_options)
def unchanged(model: str, what: str, version: int) -> State[None]:
    """Stands for a step whose result is kept from the current release, where it was verified."""
    return Completed(name="Cached", message=f"unchanged since {model} {version}")


@task(name="build", task_run_name="{model} {place.version}: build", **_options)
def build(model: str, builder: Builder, place: Staging) -> isolate.Completed[Built]:
    """Build the live model and record golden, in a child process."""
    tell(Event(model, "building"))
    try:
        with child_logs.shown(builder.log):
            done = builder.build(place.release, place.release / reuse.SOURCE)
    except ChildFailed as error:
        raise BuilderFailed(f"building {model} failed: {error}") from error
    built = done.value
    get_run_logger().info("%s with %d parameters, built in %.1f s", built.kind, built.parameters, done.seconds)
    return done


@task(name="export", task_run_name="{model} {place.version}: export", **_options)
def export(model: str, builder: Builder, place: Staging, built: isolate.Completed[Built]) -> Exported:
    """Export the live model as a SavedModel."""
    tell(Event(model, "exporting"))
    try:
        with child_logs.shown(builder.log):
            done = builder.export(place.release, place.release / reuse.SOURCE, place.version)
        reads = builder.reads(place.root)
    except ChildFailed as error:
        raise BuilderFailed(f"exporting {model} failed: {error}") from error
    source = done.value
    get_run_logger().info("%s, exported in %.1f s", source.digest, done.seconds)
    record = SourceRecord(
        kind=source.kind,
        digest=source.digest,
        signatures=source.signatures,
        seconds={"build": round(built.seconds, 3), "export": round(done.seconds, 3)},
        memory_mb=max(built.memory_mb, done.memory_mb),
    )
    return Exported(source, record, BuiltFrom(reads, built.value.drawn_for))


@task(
    name="convert",
    task_run_name=_row_name,
    retries=CRASH_RETRIES,
    retry_condition_fn=lambda task, run, state: isinstance(state.result(raise_on_failure=False), ChildDied),
    **_options,
)
def convert(where: Executor, job: Job, need: float) -> Any:
    """Convert to one variant of one target, in a child process that needs `need` MB: a Conversion."""
    model, target, variant = job.wanted.name, job.target, job.variant
    with child_logs.shown(job.place.release / converting.log_of(target, variant)):
        conversion = where.convert(job, need, lambda: tell(Event(model, "converting", target, variant)))
    if conversion.crashed and not isolate.ending() and task_run.run_count <= CRASH_RETRIES:
        raise ChildDied(f"{conversion.error}; it is done once more")
    if conversion.error is not None:
        return Failed(message=conversion.error, data=conversion)
    return conversion


@task(name="check", task_run_name=_check_name, **_options)
def check(where: Executor, job: Job, conversion: Conversion, need: float) -> Any:
    """Run what was converted in its own runtimes and compare with golden: a list of rows."""
    model, target, variant = job.wanted.name, job.target, job.variant
    with child_logs.shown(job.place.root / work.check_log(target, variant)):
        rows = where.check(job, conversion, need, lambda: tell(Event(model, "checking", target, variant)))
    tell(Event(model, "done", target, variant, rows=tuple(rows)))
    for row in rows:
        get_run_logger().info("%s: %s%s", title(row), row.status, f": {row.reason}" if row.reason else "")
    bad = [row.reason or "no check ran" for row in rows if row.status in ("failed", "not_run")]
    return Failed(message="; ".join(bad), data=rows) if bad else rows


@task(name="release", task_run_name="{model} {place.version}: release", **_options)
def publish(
    model: str,
    place: Staging,
    source: SourceRecord,
    wanted: ModelSpec,
    rows: list[Row],
    started: float,
    promote: bool,
    peak_mb: float,
) -> Released:
    """Publish the version, and promote it if the gate passes and `promote` says so.

    Raises ChildDied where the run is ending: what its last checks found is then only that their children were ended.
    """
    isolate.require_running()
    released = assemble(place, source, wanted, rows, started, promote=promote, peak_memory_mb=peak_mb)
    tell(Event(model, "refused" if released.refusals else "released", released=released))
    return released


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
        wanted = spec.find(model)
        if targets:
            wanted = wanted.with_targets(targets)
        waiting = Event(wanted.name, "queued", detail="waiting for another deploy of this model")
        with (
            artifacts.live_progress(wanted.name),
            nightly.one_at_a_time(releases_dir(), wanted.name, lambda: tell(waiting)),
            _children_end_first(wanted.name),
            kept.keeping(),
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
    return nightly.caught_up_by(context.flow_run if context else None)


def _deploy(wanted: ModelSpec, current: Kept, known: key.Known, started: float, promote: bool) -> Released | None:
    """A new release, with what is kept of the current one; None where all of that is kept."""
    name = wanted.name
    if current.whole:
        _show_kept(name, current, ["build", "export"])
        for target, variant in current.rows:
            _show_kept(name, current, [_called(target, variant), f"check {_called(target, variant)}"])
        _show_kept(name, current, ["release"])
        tell(Event(name, "unchanged", released=current.released()))
        return None
    for reason in current.reasons:
        tell(Event(name, "changed", detail=reason))
    needs = measured_needs(releases_dir(), name)
    with (
        elsewhere.executor(slots) as where,
        memory.measured() as peak,
        release.staging(releases_dir(), name) as place,
    ):
        exported = _source(wanted, current, place, needs, where)
        source = exported.source
        planned = converting.plan(source, wanted)
        jobs = {each: Job(*each, source, exported.built_from.reads, place, wanted, _turn.get()) for each in planned}
        rows = {}
        for target, variant in planned:
            if (target, variant) in current.rows:
                _show_kept(name, current, [_called(target, variant), f"check {_called(target, variant)}"])
                rows[target, variant] = current.copy_variant(target, variant, place)
                tell(Event(name, "done", target, variant, rows=tuple(rows[target, variant])))
            else:
                tell(Event(name, "waiting", target, variant))
        rows |= run_all(
            [each for each in planned if each not in rows],
            where.side_by_side,
            needs.seconds,
            lambda each: convert.submit(where, jobs[each], needs.of(each, "convert", source)),
            lambda each, conversion: check.submit(where, jobs[each], conversion, needs.of(each, "check", source)),
        )
        if untold := reuse.record(place, source, wanted, known, exported.built_from, planned):
            get_run_logger().warning("%s, so the next deploy will do everything again", untold)
        found = [row for each in planned for row in rows[each]]
        return publish(name, place, exported.record, wanted, found, started, promote, peak.mb)


def _source(wanted: ModelSpec, current: Kept, place: Staging, needs: Needs, where: Executor) -> Exported:
    name = wanted.name
    if current.source:
        _show_kept(name, current, ["build", "export"])
        return Exported(current.copy_source(place, wanted), current.source_record(), current.built_from())
    (place.release / reuse.SOURCE).mkdir()
    with (
        _beside(lambda: where.prepare(wanted, _turn.get())),
        slots.held(needs.build(wanted), _turn.get()),
        Builder(wanted, log=place.release / "logs" / "build.log") as builder,
    ):
        return export(name, builder, place, build(name, builder, place))


@contextmanager
def _beside(work: Callable[[], None]) -> Iterator[None]:
    """Do this in a thread until the end of the block, which waits for it, and raises what it raised."""
    with ThreadPoolExecutor(1, thread_name_prefix="beside") as pool:
        doing = pool.submit(contextvars.copy_context().run, work)
        yield
        doing.result()


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
    chosen = models or spec.names()
    if not chosen:
        raise BadInput(f"{spec.CONFIGS} holds no config")
    with kept.keeping():
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
