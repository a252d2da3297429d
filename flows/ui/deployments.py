"""What Prefect's UI offers: the deployments, their forms and their schedules, made from the configs."""

import json
import os
import shlex
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.process import ProcessWorker
from pydantic import ValidationError

from converters.config import read
from converters.contract import names
from converters.contract.errors import BadInput
from converters.contract.settings import NEVER, Schedule
from converters.release import index, publish
from flows.connection import URL
from flows.settings import ROOT, Settings
from flows.ui import forms

POOL = "fanout"
WORKER = f"fanout on {socket.gethostname()}"


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
    """The deployments that the configs ask for, the schedules they are made of, and what is wrong with configs, a sentence each.

    A schedule is None where a config says none, and is that of nightly.yaml by the name of that file.
    """

    models: list[str]
    deployments: list[Deployment]
    schedules: dict[str, Schedule | None]
    problems: list[str]


def plan(settings: Settings, before: Plan | None = None) -> Plan:
    """Read the configs. A model whose config is wrong can be chosen all the same; its runs say what is wrong.

    Its schedule stays what it was in the plan `before`; without that one nightly.yaml must be right.

    Raises:
        BadInput: there is no config, or nightly.yaml is wrong, or its schedule is none that Prefect can keep.
    """
    models = read.names(settings.configs)
    if not models:
        raise BadInput(f"{settings.configs} holds no config; write one, NAME.yaml for a model NAME")
    schedules: dict[str, Schedule | None] = {}
    problems = []
    for name in (read.NIGHTLY, *models):
        try:
            schedules[name] = _schedule(name, settings.configs)
        except BadInput as error:
            if before is None and name == read.NIGHTLY:
                raise
            schedules[name] = before.schedules.get(name) if before is not None else None
            problems.append(str(error))
    own, together = _scheduled({name: schedules[name] for name in models}, schedules[read.NIGHTLY] or _NEVER)
    offered = _offered(settings.releases)
    return Plan(models, _deployments(models, offered, own, together), schedules, problems)


_NEVER = Schedule(cron=NEVER)


def _schedule(name: str, configs: Path) -> Schedule | None:
    """What a model's config, or nightly.yaml, says. What Prefect will not accept is said before it is asked. Raises BadInput."""
    found = read.nightly(configs).schedule if name == read.NIGHTLY else read.find(name, configs).schedule
    if found is not None and found.cron != NEVER:
        try:
            CronSchedule(cron=found.cron, timezone=found.timezone)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise BadInput(f"{configs / name}.yaml: schedule: {said}: {found.cron!r}") from error
    return found


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


class Offered(NamedTuple):
    """Releases to choose from: models that have one that is current, and versions that passed, as "MODEL VERSION"."""

    models: list[str]
    versions: list[str]
    told: str


def _offered(releases: Path) -> Offered:
    """Those of a releases directory, the newest of each model first."""
    entries = index.newest(releases, _MOST_VERSIONS)
    current = {model: publish.current(releases, model) for model in entries}
    lines = [
        f"{model}: {', '.join(_version(entry, current[model]) for entry in of_one)}"
        for model, of_one in entries.items()
    ]
    passed = [
        f"{model} {entry.version}"
        for model, of_one in entries.items()
        for entry in of_one
        if entry.status == "passed" and entry.version != current[model]
    ]
    return Offered(
        [model for model, version in current.items() if version], passed, "; ".join(lines) or "there is none yet"
    )


def _version(entry: index.Entry, current: int | None) -> str:
    mark = "current" if entry.version == current else "" if entry.status == "passed" else entry.status
    return f"{entry.version} ({mark})" if mark else str(entry.version)


def _deployments(
    models: Sequence[str], offered: Offered, own: Sequence[Scheduled], together: Sequence[Scheduled]
) -> list[Deployment]:
    doing = {
        "targets": forms.ONLY,
        "force": forms.FORCE,
        "promote": forms.PROMOTE,
        "trust_code": forms.TRUST_CODE,
        "accept_contract_change": forms.ACCEPT,
    }
    known = sorted({*models, *offered.models})
    version = {**forms.VERSION, "description": f"{forms.VERSION['description']} There are {offered.told}."}
    a_release = {"model": forms.choice("The model.", known), "version": version}
    release = forms.choice(
        "A version that passed and is not current; or give model and version below.", offered.versions
    )
    return [
        Deployment(
            "deploy-model",
            "flows.deploy.deploy_model",
            "Build, convert, check and release one model.",
            forms.form(
                {"model": forms.choice("The model, by its config's name.", models), **doing, "data": forms.DATA},
                ["model"],
            ),
            own,
        ),
        Deployment(
            "deploy-all",
            "flows.deploy.deploy_all",
            "Deploy every model in configs/. One that fails does not stop the others.",
            forms.form({"models": forms.choices("The models; none chosen means every config.", models), **doing}, []),
            together,
        ),
        Deployment(
            "check-release",
            "flows.operations.check_release",
            "Check a release again: its files' digests, and every check in every runtime. Changes nothing.",
            forms.form({**a_release, "trust_code": forms.TRUST_CODE}, ["model"]),
        ),
        Deployment(
            "promote",
            "flows.operations.promote_release",
            "Make a passed version the current one.",
            forms.form({**({"release": release} if offered.versions else {}), **a_release}, []),
        ),
        Deployment(
            "rollback",
            "flows.operations.rollback_release",
            f"Go back to the version that was promoted before the current one. There are {offered.told}.",
            forms.form({"model": a_release["model"]}, ["model"]),
        ),
    ]


def create_pool(client: SyncPrefectClient) -> None:
    """Create the work pool, or bring it up to date."""
    template = ProcessWorker.get_default_base_job_template()
    defaults = {
        "command": f"{shlex.quote(sys.executable)} -m flows.engine",
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


def register(client: SyncPrefectClient, deployments: Iterable[Deployment]) -> None:
    """Create or bring up to date deployments; what was paused in the UI stays paused."""
    for deployment in deployments:
        flow_id = client.create_flow_from_name(deployment.name)
        paused = _paused(client, f"{deployment.name}/{deployment.name}")
        deployment_id = client.create_deployment(
            flow_id,
            deployment.name,
            version=version_of("tf-fanout"),
            tags=["tf-fanout"],
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
        # Only now its id is known.
        client.update_deployment(deployment_id, DeploymentUpdate(description=_described(deployment, deployment_id)))


def _described(deployment: Deployment, deployment_id: UUID) -> str:
    """What it does, and how to call it over HTTP: in Markdown, as the UI shows it."""
    required = {name: f"<{name}>" for name in deployment.form["required"]}
    call = (
        f"curl -X POST {os.environ.get(URL, '')}/deployments/{deployment_id}/create_flow_run \\\n"
        f"     -H 'Content-Type: application/json' -d '{json.dumps({'parameters': required})}'"
    )
    return f"{deployment.description}\n\nOver HTTP:\n\n```\n{call}\n```\n"


def worker_command(at_once: int) -> list[str]:
    """What starts this machine's worker, which does so many runs at one time."""
    return [
        sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--name", WORKER, "--type", "process",
        "--limit", str(at_once), "--install-policy", "never", "--no-create-pool-if-not-found",
    ]  # fmt: skip


def _paused(client: SyncPrefectClient, name: str) -> set[str]:
    """The slugs of a deployment's schedules that somebody has switched off in the UI."""
    try:
        existing = client.read_deployment_by_name(name)
    except ObjectNotFound:
        return set()
    return {schedule.slug for schedule in existing.schedules if schedule.slug and not schedule.active}


_MOST_VERSIONS = 8
"""Of one model, to choose from."""


def there(root: Path) -> dict[str, tuple[int | None, list[str]]]:
    """The current version of each model, and all of them, without reading any."""
    found = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    return {
        path.name: (
            publish.current(root, path.name),
            sorted(each.name for each in path.iterdir() if each.name.isdigit()),
        )
        for path in found
        if names.model_fault(path.name) is None
    }
