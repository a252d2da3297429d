"""Latency of one call, the same way for every runtime of this process (js/core.mjs does the same in JavaScript)."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from converters.contract.values import Prediction, Tensors

CALLS = 5
SECONDS = 0.25
"""No call begins later than this after the first: a slow model is not called again only to learn that it is slow."""


def median_ms(call: Callable[[], Any]) -> float:
    """Median wall time of up to CALLS calls in milliseconds. The caller has made the same call before, to warm up."""
    times: list[float] = []
    begin = time.perf_counter()
    while not times or (len(times) < CALLS and time.perf_counter() - begin < SECONDS):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def predicted(runtime: str, call: Callable[[Tensors], Tensors], cases: Sequence[Tensors]) -> Prediction:
    """What `call` returns for every case, and its latency on the last."""
    outputs = [call(inputs) for inputs in cases]
    return Prediction(runtime=runtime, outputs=outputs, latency_ms=median_ms(lambda: call(cases[-1])))
