"""Latency: how many calls are made."""

import time

import pytest

from converters.processes.timing import CALLS, times_ms


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, CALLS), (0.6, 1), (0.2, 2)])
def test_times_ms_are_of_fewer_calls_when_they_are_slow(
    seconds: float, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(time, "perf_counter", lambda: sum(made))
    assert times_ms(lambda: made.append(seconds)) == pytest.approx([seconds * 1000] * calls)
    assert len(made) == calls
