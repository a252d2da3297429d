"""Latency of one call, the same way for every runtime of this process (js/core.mjs does the same in JavaScript)."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from converters.contract.values import Prediction, Tensors

CALLS = 5
SECONDS = 0.25
"""No call begins later than this after the first: a slow model is not called again only to learn that it is slow."""


SLOW = 5.0
"""A call that takes longer is not made again at all: what it does the first time only is little of that."""


def times_ms(call: Callable[[], Any]) -> tuple[float, ...]:
    """Wall times of up to CALLS calls in milliseconds. The caller has made the same call before, to warm up."""
    times: list[float] = []
    begin = time.perf_counter()
    while not times or (len(times) < CALLS and time.perf_counter() - begin < SECONDS):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1000)
    return tuple(times)


def predicted(runtime: str, call: Callable[[Tensors], Tensors], cases: Sequence[Tensors]) -> Prediction:
    """What `call` returns for every case, and its latency on the last."""
    outputs = []
    for inputs in cases:
        started = time.perf_counter()
        outputs.append(call(inputs))
        took = time.perf_counter() - started
    times = (took * 1000,) if took > SLOW else times_ms(lambda: call(cases[-1]))
    return Prediction(runtime=runtime, outputs=outputs, times_ms=times)
