"""What processes hold, where most of it is what they held a moment ago."""

import time

import psutil
import pytest

from converters.processes import memory
from converters.processes.child import Child

MB = 1 << 20
_held: list[bytes] = []


def hold(megabytes: int) -> int:
    _held.append(b"x" * (megabytes * MB))
    return psutil.Process().pid


def test_unique_follows_a_process_that_grows() -> None:
    with Child() as child:
        process = psutil.Process(child.call(hold, 1).value)
        before = memory.unique([process])
        assert memory.unique([process]) == before
        child.call(hold, 200)
        assert memory.unique([process]) - before > 190 * MB
    assert memory.unique([process]) == 0


def test_measured_gives_the_most_that_this_process_and_its_children_held() -> None:
    with memory.measured() as peak, Child() as child:
        child.call(hold, 300)
        time.sleep(2 * memory.SAMPLE_SECONDS)
    assert peak.mb > 300


@pytest.mark.parametrize("measure", [memory.proportional, memory.proportional_now])
def test_proportional_is_between_unique_and_resident(measure: object) -> None:
    me = [psutil.Process()]
    assert callable(measure)
    # What this process holds changes a little from one measurement to the next.
    assert 0.9 * memory.unique(me) <= measure(me) <= 1.1 * memory.resident(me)
