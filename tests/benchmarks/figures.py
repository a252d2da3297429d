"""What follows from what was measured: a bound, ratios, and every figure by its name."""

import os
import statistics

from tests.benchmarks.measure import Run

QUANTIZED = ("float16", "dynamic", "int8")
GOALS = {
    "checked / plain script": 0.85,
    "checked / command lines": 0.34,
    "unchecked / bound": 1.3,
    "checked / bound": 1.8,
    "unchanged / checked": 0.20,
    "fleet of 20, per model / one alone": 0.30,
}
"""Ratio -> what it may be at most."""
PEAK_GOAL_GB = 2.2


def bound(plain: Run, cores: int) -> float:
    """What no arrangement of the same work on these cores can go below, in seconds."""
    stages = plain.stages
    first = stages["import"] + stages["build"] + stages["export"]
    conversions = [seconds for stage, seconds in stages.items() if stage not in ("import", "build", "export")]
    return first + max(max(conversions), sum(conversions) / cores)


def ratios(rounds: list[dict[str, Run]], fleets: dict[int, Run]) -> dict[str, float]:
    """Medians over the rounds of what GOALS names."""
    cores = os.cpu_count() or 1
    found: dict[str, list[float]] = {}
    for each in rounds:
        checked, plain = each["checked"], each["plain"]
        least = bound(plain, cores)
        values = {
            "checked / plain script": checked.seconds / plain.seconds,
            "checked / bound": checked.seconds / least,
            "unchanged / checked": each["unchanged"].seconds / checked.seconds,
            "quantized here / by TFLiteConverter": sum(checked.stages[f"convert tflite {name}"] for name in QUANTIZED)
            / sum(plain.stages[f"tflite {name}"] for name in QUANTIZED),
        }
        if "commands" in each:
            values["checked / command lines"] = checked.seconds / each["commands"].seconds
            values["unchecked / bound"] = each["unchecked"].seconds / least
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    if 1 in fleets and 20 in fleets:
        found["fleet of 20, per model / one alone"] = [fleets[20].seconds / 20 / fleets[1].seconds]
    return {name: statistics.median(values) for name, values in found.items()}


def all_figures(rounds: list[dict[str, Run]], fleets: dict[int, Run], others: dict[str, float]) -> dict[str, float]:
    """All that is kept, by name; less is better."""
    ways = dict.fromkeys(way for each in rounds for way in each)
    found = {f"{way}, s": statistics.median(each[way].seconds for each in rounds if way in each) for way in ways}
    found |= {f"fleet of {size}, s": run.seconds for size, run in fleets.items()}
    return found | others | ratios(rounds, fleets)
