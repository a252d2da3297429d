"""A worker of a Dask cluster, `fanout worker ADDRESS`, and what runs on it. Never imports Prefect, which it needs not.

Dask's own `dask worker` puts each worker into a daemonic process beside a nanny, which may have no child processes, and
conversions run in such; so it has to be started with --no-nanny, or as this.
"""

import asyncio
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from distributed import Worker, get_client, get_worker

from converters.contract.errors import ClusterFailed, FanoutError, said
from converters.contract.values import Frozen
from converters.processes import child, ending, resident
from converters.processes.meanwhile import meanwhile
from converters.processes.slots import Slots
from converters.steps import key, remote
from converters.steps.remote import Done, Parcel
from converters.steps.store import Store
from flows.settings import require_scheduler_address

TOPIC = "tf-fanout"
"""Events of the scheduler (Dask, "Structured logs") that say which unit was begun by which worker."""
START_SECONDS = 60
"""How long a worker waits for a scheduler when it starts."""

LOOK_SECONDS = 1.0

_slots: dict[str, Slots] = {}


class Answer(Frozen):
    """What became of a unit: `done`, or `failed` with a sentence, or not begun since it was `lost` with a worker before."""

    worker: str
    done: Done | None = None
    failed: str | None = None
    lost: str | None = None


class Described(Frozen):
    """A worker: its name, `key.tools`, and what keeps it from doing units, if anything does."""

    worker: str
    tools: dict[str, str]
    problem: str | None = None


def describe(store: str, probe: str, dask_worker: Worker) -> str:
    """On a worker, which Dask gives itself: a Described, as JSON. `probe` is the digest of a file that is in the store."""
    problem = None
    if multiprocessing.current_process().daemon:
        problem = "may start no processes; start it with `fanout worker` or `dask worker --no-nanny`"
    else:
        try:
            with tempfile.TemporaryDirectory(prefix="fanout-") as folder:
                Store(store).get(probe, Path(folder) / "probe")
        except FanoutError as error:
            problem = f"does not reach the store: {error}"
    return Described(worker=str(dask_worker.name), tools=_tools(), problem=problem).model_dump_json()


def perform(parcel_json: str, number: str) -> str:
    """On a worker, in one of its threads: do a `remote.Parcel`, given as JSON; an Answer, as JSON.

    The scheduler by itself runs again what a lost worker ran, on one worker after another. How often it is done is for
    the deploying side to decide, so a unit of a `number` that was begun before is not begun again.
    """
    client, me = get_client(), str(get_worker().name)
    begun = [message for _, message in client.get_events(TOPIC) if message["number"] == number]
    if begun:
        return Answer(worker=me, lost=begun[-1]["worker"]).model_dump_json()
    parcel = Parcel.model_validate_json(parcel_json)
    if different := remote.difference(_tools(), parcel.tools):
        return Answer(worker=me, failed=f"worker {me} is not equal to this machine: {different}").model_dump_json()
    here = Path(get_worker().local_directory)
    answer = Answer(worker=me)
    with ending.Group() as group, _ended_when_unwanted(group):
        try:
            with _places().held(parcel.need_mb), tempfile.TemporaryDirectory(prefix="unit-", dir=here) as root:
                client.log_event(TOPIC, {"number": number, "worker": me})
                answer = Answer(worker=me, done=remote.do(parcel, Path(root), here / "fanout-files"))
        except FanoutError as error:
            answer = Answer(worker=me, failed=f"on worker {me}: {error}")
        if ending.begun():  # what it found is only that its children were ended
            answer = Answer(worker=me, lost=me)
    return answer.model_dump_json()


@contextmanager
def _ended_when_unwanted(group: ending.Group) -> Iterator[None]:
    """End the children once nobody waits for this task any more: who deploys was interrupted, cancelled or killed.

    Dask cannot stop a thread; it marks the task (distributed, "Worker State Machine", state `cancelled`).
    """
    worker, key = get_worker(), get_worker().get_current_task()

    def watch(over: threading.Event) -> None:
        while not over.wait(LOOK_SECONDS):
            task = worker.state.tasks.get(key)
            if task is None or task.state in ("cancelled", "resumed"):
                group.end()
                return

    with meanwhile(watch):
        yield


def run(address: str, side_by_side: int | None, name: str | None) -> None:
    """Be a worker of the scheduler at `address`, until a signal ends it.

    Raises:
        BadInput: that is no address.
        ClusterFailed: no scheduler answers there, or it ended the worker or went away.
    """
    require_scheduler_address(address)
    child.warm_up()
    _at_start()
    with resident.keeping():
        asyncio.run(_run(address, side_by_side or os.cpu_count() or 1, name))


async def _run(address: str, side_by_side: int, name: str | None) -> None:
    name = name or f"{socket.gethostname()}-{os.getpid()}"
    worker = Worker(address, nthreads=side_by_side, name=name, memory_limit=0, death_timeout=START_SECONDS)
    try:
        await worker
    except Exception as error:  # Dask raises of every kind here, most of them OSError
        raise ClusterFailed(f"no Dask scheduler answers at {address}: {said(error)}") from error
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    stopped = asyncio.create_task(told.wait())
    await asyncio.wait([stopped, asyncio.create_task(worker.finished())], return_when=asyncio.FIRST_COMPLETED)
    # Its conversions are another worker's now.
    await asyncio.to_thread(ending.end_all)
    await worker.close(reason="it was ended")
    if not told.is_set():
        raise ClusterFailed(f"the Dask scheduler at {address} is gone")


def _places() -> Slots:
    """As many as the worker has threads, and as fit into its machine's memory."""
    worker = get_worker()
    return _slots.setdefault(worker.address, Slots(worker.state.nthreads))


def _tools() -> dict[str, str]:
    """What the worker's process runs and, since its children load it anew, what is on disk."""
    started, now = _at_start(), key.tools()
    return now if now == started else {**now, "the worker's": "code or packages were changed since it was started"}


@cache
def _at_start() -> dict[str, str]:
    return key.tools()
