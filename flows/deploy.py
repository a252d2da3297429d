"""The flows: build, export, then convert and check every target side by side, then release."""

import contextvars
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from converters.config import read
from converters.config.asked import Asked
from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput, FanoutError, of_disk
from converters.processes import ending, memory, resident
from converters.processes.slots import Slots
from converters.release.assemble import Released
from converters.release.locking import reading
from converters.release.provenance import Run
from converters.release.publish import tidy
from converters.release.signing import Keys
from converters.release.staging import staging
from converters.steps import key, reuse
from converters.steps.reuse import Reusable
from flows import ahead, one_at_a_time
from flows.ahead import Begun
from flows.cluster.dask import connected
from flows.executor import Executor, Here
from flows.making import Making, Turn, show_unchanged
from flows.operations import ONCE, this_run
from flows.order import measured_needs
from flows.settings import Settings, in_force
from flows.show import artifacts
from flows.show.events import Event, Stage, tell
from flows.show.forecast import Forecast
from flows.tasks import publish, publish_elsewhere
from flows.ui import notify

SIDE_BY_SIDE = max(2, os.cpu_count() or 2)
"""Builds, conversions and checks that run at one time, those of all models together; each is a process of its own."""
MOST_THREADS = 256
"""Each waits for a child process, or for a cluster; how many really run is the executor's affair."""
MODELS_AT_ONCE = SIDE_BY_SIDE + 1
"""Models that a deploy-all works on at one time: while the last conversions of one run, the next is built."""

_turn: contextvars.ContextVar[Turn | None] = contextvars.ContextVar("turn", default=None)
"""What a deploy-all gives the runs of its models."""


@flow(
    name="deploy-model",
    flow_run_name="deploy {model}",
    task_runner=ThreadPoolTaskRunner(max_workers=MOST_THREADS),  # type: ignore[arg-type]
    **ONCE,
    on_failure=[notify.run_failed],
    on_crashed=[notify.run_crashed],
)
def deploy_model(
    model: str,
    targets: list[str] | None = None,
    force: bool = False,
    promote: bool = True,
    data: str | None = None,
    trust_code: bool = False,
    accept_contract_change: bool = False,
    name: str | None = None,
    tags: str | None = None,
    custom: str | None = None,
) -> State[Any]:
    """Deploy one model: a config's name, a config file, or the path of a SavedModel, .keras or .h5 file.

    `data` are real inputs in place of the config's golden.data and representative, in the same forms. `trust_code` runs
    code that came with the model, `accept_contract_change` promotes it though its signatures are not the current release's.
    `name`, `tags` and `custom` are those of `Asked`.
    """
    started = time.monotonic()
    if later := _caught_up_by():
        return Cancelled(message=f"skipped: {later}, which is due as well, makes up for this run")
    try:
        settings = in_force()
        keys = settings.ready()
        asked = Asked(
            targets=tuple(targets) if targets else None, data=data, name=name, tags=tags, custom=custom,
            trust_code=trust_code, accept_contract_change=accept_contract_change,
        )  # fmt: skip
        spec = asked.of(read.find(model, settings.configs))
        waiting = Event(spec.name, "queued", detail="waiting for another deploy of this model")
        begun = ahead.taken_over(model, spec)
        with (
            begun or nullcontext(),
            artifacts.live_progress(spec.name, _forecast(settings, spec.name)),
            nullcontext()
            if begun
            else one_at_a_time.one_at_a_time(settings.releases, spec.name, lambda: tell(waiting)),
            _children_end_first(spec.name),
            resident.keeping(),
        ):
            found = _look(settings, spec, keys, begun, force)
            current = found.current
            stage: Stage = "unchanged"
            if current is not None and current.whole:
                released = _leave(current)
            else:
                released = _deploy([model, *asked.words()], spec, found, settings, started, promote)
                stage = "refused" if released.manifest.refusals else "released"
            if settings.publish is not None and released.promoted:
                there: Any = publish_elsewhere(released, return_state=True).result(raise_on_failure=False)
                released = there
            tell(Event(spec.name, stage, released=released))
            artifacts.record(released, settings)
    except (FanoutError, OSError) as error:
        known = of_disk(error, in_force().releases)
        if known is None:
            raise
        tell(Event(model, "failed", detail=str(known), error=known))
        return Failed(message=str(known))
    if released.only_here is None and current is not None and current.whole:
        return Completed(name="Cached", message=current.sentence(), data=released)
    state = Failed if released.manifest.refusals or released.only_here else Completed
    return state(message=released.sentence(), data=released)


def _forecast(settings: Settings, model: str) -> Forecast:
    """What is left of a model's run. Others that are made beside it take about as many of the places as they leave to it."""
    # How much is done at one time on a cluster is not known, nor how fast.
    return Forecast(settings.releases, [model] if settings.dask is None else [], 1 if _turn.get() else SIDE_BY_SIDE)


def _caught_up_by() -> str | None:
    context = FlowRunContext.get()
    return one_at_a_time.caught_up_by(context.flow_run if context else None)


class Found(NamedTuple):
    """What a deploy begins with: how it is made, what may stay of the current release, and what is being built already."""

    recipe: key.Recipe
    current: Reusable | None
    begun: Begun | None


def _look(settings: Settings, spec: ModelSpec, keys: Keys, begun: Begun | None, force: bool) -> Found:
    """What there is; why the current release is made again is told."""
    if begun is None:
        tidy(settings.releases, spec.name)
    recipe = begun.recipe if begun else key.recipe(spec)
    current, reasons = (None, []) if force else reuse.look(settings.releases, spec, recipe, keys)
    for reason in reasons:
        tell(Event(spec.name, "changed", detail=reason))
        get_run_logger().info("%s is made again: %s", spec.name, reason)
    return Found(recipe, None if begun else current, begun)


def _leave(current: Reusable) -> Released:
    """The current release, which is what a deploy would make."""
    steps = [step for unit in current.rows for step in (unit.title, f"check {unit.title}")]
    show_unchanged(current, "build", "export", *steps, "release")
    return current.released()


def _deploy(
    named: Sequence[str],
    spec: ModelSpec,
    found: Found,
    settings: Settings,
    started: float,
    promote: bool,
) -> Released:
    """A new release, with what may stay of the current one."""
    turn = _turn.get() or Turn(Slots(SIDE_BY_SIDE))
    recipe, current, begun = found
    with (
        _executor(turn.slots, settings) as executor,
        reading(current.path) if current else nullcontext(),  # what stays of it is copied
        memory.measured() as peak,
        nullcontext(begun.place) if begun else staging(settings.releases, spec.name) as place,
    ):
        needs = measured_needs(settings.releases, spec.name)
        making = Making(named, spec, current, executor, place, turn, needs, begun.builder if begun else None)
        exported = making.source()
        rows = making.rows(exported)
        if untold := reuse.record(place, exported.source, spec, recipe, exported.built_from, rows):
            get_run_logger().warning("%s, so the next deploy will do everything again", untold)
        reads = exported.built_from.reads
        run = Run(
            begun.since if begun else started,
            str(flow_run.id),
            this_run(),
            reads.files if reads is not None else {},
            peak.mb,
        )
        return publish(place, exported.record, spec, [*chain(*rows.values())], run, promote, settings.read_keys())


@contextmanager
def _executor(slots: Slots, settings: Settings) -> Iterator[Executor]:
    """What the settings ask for: this machine, with these places, or the cluster, connected for the block."""
    cluster = settings.cluster()
    if cluster is None:
        yield Here(slots)
    else:
        with connected(cluster) as workers:
            yield workers


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


@flow(name="deploy-all", flow_run_name="deploy all", **ONCE)
def deploy_all(
    models: list[str] | None = None,
    targets: list[str] | None = None,
    force: bool = False,
    promote: bool = True,
    trust_code: bool = False,
    accept_contract_change: bool = False,
) -> State[Any]:
    """Deploy several models (every config, unless named); one that fails does not stop the others."""
    if later := _caught_up_by():
        return Cancelled(message=f"skipped: {later}, which is due as well, makes up for this run")
    configs = in_force().configs
    chosen = models or read.names(configs)
    if not chosen:
        raise BadInput(f"{configs} holds no config")
    read.require_distinct(_found(chosen, configs))
    allowed = {"trust_code": trust_code, "accept_contract_change": accept_contract_change}
    with resident.keeping():
        states = _side_by_side(chosen, targets, force, promote, allowed)
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


def _found(models: Sequence[str], configs: Path) -> dict[str, ModelSpec]:
    """The specs of those that have a right one; of the others their own runs say what is wrong."""
    found = {}
    for model in models:
        try:
            found[model] = read.find(model, configs)
        except BadInput:
            continue
    return found


def _side_by_side(
    models: Sequence[str], targets: list[str] | None, force: bool, promote: bool, allowed: Mapping[str, bool]
) -> dict[str, State[Any]]:
    """The state of each model's own flow run. Several run at one time, in threads, and share the places for children."""

    slots = Slots(SIDE_BY_SIDE)

    def run(number: int, model: str) -> State[Any]:
        _turn.set(Turn(slots, number))
        return deploy_model(model, targets, force, promote, **allowed, return_state=True)

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
