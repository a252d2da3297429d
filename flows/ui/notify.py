"""Tell whoever the configs name that a run failed or crashed: hooks of the flow `deploy-model`."""

import json
import os
import re
import subprocess
from typing import Any

import httpx
from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging import get_logger

from converters.config import read
from converters.contract import secrets
from converters.contract.errors import BadInput
from converters.contract.settings import OnFailure
from converters.release.assemble import Released
from flows.settings import Settings, in_force
from flows.show import artifacts

_VARIABLE = re.compile(r"\$\{?(\w+)")
SECONDS = 30.0
"""How long a webhook or command may take."""


def run_failed(flow: "Flow[..., Any]", flow_run: FlowRun, state: State[Any]) -> None:
    """Prefect's hook `on_failure`: what the run released, if it came to that, is in the state."""
    released = state.result(raise_on_failure=False)
    _tell(flow_run, state, released if isinstance(released, Released) else None)


def run_crashed(flow: "Flow[..., Any]", flow_run: FlowRun, state: State[Any]) -> None:
    """Prefect's hook `on_crashed`."""
    _tell(flow_run, state, None)


def _tell(flow_run: FlowRun, state: State[Any], released: Released | None) -> None:
    # A person at a terminal sees the failure and has its exit status; Prefect's worker sets this for the runs it starts.
    if "PREFECT__FLOW_RUN_ID" not in os.environ and flow_run.deployment_id is None:
        return
    model = str(flow_run.parameters.get("model", ""))
    settings = in_force()
    asked = configured(model, settings)
    if asked is None:
        return
    document = describe(model, flow_run, state, released, settings)
    log = get_logger("flow_runs").getChild("on_failure")
    for what, address in (("webhook", asked.webhook), ("command", asked.command)):
        if address is None:
            continue
        try:
            _post(address, document) if what == "webhook" else _execute(address, document)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, subprocess.SubprocessError, BadInput) as error:
            # The run has failed already; that nobody could be told must not hide why.
            why = secrets.hidden(_reason(error), {**secrets.of_environment(), **_variables(address)})
            log.error("on_failure.%s of %s did not work: %s", what, model, why, extra={"flow_run_id": flow_run.id})
        else:
            log.info("on_failure.%s of %s was told", what, model, extra={"flow_run_id": flow_run.id})


def configured(model: str, settings: Settings) -> OnFailure | None:
    """What the model's config says, or else nightly.yaml; a config that is itself what is wrong says nothing."""
    try:
        own = read.find(model, settings.configs).on_failure
    except BadInput:
        own = None
    return own or read.nightly(settings.configs).on_failure


def describe(
    model: str, flow_run: FlowRun, state: State[Any], released: Released | None, settings: Settings
) -> dict[str, Any]:
    """The document: model, version (null where none was made), state, message, failing rows, addresses."""
    rows = released.manifest.targets if released else []
    return {
        "model": released.manifest.model if released else model,
        "version": released.manifest.version if released else None,
        "state": state.name,
        "message": state.message,
        "rows": [
            {"row": row.title, "target": row.target, "variant": row.variant, "signature": row.signature,
             "status": row.status, "reason": row.reason}
            for row in rows if row.status in ("failed", "not_run")
        ],
        "flow_run": {"id": str(flow_run.id), "name": flow_run.name},
        "report": artifacts.report_address(released.manifest, settings) if released else None,
        "release": str(released.path) if released else None,
    }  # fmt: skip


def _post(address: str, document: dict[str, Any]) -> None:
    httpx.post(_expanded(address), json=document, timeout=SECONDS).raise_for_status()


def _execute(command: str, document: dict[str, Any]) -> None:
    """Run a shell command with the document on stdin; the shell itself expands variables."""
    done = subprocess.run(
        command, shell=True, input=json.dumps(document), text=True, capture_output=True, timeout=SECONDS, check=False
    )
    if done.returncode != 0:
        raise subprocess.SubprocessError(f"it ended with status {done.returncode}: {done.stderr.strip()[-500:]}")


def _reason(error: Exception) -> str:
    """What went wrong, without address or command, which may hold a secret as they are and as they were expanded."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"it was answered with status {error.response.status_code}"
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return "that is no URL of http or https"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it did not end within {error.timeout:g} s"
    return str(error)


def _variables(text: str) -> dict[str, str]:
    """Those that an address or a command names, and their values."""
    return {f"${name}": os.environ.get(name, "") for name in _VARIABLE.findall(text)}


def _expanded(text: str) -> str:
    expanded = os.path.expandvars(text)
    missing = _VARIABLE.search(expanded)
    if missing:
        raise BadInput(f"the environment variable {missing[1]} is not set")
    return expanded
