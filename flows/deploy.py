"""The flows: build, export, then convert and check every target side by side, then release."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.runtime import task_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from converters import check as checking
from converters import convert as converting
from converters import evaluation, golden, isolate, kept, release, spec
from converters.assemble import Released, assemble
from converters.contract import Source
from converters.convert import Conversion
from converters.errors import BadInput, BuilderFailed, ChildDied, ChildFailed, FanoutError
from converters.manifest import Row, title
from converters.release import Staging
from converters.source import Builder
from converters.spec import ModelSpec
from flows import artifacts, child_logs, nightly, notify
from flows.events import Event, tell
from flows.schedule import measured_costs, run_all
from flows.settings import releases_dir

SIDE_BY_SIDE = max(2, os.cpu_count() or 2)
"""Conversions and checks that run at one time; each is a process of its own."""

CRASH_RETRIES = 1
"""How often a conversion is done again whose child process crashed. What a converter says itself it would say again."""

# Results are passed on in memory; what must last is in the release. A conversion or check that found something wrong
# ends as Failed, for the UI, and still carries what it found.
_options: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


def _row_name() -> str:
    """What a person calls the conversion or check that is about to run."""
    given = task_run.parameters
    return f"{given['model']} {given['place'].version}: {given['target']} {given['variant']}".removesuffix(" default")


def _check_name() -> str:
    return _row_name().replace(": ", ": check ", 1)


@task(name="build", task_run_name="{model} {place.version}: build", **_options)
def build(model: str, builder: Builder, place: Staging) -> None:
    """Build the live model and record golden, in a child process."""
    tell(Event(model, "building"))
    try:
        with child_logs.shown(builder.log):
            done = builder.build(place.release, place.scratch)
    except ChildFailed as error:
        raise BuilderFailed(f"building {model} failed: {error}") from error
    built = done.value
    get_run_logger().info("%s with %d parameters, built in %.1f s", built.kind, built.parameters, done.seconds)


@task(name="export", task_run_name="{model} {place.version}: export", **_options)
def export(model: str, builder: Builder, place: Staging) -> Source:
    """Export the live model as a SavedModel."""
    tell(Event(model, "exporting"))
    try:
        with child_logs.shown(builder.log):
            done = builder.export(place.release, place.scratch, place.version)
    except ChildFailed as error:
        raise BuilderFailed(f"exporting {model} failed: {error}") from error
    get_run_logger().info("%s, exported in %.1f s", done.value.digest, done.seconds)
    return done.value


@task(
    name="convert",
    task_run_name=_row_name,
    retries=CRASH_RETRIES,
    retry_condition_fn=lambda task, run, state: isinstance(state.result(raise_on_failure=False), ChildDied),
    **_options,
)
def convert(model: str, target: str, variant: str, source: Source, place: Staging, wanted: ModelSpec) -> Any:
    """Convert to one variant of one target, in a child process: a Conversion."""
    tell(Event(model, "converting", target, variant))
    with child_logs.shown(place.release / converting.log_of(target, variant)):
        conversion = converting.convert(source, target, variant, place.release, wanted)
    if conversion.crashed and not isolate.ending() and task_run.run_count <= CRASH_RETRIES:
        raise ChildDied(f"{conversion.error}; it is done once more")
    if conversion.error is not None:
        return Failed(message=conversion.error, data=conversion)
    return conversion


@task(name="check", task_run_name=_check_name, **_options)
def check(
    model: str, target: str, variant: str, conversion: Conversion, source: Source, place: Staging, wanted: ModelSpec
) -> Any:
    """Run what was converted in its own runtimes and compare with golden: a list of rows."""
    tell(Event(model, "checking", target, variant))
    reference = golden.load(source.golden)
    labelled = evaluation.load(place.release, wanted.evaluation, source.signatures)
    log = place.scratch / f"check-{target}-{variant}.log"
    with child_logs.shown(log):
        rows = checking.check(
            conversion,
            source.signatures,
            reference,
            wanted.targets[target],
            wanted.limits,
            place.release,
            wanted.golden.constant,
            wanted.classifiers,
            labelled,
            log=log,
        )
    tell(Event(model, "done", target, variant, rows=tuple(rows)))
    for row in rows:
        get_run_logger().info("%s: %s%s", title(row), row.status, f": {row.reason}" if row.reason else "")
    bad = [row.reason or "no check ran" for row in rows if row.status in ("failed", "not_run")]
    return Failed(message="; ".join(bad), data=rows) if bad else rows


@task(name="release", task_run_name="{model} {place.version}: release", **_options)
def publish(
    model: str, place: Staging, source: Source, wanted: ModelSpec, rows: list[Row], started: float, promote: bool
) -> Released:
    """Publish the version, and promote it if the gate passes and `promote` says so."""
    released = assemble(place, source, wanted, rows, started, promote)
    tell(Event(model, "refused" if released.refusals else "released", released=released))
    return released


@flow(
    name="deploy-model",
    flow_run_name="deploy {model}",
    task_runner=ThreadPoolTaskRunner(max_workers=SIDE_BY_SIDE),  # type: ignore[arg-type]
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
        with artifacts.live_progress(wanted.name), kept.keeping():
            released = _deploy(wanted, started, promote)
            artifacts.record(released)
    except FanoutError as error:
        tell(Event(model, "failed", detail=str(error), error=error))
        return Failed(message=str(error))
    if released.refusals:
        return Failed(message=released.sentence(), data=released)
    return Completed(message=released.sentence(), data=released)


def _caught_up_by() -> str | None:
    context = FlowRunContext.get()
    return nightly.caught_up_by(context.flow_run if context else None)


def _deploy(wanted: ModelSpec, started: float, promote: bool) -> Released:
    name = wanted.name
    alone = nightly.one_at_a_time(
        releases_dir(), name, lambda: tell(Event(name, "queued", detail="waiting for another deploy of this model"))
    )
    with alone, release.staging(releases_dir(), name) as place, _children_end_first(name):
        with Builder(wanted, log=place.release / "logs" / "build.log") as builder:
            build(name, builder, place)
            source = export(name, builder, place)
        planned = converting.plan(source, wanted)
        for target, variant in planned:
            tell(Event(name, "waiting", target, variant))
        rows = run_all(
            planned,
            SIDE_BY_SIDE,
            measured_costs(releases_dir(), name),
            lambda key: convert.submit(name, *key, source, place, wanted),
            lambda key, conversion: check.submit(name, *key, conversion, source, place, wanted),
        )
        return publish(name, place, source, wanted, rows, started, promote)


@contextmanager
def _children_end_first(model: str) -> Iterator[None]:
    """When the run is interrupted or cancelled, end its children, or the threads that wait for them would go on."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        isolate.end_all()
        tell(Event(model, "interrupted"))
        raise


@flow(name="deploy-all", flow_run_name="deploy all", validate_parameters=True)
def deploy_all(
    models: list[str] | None = None, targets: list[str] | None = None, force: bool = False, promote: bool = True
) -> State[Any]:
    """Deploy several models (every config, unless named), one after another; a failing one does not stop the others."""
    if later := _caught_up_by():
        return Cancelled(message=f"skipped: {later}, which is due as well, makes up for this run")
    chosen = models or spec.names()
    if not chosen:
        raise BadInput(f"{spec.CONFIGS} holds no config")
    with kept.keeping():
        states = {model: deploy_model(model, targets, force, promote, return_state=True) for model in chosen}
    failed = {
        _short(model): state.message or str(state.name) for model, state in states.items() if not state.is_completed()
    }
    if failed:
        return Failed(message=f"{len(failed)} of {len(states)} failed: " + "; ".join(failed.values()))
    return Completed(message=f"{len(states)} promoted: {', '.join(map(_short, states))}")


def _short(model: str) -> str:
    return Path(model).stem
