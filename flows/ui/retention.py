"""Prefect's database does not grow for ever: what ended long ago is removed.

Prefect's own server removes old events, and logs and artifacts whose run is gone, where `settings` says so. Its removal of
runs keeps none of a deployment that has not run for long, so runs are removed here, over the API; with a run go its tasks,
states and logs. SQLite gives no space back to the disk, but uses it again before its file grows.
"""

from datetime import datetime, timedelta, timezone
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

AT_ONCE = 100
"""Runs removed in one go, some milliseconds each: what calls this has other things to look after."""


def forget(client: SyncPrefectClient, days: float) -> int:
    """Remove runs that ended more than so many days ago, but for the last that ended of each deployment.

    A run that another one started goes after that, not before. Returns how many were removed; where that is `AT_ONCE`,
    there may be more.
    """
    before = datetime.now(timezone.utc) - timedelta(days=days)
    old = {"end_time": {"before_": before}, "parent_task_run_id": {"is_null_": True}}
    last: dict[UUID, UUID] = {}
    removed = 0
    while removed < AT_ONCE:
        found = _ended(client, AT_ONCE - removed, id={"not_any_": list(last.values())}, **old)
        if not found:
            break
        for deployment in {run.deployment_id for run in found if run.deployment_id is not None} - set(last):
            for run in _ended(client, 1, deployment_id={"any_": [deployment]}):
                last[deployment] = run.id
        removed += sum(_remove(client, run) for run in found if run.id not in last.values())
    return removed


def _ended(client: SyncPrefectClient, limit: int, **conditions: object) -> list[FlowRun]:
    """Runs that have ended, the last first."""
    ended = {"state": {"type": {"any_": list(TERMINAL_STATES)}}, **conditions}
    asked = FlowRunFilter.model_validate(ended)
    return client.read_flow_runs(flow_run_filter=asked, sort=FlowRunSort.END_TIME_DESC, limit=limit)


def _remove(client: SyncPrefectClient, run: FlowRun) -> int:
    try:
        client.delete_flow_run(run.id)
    except ObjectNotFound:  # somebody else has removed it
        return 0
    return 1
