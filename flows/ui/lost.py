"""Runs whose worker is gone: Prefect would show them as running for ever."""

from datetime import datetime, timezone

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Crashed

from flows.ui.deployments import WORKER

_ALIVE = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
_PAGE = 200


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
