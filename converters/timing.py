"""Latency of one call, the same way for every runtime of this process."""

import statistics
import time
from collections.abc import Callable
from typing import Any

CALLS = 5


def median_ms(call: Callable[[], Any]) -> float:
    """Median wall time of CALLS calls in milliseconds, after one call to warm up."""
    call()
    times = []
    for _ in range(CALLS):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)
