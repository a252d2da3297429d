"""Waiting for what happens, however slow the machine is."""

import time
from collections.abc import Callable

import httpx
import psutil

PATIENCE_SECONDS = 300.0
"""No test waits longer for anything, and none may fail for having been slower than it expected."""


def wait_until(
    condition: Callable[[], object], told: Callable[[], object] = lambda: "", seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait until it holds; `told` says more where it never does."""
    end, pause = time.monotonic() + seconds, 0.02
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {told()}"
        time.sleep(pause)
        pause = min(0.3, pause * 1.2)  # what is asked works on the same cores


def http_client() -> httpx.Client:
    """One to ask this machine with, again and again: httpx.get reads all certificates each time, which takes 40 ms.

    Each question has a connection of its own, since the server may be about to close one that is kept.
    """
    return httpx.Client(verify=False, timeout=PATIENCE_SECONDS, limits=httpx.Limits(max_keepalive_connections=0))


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent to ask does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
