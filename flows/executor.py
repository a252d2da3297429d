"""Where conversions and checks run: on this machine, or on a Dask cluster that exists.

Prefect's tasks stay in the flow's process: each has a thread that gives its unit of work to the cluster and waits. With
prefect-dask's DaskTaskRunner the tasks themselves would run on the workers: every worker would need Prefect's API, and what
a task is given would have to mean the same on every machine. Nor is its end truthful: with both workers of a cluster
killed, task and flow still said Running a minute later, and a task that killed four was left Pending under a Completed
flow (measured with prefect-dask 0.3.7, Prefect 3.8.8).
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from converters.processes.slots import Slots
from converters.release.manifest import Row
from converters.source.watch import Reads
from converters.steps import check, convert
from converters.steps.convert import Conversion
from converters.steps.unit import Unit

Begun = Callable[[], None]
"""Called when the work begins, after it had to wait for a place."""


class Job(NamedTuple):
    """A unit of work, what its model's build read, and the model's place in a deploy-all."""

    unit: Unit
    reads: Reads | None
    turn: int


class Executor(Protocol):
    """Where work is done. `need_mb` is the memory that it takes. Raises ClusterFailed where nobody can do it any more."""

    @property
    def side_by_side(self) -> int:
        """How many units to give it at one time."""

    def convert(self, job: Job, need_mb: float, begun: Begun) -> Conversion: ...

    def check(self, job: Job, conversion: Conversion, need_mb: float, begun: Begun) -> list[Row]: ...


class Here:
    """This machine."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    @property
    def side_by_side(self) -> int:
        return self._slots.count

    def convert(self, job: Job, need_mb: float, begun: Begun) -> Conversion:
        with self._slots.held(need_mb, job.turn):
            begun()
            return convert.convert(job.unit)

    def check(self, job: Job, conversion: Conversion, need_mb: float, begun: Begun) -> list[Row]:
        with self._slots.held(need_mb, job.turn):
            begun()
            return check.check(job.unit, conversion)
