"""The tasks of a deploy, each a step that Prefect shows; what they do is done by converters/, in child processes."""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_logger, get_run_logger
from prefect.runtime import task_run
from prefect.states import Cancelled, Completed, Failed

from converters.config.spec import ModelSpec
from converters.contract import layout
from converters.contract.errors import BuilderFailed, ChildDied, ChildFailed
from converters.contract.values import Source
from converters.processes import child, ending
from converters.release.assemble import Released, assemble
from converters.release.manifest import Row, SourceRecord
from converters.release.provenance import Run
from converters.release.signing import Keys
from converters.release.staging import Staging
from converters.source.build import Built
from converters.source.builder import Builder
from converters.steps.convert import Conversion
from converters.steps.reuse import BuiltFrom
from flows import elsewhere
from flows.executor import Executor, Job
from flows.settings import in_force
from flows.show import child_logs
from flows.show.events import Event, tell

CRASH_RETRIES = 1
"""How often a conversion is done again whose child process crashed. What a converter says itself it would say again."""

# That a step has ended well its own line says, or its state: two dozen more would hide what a run has to say.
get_logger("task_runs").addFilter(lambda record: not record.getMessage().startswith("Finished in state Completed"))

# Results are passed on in memory; what must last is in the release. A conversion or check that found something wrong
# ends as Failed, for the UI, and still carries what it found. Prefect's own cache knows parameters and not what is on
# disk, so `converters.reuse` decides what is unchanged; such a task's state has the name that Prefect gives a hit.
P = ParamSpec("P")
R = TypeVar("R")

_options: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False, "retry_delay_seconds": 0}
_once: dict[str, Any] = {**_options, "retries": 0}


_RELEASE, _UNIT = "{job.unit.spec.name} {job.unit.source.version}", "{job.unit.name.title}"


def _until_cancelled(work: Callable[P, R]) -> Callable[P, R]:
    """What a task's work comes to; Cancelled for whatever it comes to once the run's children were ended with it."""

    @wraps(work)
    def done(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            result = work(*arguments, **named)
        except Exception:
            if not ending.begun():
                raise
        else:
            if not ending.begun():
                return result
        # Prefect takes a state for the result that it stands for.
        return Cancelled(message="the run was ended meanwhile")  # type: ignore[return-value]

    return done


class Exported(NamedTuple):
    """The source by path, what the manifest says of it, and what its key is made of."""

    source: Source
    record: SourceRecord
    built_from: BuiltFrom


@task(name="unchanged", task_run_name="{model} {version}: {what}", **_once)
def unchanged(model: str, what: str, version: int) -> State[None]:
    """Stands for a step whose result is kept from the current release, where it was verified."""
    return Completed(name="Cached", message=f"unchanged since {model} {version}")


@task(name="build", task_run_name="{model} {place.version}: build", **_once)
@_until_cancelled
def build(model: str, builder: Builder, place: Staging) -> child.Completed[Built]:
    """Build the live model and record golden, in a child process; it may have begun before Prefect was there."""
    tell(Event(model, "building"))
    try:
        with child_logs.shown(builder.log, builder.log_start):
            done = builder.build()
    except ChildFailed as error:
        raise BuilderFailed(f"building {model} failed: {error}") from error
    built = done.value
    get_run_logger().info("%s with %d parameters, built in %.1f s", built.kind, built.parameters, done.seconds)
    for sentence in built.said:
        tell(Event(model, "assumed", detail=sentence))
        get_run_logger().info("%s", sentence)
    return done


@task(name="export", task_run_name="{model} {place.version}: export", **_once)
@_until_cancelled
def export(model: str, builder: Builder, place: Staging, built: child.Completed[Built]) -> Exported:
    """Export the live model as a SavedModel."""
    tell(Event(model, "exporting"))
    try:
        with child_logs.shown(builder.log):
            done = builder.export()
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
    task_run_name=f"{_RELEASE}: {_UNIT}",
    retries=CRASH_RETRIES,
    retry_condition_fn=lambda task, run, state: isinstance(state.result(raise_on_failure=False), ChildDied),
    **_options,
)
@_until_cancelled
def convert(executor: Executor, job: Job, need_mb: float) -> Any:
    """Convert to one variant of one target, in a child process that needs `need_mb`: a Conversion."""
    unit = job.unit
    begun = Event(unit.spec.name, "converting", *unit.name)
    with child_logs.shown(unit.release / layout.log_of(*unit.name)):
        conversion = executor.convert(job, need_mb, lambda: tell(begun))
    if conversion.crashed and not ending.begun() and task_run.run_count <= CRASH_RETRIES:
        raise ChildDied(f"{conversion.error}; it is done once more")
    if conversion.error is not None:
        return Failed(message=conversion.error, data=conversion)
    return conversion


@task(name="check", task_run_name=f"{_RELEASE}: check {_UNIT}", **_once)
@_until_cancelled
def check(executor: Executor, job: Job, conversion: Conversion, need_mb: float) -> Any:
    """Run what was converted in its own runtimes and compare with golden: a list of rows."""
    unit = job.unit
    begun = Event(unit.spec.name, "checking", *unit.name)
    with child_logs.shown(unit.release.parent / layout.check_log(*unit.name)):
        rows = executor.check(job, conversion, need_mb, lambda: tell(begun))
    tell(Event(unit.spec.name, "done", *unit.name, rows=tuple(rows)))
    for row in rows:
        get_run_logger().info("%s: %s%s", row.title, row.status, f": {row.reason}" if row.reason else "")
    bad = [row.reason or "no check ran" for row in rows if row.status in ("failed", "not_run")]
    return Failed(message="; ".join(bad), data=rows) if bad else rows


@task(name="release", task_run_name="{spec.name} {place.version}: release", **_once)
@_until_cancelled
def publish(
    place: Staging,
    source: SourceRecord,
    spec: ModelSpec,
    rows: list[Row],
    run: Run,
    promote: bool,
    keys: Keys,
) -> Released:
    """Publish the version, signed if there is a key, and promote it if the gate passes and `promote` says so.

    Raises ChildDied where the run is ending: what its last checks found is then only that their children were ended.
    """
    ending.require_running()
    return assemble(place, source, spec, rows, run, promote=promote, keys=keys)


_THERE = "{released.manifest.model} {released.manifest.version}: publish elsewhere"


@task(name="publish elsewhere", task_run_name=_THERE, **_once)
def publish_elsewhere(released: Released) -> Any:
    """Have a promoted version in the other place, too: the same Released, with what kept it from being there."""
    there = elsewhere.published(in_force(), released)
    return Failed(message=there.only_here, data=there) if there.only_here else there
