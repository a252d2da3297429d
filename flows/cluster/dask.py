"""Conversions and checks on the workers of a Dask cluster."""

import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prefect.logging import get_run_logger

from converters.contract.errors import BadInput, ClusterFailed, Damaged, FanoutError, StoreFailed, WorkerFailed
from converters.processes import ending
from converters.release.manifest import Row
from converters.steps import check as checking
from converters.steps import convert as converting
from converters.steps import key, remote
from converters.steps.convert import Conversion
from converters.steps.remote import Done, Parcel
from converters.steps.store import Store
from flows.executor import Begun, Job
from flows.settings import DASK, ClusterSettings

if TYPE_CHECKING:
    from distributed import Client, Future

    from flows.cluster.worker import Answer

TRIES = 2
"""How often a unit is begun, if its worker is lost. What kills its machine must not take the whole cluster with it."""
CONNECT_SECONDS = 20.0
CLOSE_SECONDS = 5.0
CALLS = {"convert": 1, "check": 20}
"""Child processes, each with the time limit of the config, after which a unit that was begun is given up."""
TRANSFER_SECONDS = 600.0
"""What fetching and storing its files may take beside that."""
POLL_SECONDS = 0.1
LOOK_SECONDS = 1.0
_PROBE = b"tf-fanout\n"


class Cluster:
    """Workers of a Dask scheduler, which exchange files with this machine through a store.

    A unit whose worker is lost is begun once more; one that is lost again, or cannot be done, fails its rows.
    """

    def __init__(self, client: "Client", store: Store, wanted: ClusterSettings) -> None:
        self._client = client
        self._store = store
        self._address = wanted.dask
        self._patience = wanted.patience
        self._begun: dict[str, str] = {}
        self._lock = threading.Lock()
        self._looked = 0.0
        self._workers: dict[str, int] = {}

    @property
    def side_by_side(self) -> int:
        return max(1, sum(self._look().values()))

    def convert(self, job: Job, need_mb: float, begun: Begun) -> Conversion:
        try:
            parcel = remote.to_convert(job.unit, job.reads, need_mb, self._store)
            done = self._received(job, parcel, begun)
        except (StoreFailed, Damaged, WorkerFailed) as error:
            return converting.failed(job.unit, str(error))
        assert done.conversion is not None
        return done.conversion

    def check(self, job: Job, conversion: Conversion, need_mb: float, begun: Begun) -> list[Row]:
        if not any(artifact.path for artifact in conversion.artifacts):  # nothing was made, so nothing runs
            begun()
            return checking.check(job.unit, conversion)
        try:
            parcel = remote.to_check(job.unit, conversion, need_mb, self._store)
            return self._received(job, parcel, begun).rows
        except (StoreFailed, Damaged, WorkerFailed) as error:
            return checking.failed(job.unit, conversion, str(error))

    def require_equal(self) -> None:
        """Make sure that every worker reaches the store and makes what this machine would make.

        Raises:
            BadInput: one does not, or does not have tf-fanout.
            StoreFailed: this machine does not reach the store.
            ClusterFailed: there is no worker.
        """
        from flows.cluster import worker

        with tempfile.TemporaryDirectory(prefix="fanout-") as folder:
            (Path(folder) / "probe").write_bytes(_PROBE)
            probe = self._store.put(Path(folder) / "probe")
        self._require_workers(time.monotonic() + self._patience)
        tools = key.tools()
        answers: dict[str, Any] = self._ask(
            lambda: self._client.run(worker.describe, self._store.url, probe, on_error="return")
        )
        for address, answer in answers.items():
            if isinstance(answer, BaseException):
                raise BadInput(f"worker {address} of {self._address} cannot run tf-fanout: {_said(answer)}")
            described = worker.Described.model_validate_json(answer)
            name = f"worker {described.worker} of {self._address}"
            if described.problem is not None:
                raise BadInput(f"{name} {described.problem}")
            if different := remote.difference(described.tools, tools):
                raise BadInput(f"{name} is not equal to this machine: {different}; install the same on both")

    def listen(self) -> None:
        """Have the scheduler tell which units are begun."""
        from flows.cluster.worker import TOPIC

        def heard(event: tuple[float, dict[str, str]]) -> None:
            self._begun[event[1]["number"]] = event[1]["worker"]

        self._client.subscribe_topic(TOPIC, heard)

    def _received(self, job: Job, parcel: Parcel, begun: Begun) -> Done:
        """What was done elsewhere, its files fetched. Raises StoreFailed, Damaged, WorkerFailed, ClusterFailed."""
        return remote.receive(self._done(job, parcel, begun), job.unit.release.parent, self._store)

    def _done(self, job: Job, parcel: Parcel, begun: Begun) -> Done:
        """Raises WorkerFailed, ClusterFailed."""
        lost: list[str] = []
        while len(lost) < TRIES:
            answer = self._answer(job, parcel, begun)
            if answer.failed is not None:
                raise WorkerFailed(answer.failed)
            if answer.done is not None:
                return answer.done
            lost.append(answer.lost or answer.worker)
            get_run_logger().warning("worker %s was lost while it did this", lost[-1])
        raise WorkerFailed(
            f"worker {lost[0]} was lost while it did this, and then {lost[1]}, where it was done once more"
        )

    def _answer(self, job: Job, parcel: Parcel, begun: Begun) -> "Answer":
        """Give the unit to the cluster once, and wait for what becomes of it. Raises as `_done`."""
        from flows.cluster.worker import Answer, perform

        number = uuid.uuid4().hex
        unit = job.unit
        name = f"{unit.spec.name}-{unit.target}-{unit.variant}-{parcel.step}-{number}"
        future = self._ask(
            lambda: self._client.submit(
                perform, parcel.model_dump_json(), number, key=name, pure=False, retries=0, priority=-job.turn
            )
        )
        try:
            self._wait(future, number, CALLS[parcel.step] * unit.limits.seconds + TRANSFER_SECONDS, begun)
            if future.status == "error":
                return self._of_error(future)
            return Answer.model_validate_json(self._ask(lambda: future.result(timeout=CONNECT_SECONDS)))
        finally:
            self._begun.pop(number, None)
            if self._client.status == "running":
                future.cancel()

    def _wait(self, future: "Future", number: str, seconds: float, begun: Begun) -> None:
        """Until the future is finished or has failed. Raises WorkerFailed, ClusterFailed; ChildDied when this run ends."""
        deadline, worker = None, None
        patience = time.monotonic() + self._patience
        while future.status not in ("finished", "error"):
            ending.require_running()
            if self._client.status != "running" or future.status == "cancelled":
                raise self._gone()
            now = time.monotonic()
            if worker is None and (worker := self._begun.get(number)):
                deadline = now + seconds
                begun()
            if deadline is not None and now > deadline:
                raise WorkerFailed(f"worker {worker} did not finish it in {seconds:g} s")
            if self._look():
                patience = now + self._patience
            elif now > patience:
                raise self._no_worker()
            time.sleep(POLL_SECONDS)

    def _of_error(self, future: "Future") -> "Answer":
        """What an exception of Dask's says of a unit."""
        from distributed import KilledWorker

        from flows.cluster.worker import Answer

        error = future.exception(timeout=CONNECT_SECONDS)
        if isinstance(error, KilledWorker):  # the cluster is set up to run nothing again
            last: Any = error.last_worker
            return Answer(worker=str(last.name), lost=str(last.name))
        raise WorkerFailed(f"a worker of {self._address} could not do it: {_said(error)}")

    def _look(self) -> dict[str, int]:
        """The workers and how many units each does at one time, as they were a moment ago. Raises ClusterFailed."""
        with self._lock:
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self._workers = self._ask(self._client.nthreads)
                self._looked = time.monotonic()
            return self._workers

    def _require_workers(self, deadline: float) -> None:
        while not self._look():
            ending.require_running()
            if time.monotonic() > deadline:
                raise self._no_worker()
            time.sleep(POLL_SECONDS)

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except FanoutError:
            raise
        except Exception as error:  # Dask raises of every kind when its scheduler is gone
            raise self._gone() from error

    def _gone(self) -> ClusterFailed:
        return ClusterFailed(
            f"the Dask scheduler at {self._address} is gone; start it and its workers, and deploy again"
        )

    def _no_worker(self) -> ClusterFailed:
        return ClusterFailed(
            f"the Dask scheduler at {self._address} has had no worker for {self._patience:g} s; start some with "
            f"`fanout worker {self._address}`, and deploy again"
        )


@contextmanager
def connected(address: str) -> Iterator["Client"]:
    from distributed import Client

    try:
        where = urlsplit(address)  # Dask would ask again and again whoever refuses at once
        socket.create_connection((where.hostname or "", where.port or 0), CONNECT_SECONDS).close()
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="tf-fanout")
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(
            f"no Dask scheduler answers at {address}: {_said(error)}; start one with `dask scheduler`, or unset {DASK}"
        ) from error
    try:
        yield client
    finally:
        with suppress(TimeoutError):  # it would say goodbye to a scheduler that is gone
            client.close(timeout=CLOSE_SECONDS)


def _said(error: Any) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
