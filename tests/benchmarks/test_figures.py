"""Ratios and what has become worse, by made-up figures."""

import pytest

from tests.benchmarks import history
from tests.benchmarks.figures import QUANTIZED, all_figures, ratios
from tests.benchmarks.measure import Run


def _round(checked: float, plain: float, **others: float) -> dict[str, Run]:
    here = {f"convert tflite {name}": 0.5 for name in QUANTIZED}
    there = {"import": 5.0, "build": 1.0, "export": 1.0} | {f"tflite {name}": 2.0 for name in QUANTIZED}
    seconds = {"checked": checked, "plain": plain, "unchanged": 2.0, **others}
    stages = {"checked": here, "plain": there}
    return {name: Run(name, value, 1.0, stages.get(name, {})) for name, value in seconds.items()}


def test_ratios_are_medians_within_rounds_of_those_that_have_both() -> None:
    rounds = [_round(20, 25, commands=80, unchecked=15), _round(30, 25), _round(40, 25)]
    found = ratios(rounds, {1: Run("1", 10, 1), 20: Run("20", 60, 1)})
    assert found["checked / plain script"] == pytest.approx(30 / 25)
    assert found["checked / command lines"] == pytest.approx(20 / 80)
    assert found["quantized here / by TFLiteConverter"] == pytest.approx(0.25)
    assert found["fleet of 20, per model / one alone"] == pytest.approx(0.3)


def test_what_became_slower_is_pointed_out() -> None:
    before = all_figures([_round(20, 25)], {1: Run("1", 10, 1)}, {"digits alone, s": 15.0, "set-up, s": 40.0})
    now = all_figures([_round(20, 25)], {1: Run("1", 10, 1)}, {"digits alone, s": 17.0, "set-up, s": 40.0})
    assert [each.name for each in history.worse(before, now)] == ["digits alone, s"]
