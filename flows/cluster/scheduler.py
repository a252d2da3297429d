"""A Dask scheduler and its workers, any of which may go away at any time."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from converters.contract.errors import BadInput, ClusterFailed, FanoutError, WorkerFailed, raised
from converters.processes import ending
from flows.executor import Begun
from flows.settings import DASK, ClusterSettings

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 20.0
CLOSE_SECONDS = 5.0
POLL_SECONDS = 0.1
LOOK_SECONDS = 1.0


class Scheduler:
    """One at `address`, which tells who has begun a task of `worker.perform`, by the task's number."""

    def __init__(self, client: "Client", settings: ClusterSettings) -> None:
        from flows.cluster.worker import TOPIC

        self.client = client
        self.address = settings.dask
        self._patience = settings.patience
        self._begun: dict[str, str] = {}
        self._lock = threading.Lock()
        self._looked = 0.0
        self._workers: dict[str, int] = {}

        def heard(event: tuple[float, dict[str, str]]) -> None:
            self._begun[event[1]["number"]] = event[1]["worker"]

        client.subscribe_topic(TOPIC, heard)

    def ask(self, question: Callable[[], Any]) -> Any:
        """The client's answer. Raises ClusterFailed; BadInput and others of ours as they are."""
        try:
            return question()
        except FanoutError:
            raise
        except Exception as error:  # Dask raises of every kind when its scheduler is gone
            raise self._gone() from error

    def workers(self) -> dict[str, int]:
        """The workers and how many units each does at one time, as they were a moment ago. Raises ClusterFailed."""
        with self._lock:
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self._workers = self.ask(self.client.nthreads)
                self._looked = time.monotonic()
            return self._workers

    def require_workers(self) -> None:
        """Wait for one. Raises ClusterFailed."""
        deadline = time.monotonic() + self._patience
        while not self.workers():
            ending.require_running()
            if time.monotonic() > deadline:
                raise self._no_worker()
            time.sleep(POLL_SECONDS)

    @contextmanager
    def submitted(self, function: Callable[..., str], parcel: str, number: str, **options: Any) -> Iterator["Future"]:
        """A task, which is cancelled at the end of the block if it still runs."""
        future = self.ask(lambda: self.client.submit(function, parcel, number, pure=False, retries=0, **options))
        try:
            yield future
        finally:
            self._begun.pop(number, None)
            if self.client.status == "running":
                future.cancel()

    def wait(self, future: "Future", number: str, seconds: float, begun: Begun) -> None:
        """Until the task is finished or has failed. Raises WorkerFailed, ClusterFailed; ChildDied when this run ends."""
        deadline, worker = None, None
        patience = time.monotonic() + self._patience
        while future.status not in ("finished", "error"):
            ending.require_running()
            if self.client.status != "running" or future.status == "cancelled":
                raise self._gone()
            now = time.monotonic()
            if worker is None and (worker := self._begun.get(number)):
                deadline = now + seconds
                begun()
            if deadline is not None and now > deadline:
                raise WorkerFailed(f"worker {worker} did not finish it in {seconds:g} s")
            if self.workers():
                patience = now + self._patience
            elif now > patience:
                raise self._no_worker()
            time.sleep(POLL_SECONDS)

    def _gone(self) -> ClusterFailed:
        return ClusterFailed(
            f"the Dask scheduler at {self.address} is gone; start it and its workers, and deploy again"
        )

    def _no_worker(self) -> ClusterFailed:
        return ClusterFailed(
            f"the Dask scheduler at {self.address} has had no worker for {self._patience:g} s; start some with "
            f"`fanout worker {self.address}`, and deploy again"
        )


@contextmanager
def connected(settings: ClusterSettings) -> Iterator[Scheduler]:
    """The scheduler, for the block. Raises BadInput where none answers."""
    from distributed import Client

    address = settings.dask
    try:
        where = urlsplit(address)  # Dask would ask again and again whoever refuses at once
        socket.create_connection((where.hostname or "", where.port or 0), CONNECT_SECONDS).close()
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="tf-fanout")
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(
            f"no Dask scheduler answers at {address}: {raised(error)}; start one with `dask scheduler`, or unset {DASK}"
        ) from error
    try:
        yield Scheduler(client, settings)
    finally:
        with suppress(TimeoutError):  # it would say goodbye to a scheduler that is gone
            client.close(timeout=CLOSE_SECONDS)
