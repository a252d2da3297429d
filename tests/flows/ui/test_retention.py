"""Prefect's database keeps what is young, and the last run of each deployment; with a real server."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from command import Server
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Completed, Running, Scheduled

from flows.ui import retention

DAYS = 400.0
"""Older than anything that other tests have this server do."""


Ended = Callable[..., FlowRun]


@pytest.fixture(name="ended")
def _ended(client: SyncPrefectClient, server: Server) -> Ended:
    """Call with a deployment or None, days, and perhaps the task that it is of: a run that ended so many days ago."""
    return partial(ended_run, client, server.home)


@pytest.fixture(name="client")
def _client(server: Server) -> Iterator[SyncPrefectClient]:
    changes = {PREFECT_API_URL: server.api, PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(changes), get_client(sync_client=True) as client:
        yield client


@flow
def kept() -> None:
    pass


@task
def step() -> None:
    pass


def deployed(client: SyncPrefectClient, name: str) -> UUID:
    return client.create_deployment(client.create_flow(kept), name)


def ended_run(
    client: SyncPrefectClient, home: Path, deployment: UUID | None, days: float, parent: UUID | None = None
) -> FlowRun:
    if deployment is not None:
        run = client.create_flow_run_from_deployment(deployment)
    else:
        run = client.create_flow_run(kept, parent_task_run_id=parent)
    client.set_flow_run_state(run.id, Running(), force=True)
    client.set_flow_run_state(run.id, Completed(), force=True)
    # The server's own clock says when a run ended.
    then = datetime.now(timezone.utc) - timedelta(days=days)
    with closing(sqlite3.connect(home / "prefect.db", timeout=60)) as database, database:
        changed = database.execute("update flow_run set end_time = ? where id = ?", (f"{then:%F %T.%f}", str(run.id)))
        assert changed.rowcount == 1
    return run


def left(client: SyncPrefectClient, *runs: FlowRun) -> list[UUID]:
    """Those of them that are still there, in order."""
    wanted = [run.id for run in runs]
    found = {
        run.id for run in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": wanted}}))
    }
    return [each for each in wanted if each in found]


def test_forget_keeps_what_is_young_and_the_last_of_each_deployment(client: SyncPrefectClient, ended: Ended) -> None:
    often, seldom = deployed(client, "often"), deployed(client, "seldom")
    old = [ended(often, DAYS + day) for day in (3, 2, 1)]
    young = ended(often, DAYS - 1)
    forgotten, last = ended(seldom, DAYS + 9), ended(seldom, DAYS + 8)
    alone = ended(None, DAYS + 1)
    waiting = client.create_flow_run_from_deployment(
        seldom, state=Scheduled(scheduled_time=datetime.now(timezone.utc) - timedelta(days=DAYS + 5))
    )
    assert retention.forget(client, DAYS) == 5
    assert left(client, *old, young, forgotten, last, alone, waiting) == [young.id, last.id, waiting.id]
    assert retention.forget(client, DAYS) == 0


def test_forget_removes_a_run_of_another_after_that(client: SyncPrefectClient, ended: Ended) -> None:
    together = deployed(client, "together")
    above, newest = ended(together, DAYS + 2), ended(together, DAYS + 1)
    below = [ended(None, DAYS + 2, client.create_task_run(step, run.id, dynamic_key="0").id) for run in (above, newest)]
    assert retention.forget(client, DAYS) == 2
    assert left(client, above, newest, *below) == [newest.id, below[1].id]


def test_forget_removes_a_bounded_number_at_one_time(
    client: SyncPrefectClient, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    runs = [ended(None, DAYS + day) for day in range(1, 6)]
    assert [retention.forget(client, DAYS) for _ in range(4)] == [2, 2, 1, 0]
    assert left(client, *runs) == []
