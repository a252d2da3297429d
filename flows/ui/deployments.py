"""What Prefect's UI offers: the deployments, their forms and their schedules, made from the configs."""

import shlex
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker
from pydantic import ValidationError

from converters.config import data, read
from converters.contract.errors import BadInput
from converters.contract.settings import NEVER, Schedule
from converters.release import publish
from converters.targets.registry import TARGETS
from flows.settings import ROOT, Settings

POOL = "fanout"
WORKER = f"fanout on {socket.gethostname()}"
_ALIVE = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
_PAGE = 200


class Scheduled(NamedTuple):
    """One schedule of a deployment; `slug` is its name within it."""

    slug: str
    schedule: Schedule
    parameters: dict[str, Any]


class Deployment(NamedTuple):
    """One entry of the UI's list: the flow it runs, its form, and when it runs by itself."""

    name: str
    entrypoint: str
    description: str
    form: dict[str, Any]
    scheduled: Sequence[Scheduled] = ()


class Plan(NamedTuple):
    """The deployments that the configs ask for, and what is wrong with configs, a sentence each."""

    models: list[str]
    deployments: list[Deployment]
    problems: list[str]


def plan(settings: Settings) -> Plan:
    """Read the configs. A model whose config is wrong can be chosen all the same; its runs say what is wrong.

    Raises:
        BadInput: there is no config, or a schedule is none that Prefect can keep.
    """
    models = read.names(settings.configs)
    if not models:
        raise BadInput(f"{settings.configs} holds no config; write one, NAME.yaml for a model NAME")
    schedules: dict[str, Schedule | None] = {}
    problems = []
    for name in models:
        try:
            schedules[name] = read.find(name, settings.configs).schedule
        except BadInput as error:
            schedules[name] = None
            problems.append(str(error))
    own, together = _scheduled(schedules, read.nightly(settings.configs).schedule)
    for scheduled in (*own, *together):
        _require_cron(scheduled.schedule, f"{settings.configs / scheduled.slug}.yaml")
    return Plan(models, _deployments(models, sorted({*models, *_released(settings.releases)}), own, together), problems)


def _scheduled(schedules: Mapping[str, Schedule | None], common: Schedule) -> tuple[list[Scheduled], list[Scheduled]]:
    """The schedules of single models, and that of all others together."""
    own = [
        Scheduled(name, schedule, {"model": name})
        for name, schedule in schedules.items()
        if schedule is not None and schedule.cron != NEVER
    ]
    rest = [name for name, schedule in schedules.items() if schedule is None]
    # Parameters that name no model mean every config, also one that is written after this.
    chosen = {} if len(rest) == len(schedules) else {"models": rest}
    return own, [Scheduled(read.NIGHTLY, common, chosen)] if rest and common.cron != NEVER else []


def _deployments(
    models: Sequence[str], released: Sequence[str], own: Sequence[Scheduled], together: Sequence[Scheduled]
) -> list[Deployment]:
    doing = {
        "targets": _TARGETS,
        "force": _FORCE,
        "promote": _PROMOTE,
        "trust_code": _TRUST_CODE,
        "accept_contract_change": _ACCEPT,
    }
    a_release = {"model": _choice("The model.", released), "version": _VERSION}
    return [
        Deployment(
            "deploy-model",
            "flows.deploy.deploy_model",
            "Build, convert, check and release one model.",
            _form({"model": _choice("The model, by its config's name.", models), **doing, "data": _DATA}, ["model"]),
            own,
        ),
        Deployment(
            "deploy-all",
            "flows.deploy.deploy_all",
            "Deploy every model in configs/. One that fails does not stop the others.",
            _form({"models": _choices("The models; none chosen means every config.", models), **doing}, []),
            together,
        ),
        Deployment(
            "check-release",
            "flows.operations.check_release",
            "Check a release again: its files' digests, and every check in every runtime. Changes nothing.",
            _form({**a_release, "trust_code": _TRUST_CODE}, ["model"]),
        ),
        Deployment(
            "promote",
            "flows.operations.promote_release",
            "Make a passed version the current one.",
            _form(a_release, ["model", "version"]),
        ),
        Deployment(
            "rollback",
            "flows.operations.rollback_release",
            "Go back to the passed version before the current one.",
            _form({"model": a_release["model"]}, ["model"]),
        ),
    ]


def register(client: SyncPrefectClient, deployments: Iterable[Deployment]) -> None:
    """Create or bring up to date the work pool and the deployments; a schedule that was paused in the UI stays paused."""
    template = ProcessWorker.get_default_base_job_template()
    defaults = {
        "command": f"{shlex.quote(sys.executable)} -m prefect.engine",
        "working_dir": str(ROOT),
        "stream_output": False,
    }
    for name, value in defaults.items():
        template["variables"]["properties"][name]["default"] = value
    pool = WorkPoolCreate(
        name=POOL, type="process", base_job_template=template, description="Processes on the machine of `make ui`."
    )
    try:
        client.create_work_pool(pool)
    except ObjectAlreadyExists:  # of an earlier start, perhaps from another checkout
        client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
    for deployment in deployments:
        flow_id = client.create_flow_from_name(deployment.name)
        paused = _paused(client, f"{deployment.name}/{deployment.name}")
        client.create_deployment(
            flow_id,
            deployment.name,
            description=deployment.description,
            entrypoint=deployment.entrypoint,
            work_pool_name=POOL,
            parameter_openapi_schema=deployment.form,
            enforce_parameter_schema=True,
            # The form shows these in place of the schema's defaults.
            parameters={
                name: field["default"] for name, field in deployment.form["properties"].items() if "default" in field
            },
            schedules=[
                DeploymentScheduleCreate(
                    slug=scheduled.slug,
                    schedule=CronSchedule(cron=scheduled.schedule.cron, timezone=scheduled.schedule.timezone),
                    parameters=scheduled.parameters,
                    active=scheduled.slug not in paused,
                )
                for scheduled in deployment.scheduled
            ],
        )


def worker_command(at_once: int) -> list[str]:
    """What starts this machine's worker, which does so many runs at one time."""
    return [
        sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--name", WORKER, "--type", "process",
        "--limit", str(at_once), "--install-policy", "never", "--no-create-pool-if-not-found",
    ]  # fmt: skip


def mark_crashed(client: SyncPrefectClient, message: str) -> list[str]:
    """Mark what this machine's worker was running as crashed, when that worker is known to be gone; their names."""
    alive = FlowRunFilter.model_validate({"state": {"type": {"any_": _ALIVE}}})
    runs = client.read_flow_runs(flow_run_filter=alive, limit=_PAGE)
    lost = [run for run in runs if run.labels.get("prefect.worker.name") == WORKER]
    for run in lost:
        _crash(client, run, message)
    return [run.name for run in lost]


def _crash(client: SyncPrefectClient, run: FlowRun, message: str) -> None:
    tasks = client.read_task_runs(flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [run.id]}}), limit=_PAGE)
    for task in tasks:
        if task.state is None or not task.state.is_final():
            client.set_task_run_state(task.id, Crashed(message=message), force=True)
    below = FlowRunFilter.model_validate(
        {"parent_flow_run_id": {"any_": [run.id]}, "state": {"type": {"any_": _ALIVE}}}
    )
    for child in client.read_flow_runs(flow_run_filter=below, limit=_PAGE):
        _crash(client, child, message)
    client.set_flow_run_state(run.id, Crashed(message=message, timestamp=datetime.now(timezone.utc)), force=True)


def _paused(client: SyncPrefectClient, name: str) -> set[str]:
    """The slugs of a deployment's schedules that somebody has switched off in the UI."""
    try:
        existing = client.read_deployment_by_name(name)
    except ObjectNotFound:
        return set()
    return {schedule.slug for schedule in existing.schedules if schedule.slug and not schedule.active}


def _require_cron(schedule: Schedule, where: str) -> None:
    """What Prefect will not accept is said before anything is started."""
    try:
        CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    except ValidationError as error:
        raise BadInput(f"{where}: schedule: {error.errors()[0]['msg']}: {schedule.cron!r}") from error


def _released(root: Path) -> list[str]:
    return (
        [path.name for path in root.iterdir() if path.is_dir() and publish.current(root, path.name)]
        if root.is_dir()
        else []
    )


def _form(fields: Mapping[str, dict[str, Any]], required: Sequence[str]) -> dict[str, Any]:
    """The JSON schema of a run's parameters. The server refuses what does not fit it, unknown names included."""
    properties = {
        name: {"title": name, **field, "position": position} for position, (name, field) in enumerate(fields.items())
    }
    return {
        "title": "Parameters",
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _choice(description: str, names: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(names), "description": description}


def _choices(description: str, names: Sequence[str]) -> dict[str, Any]:
    items = {"type": "string", "enum": list(names)}
    return {"type": "array", "items": items, "uniqueItems": True, "description": description}


_TARGETS = _choices(
    "Only these targets; none chosen means all that the config names. The SavedModel is always made.", TARGETS.choices()
)
_FORCE = {"type": "boolean", "default": False, "description": "Do all the work again, also where nothing has changed."}
_PROMOTE = {
    "type": "boolean",
    "default": True,
    "description": "Make the new version the current one if every check passed. Without it, it is published only.",
}
_TRUST_CODE = {"type": "boolean", "default": False, "description": "Run code that came with it; you trust its maker."}
_ACCEPT = {
    "type": "boolean",
    "default": False,
    "description": "Promote it though its signatures are not those of the current release.",
}
_DATA = {
    "type": "string",
    "description": f"Real inputs in place of the config's golden.data and representative: {data.FORMS}. By an absolute path.",
}
_VERSION = {"type": "integer", "minimum": 1, "description": "The version; without one, the current one."}
