"""What keeps runs apart: one deploy of a model at a time, and one run for all the nights that were missed."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


@contextmanager
def one_at_a_time(releases: Path, model: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the model's lock among all processes that use these releases; calls `waiting` before it waits for another's.

    The kernel frees the lock of a process that ends in whatever way.
    """
    releases.mkdir(parents=True, exist_ok=True)
    lock = os.open(releases / f".{model}.lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def caught_up_by(run: "FlowRun | None") -> str | None:
    """The name of a later run of the same schedule that is due as well, which makes this one needless.

    After days without a worker several nights are due at once; only the last of them has to be made up for.
    """
    if run is None or not run.auto_scheduled or run.expected_start_time is None:
        return None
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    open_states = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]
    query = FlowRunFilter.model_validate(
        {
            "deployment_id": {"any_": [run.deployment_id]},
            "state": {"type": {"any_": open_states}},
            "expected_start_time": {
                "after_": run.expected_start_time, "before_": datetime.now(timezone.utc)
            },
        }
    )  # fmt: skip
    with get_client(sync_client=True) as client:
        due = client.read_flow_runs(flow_run_filter=query, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=50)
    later = [
        other for other in due if other.auto_scheduled and other.parameters == run.parameters and _after(other, run)
    ]
    return later[0].name if later else None


def _after(other: "FlowRun", run: "FlowRun") -> bool:
    assert other.expected_start_time is not None
    assert run.expected_start_time is not None
    return other.expected_start_time > run.expected_start_time
