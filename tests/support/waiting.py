"""Waiting for what happens, however slow the machine is."""

import time
from collections.abc import Callable

import psutil

PATIENCE_SECONDS = 300.0
"""No test waits longer for anything, and none may fail for having been slower than it expected."""


def wait_until(
    condition: Callable[[], object], told: Callable[[], object] = lambda: "", seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait until it holds; `told` says more where it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {told()}"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent to ask does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
