"""What processes hold."""

import psutil
import pytest
from waiting import wait_until

from converters.processes import memory
from converters.processes.child import Child

MB = 1 << 20
_held: list[bytes] = []


def hold(megabytes: int) -> int:
    _held.append(b"x" * (megabytes * MB))
    return psutil.Process().pid


@pytest.mark.tensorflow
def test_unique_follows_a_process_that_grows() -> None:
    with Child() as child:
        process = psutil.Process(child.call(hold, 1).value)
        before = memory.unique([process])
        child.call(hold, 200)
        assert memory.unique([process]) - before > 190 * MB
    assert memory.unique([process]) == 0


@pytest.mark.tensorflow
def test_measured_gives_the_most_that_this_process_and_its_children_held() -> None:
    with memory.measured() as peak, Child() as child:
        child.call(hold, 300)
        wait_until(lambda: peak.mb > 300)


def test_proportional_is_between_unique_and_resident() -> None:
    me = [psutil.Process()]
    # What this process holds changes a little from one measurement to the next.
    assert 0.9 * memory.unique(me) <= memory.proportional(me) <= 1.1 * memory.resident(me)
