"""Memory that processes hold, in bytes, and how much of it there is.

Processes forked from one server share most of their pages, so that sums of resident sizes say little: *unique* size
counts the pages that a process has alone, *proportional* size its share of every page (proc(5), smaps_rollup). Where
the system does not tell them (other than Linux) the resident size stands in, which is never less.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

SAMPLE_SECONDS = 1.0
_CGROUP = Path("/sys/fs/cgroup")


def resident(processes: Iterable[psutil.Process]) -> int:
    """Sum of resident sizes; pages shared are counted once for each process. The cheapest to read."""
    return _sum(processes, lambda process: process.memory_info().rss)


def unique(processes: Iterable[psutil.Process]) -> int:
    """Sum of unique sizes: what ending these processes would free. The kernel walks all pages to tell, 10-20 ms for TensorFlow."""
    return _sum(processes, lambda process: _full(process, "uss"))


def proportional(processes: Iterable[psutil.Process]) -> int:
    """Sum of proportional sizes: what these hold together, if nobody else shares their pages. As slow to tell."""
    return _sum(processes, lambda process: _full(process, "pss"))


def available() -> int:
    """Memory that can be had now without swapping, a control group's limit included (cgroups(7), version 2)."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return free
    return min(free, max(0, int(limit) - int(used))) if limit.isdigit() else free


class Peak:
    """The most that this process and all it started held together while it was measured."""

    def __init__(self) -> None:
        self.bytes = 0

    @property
    def mb(self) -> float:
        """In MB."""
        return round(self.bytes / 1e6, 1)


_peaks: list[Peak] = []
_lock = threading.Lock()
_sampler: threading.Thread | None = None


@contextmanager
def measured() -> Iterator[Peak]:
    """Measure until the end of the block. One thread samples for all who measure at the same time."""
    global _sampler
    peak = Peak()
    with _lock:
        _peaks.append(peak)
        if _sampler is None:
            _sampler = threading.Thread(target=_sample, name="memory", daemon=True)
            _sampler.start()
    try:
        yield peak
    finally:
        with _lock:
            _peaks.remove(peak)


def _sample() -> None:
    global _sampler
    pause = threading.Event()
    me = psutil.Process()
    while True:
        held = proportional([me, *me.children(recursive=True)])
        with _lock:
            for peak in _peaks:
                peak.bytes = max(peak.bytes, held)
            if not _peaks:
                _sampler = None
                return
        pause.wait(SAMPLE_SECONDS)


def _full(process: psutil.Process, size: str) -> int:
    full = process.memory_full_info()
    return int(getattr(full, size, full.rss))


def _sum(processes: Iterable[psutil.Process], measure: Callable[[psutil.Process], int]) -> int:
    total = 0
    for process in processes:
        try:
            total += measure(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has ended
            continue
    return total
