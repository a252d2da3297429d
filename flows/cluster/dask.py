"""Conversions and checks on the workers of a Dask cluster."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.logging import get_run_logger

from converters.contract.errors import BadInput, Damaged, StoreFailed, WorkerFailed, raised
from converters.release.manifest import Row
from converters.steps import check, convert, key, remote
from converters.steps.convert import Conversion
from converters.steps.remote import Done, Parcel
from converters.steps.store import Store
from flows.cluster import scheduler
from flows.cluster.scheduler import CONNECT_SECONDS, Scheduler
from flows.executor import Begun, Job
from flows.settings import ClusterSettings

if TYPE_CHECKING:
    from distributed import Future

    from flows.cluster.worker import Answer

TRIES = 2
"""How often a unit is begun, if its worker is lost. What kills its machine must not take the whole cluster with it."""
CALLS = {"convert": 1, "check": 20}
"""Child processes, each with the time limit of the config, after which a unit that was begun is given up."""
TRANSFER_SECONDS = 600.0
"""What fetching and storing its files may take beside that."""
_PROBE = b"tf-fanout\n"


class Cluster:
    """Workers of a Dask scheduler, which exchange files with this machine through a store.

    A unit whose worker is lost is begun once more; one that is lost again, or cannot be done, fails its rows.
    """

    def __init__(self, scheduler: Scheduler, store: Store) -> None:
        self._scheduler, self._store = scheduler, store

    @property
    def side_by_side(self) -> int:
        return max(1, sum(self._scheduler.workers().values()))

    def convert(self, job: Job, need_mb: float, begun: Begun) -> Conversion:
        try:
            done = self._received(job, remote.to_convert(job.unit, job.reads, need_mb, self._store), begun)
        except (StoreFailed, Damaged, WorkerFailed) as error:
            return convert.failed(job.unit, str(error))
        assert done.conversion is not None
        return done.conversion

    def check(self, job: Job, conversion: Conversion, need_mb: float, begun: Begun) -> list[Row]:
        if not any(artifact.path for artifact in conversion.artifacts):  # nothing was made, so nothing runs
            begun()
            return check.check(job.unit, conversion)
        try:
            return self._received(job, remote.to_check(job.unit, conversion, need_mb, self._store), begun).rows
        except (StoreFailed, Damaged, WorkerFailed) as error:
            return check.failed(job.unit, conversion, str(error))

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
        self._scheduler.require_workers()
        run, tools = self._scheduler.client.run, key.tools()
        answers: dict[str, Any] = self._scheduler.ask(
            lambda: run(worker.describe, self._store.url, probe, on_error="return")
        )
        of = f"of {self._scheduler.address}"
        for address, answer in answers.items():
            if isinstance(answer, BaseException):
                raise BadInput(f"worker {address} {of} cannot run tf-fanout: {raised(answer)}")
            described = worker.Described.model_validate_json(answer)
            if described.problem is not None:
                raise BadInput(f"worker {described.worker} {of} {described.problem}")
            if different := remote.difference(described.tools, tools):
                raise BadInput(
                    f"worker {described.worker} {of} is not equal to this machine: {different}; install the same on both"
                )

    def _received(self, job: Job, parcel: Parcel, begun: Begun) -> Done:
        """What was done elsewhere, its files fetched. Raises StoreFailed, Damaged, WorkerFailed, ClusterFailed."""
        lost: list[str] = []
        while len(lost) < TRIES:
            answer = self._answer(job, parcel, begun)
            if answer.failed is not None:
                raise WorkerFailed(answer.failed)
            if answer.done is not None:
                return remote.receive(answer.done, job.unit.release.parent, self._store)
            lost.append(answer.lost or answer.worker)
            get_run_logger().warning("worker %s was lost while it did this", lost[-1])
        raise WorkerFailed(
            f"worker {lost[0]} was lost while it did this, and then {lost[1]}, where it was done once more"
        )

    def _answer(self, job: Job, parcel: Parcel, begun: Begun) -> "Answer":
        """Give the unit to the cluster once, and wait for what becomes of it. Raises WorkerFailed, ClusterFailed."""
        from flows.cluster.worker import Answer, perform

        number, unit = uuid.uuid4().hex, job.unit
        name = "-".join((unit.spec.name, *unit.name, parcel.step, number))
        seconds = CALLS[parcel.step] * unit.limits.seconds + TRANSFER_SECONDS
        with self._scheduler.submitted(
            perform, parcel.model_dump_json(), number, key=name, priority=-job.turn
        ) as future:
            self._scheduler.wait(future, number, seconds, begun)
            if future.status == "error":
                return self._of_error(future)
            return Answer.model_validate_json(self._scheduler.ask(lambda: future.result(timeout=CONNECT_SECONDS)))

    def _of_error(self, future: "Future") -> "Answer":
        """What an exception of Dask's says of a unit."""
        from distributed import KilledWorker

        from flows.cluster.worker import Answer

        error = future.exception(timeout=CONNECT_SECONDS)
        if isinstance(error, KilledWorker):  # the cluster is set up to run nothing again
            last: Any = error.last_worker
            return Answer(worker=str(last.name), lost=str(last.name))
        raise WorkerFailed(f"a worker of {self._scheduler.address} could not do it: {raised(error)}")


@contextmanager
def connected(settings: ClusterSettings) -> Iterator[Cluster]:
    """The cluster, for the block. Raises BadInput, StoreFailed, ClusterFailed where it cannot be used, and why."""
    store = Store(settings.store)
    with scheduler.connected(settings) as found:
        cluster = Cluster(found, store)
        cluster.require_equal()
        yield cluster
