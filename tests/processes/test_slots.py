"""Places for children: by cores, by memory, in turn."""

import sys
import threading
import time
from collections.abc import Sequence

import pytest
from waiting import wait_until

from converters.processes.slots import Slots


def waits(thread: threading.Thread) -> bool:
    """Whether the thread waits for something, by the function that it is in."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code is threading.Condition.wait.__code__


def overlaps(slots: Slots, needs: Sequence[tuple[float, int]]) -> tuple[int, float, list[int]]:
    """The most that ran at one time, the most MB held, and the order; the first holds its place until all wait."""
    lock, held, most, most_mb, order = threading.Lock(), list[float](), 0, 0.0, list[int]()
    ready = threading.Event()

    def work(number: int, need: float, turn: int) -> None:
        nonlocal most, most_mb
        with slots.held(need, turn):
            with lock:
                held.append(need)
                most, most_mb = max(most, len(held)), max(most_mb, sum(held))
                order.append(number)
            ready.wait()
            time.sleep(0.02)  # others begin meanwhile, if they may
            with lock:
                held.remove(need)

    threads = []
    for number, (need, turn) in enumerate(needs):
        threads.append(threading.Thread(target=work, args=(number, need, turn)))
        threads[-1].start()
        wait_until(lambda: waits(threads[-1]))
    ready.set()
    for thread in threads:
        thread.join()
    return most, most_mb, order


@pytest.mark.parametrize("count", [1, 2])
def test_held_runs_no_more_than_count_when_memory_suffices(count: int) -> None:
    assert overlaps(Slots(count, 1000), [(1, 0)] * 5)[0] == count


def test_held_keeps_two_large_apart_when_memory_is_for_one() -> None:
    most, most_mb, _ = overlaps(Slots(2, 1000), [(700, 0), (700, 0), (200, 0)])
    assert most_mb <= 1000
    assert most == 2


def test_held_runs_alone_what_needs_more_than_there_is() -> None:
    assert overlaps(Slots(2, 100), [(10, 0), (5000, 0), (10, 0)])[1] == 5000


def test_held_serves_the_earlier_turn_first_when_several_wait() -> None:
    assert overlaps(Slots(1, 100), [(1, 0), (1, 2), (1, 1), (1, 1)])[2] == [0, 2, 3, 1]
