"""Tables and a picture of what was measured."""

import os
import statistics
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.figures import GOALS, PEAK_GOAL_GB, bound
from tests.benchmarks.measure import Run


def show(
    model: str, rounds: list[dict[str, Run]], fleets: dict[int, Run], others: dict[str, float], found: dict[str, float]
) -> None:
    """The tables."""
    console = Console()
    if rounds:
        table = Table("way", "seconds", "min", "max", "peak GB", title=f"{model}, {len(rounds)} rounds")
        for way in ("checked", "unchecked", "unchanged", "plain", "commands"):
            seconds = [each[way].seconds for each in rounds if way in each]
            peak = max(each[way].peak_gb for each in rounds if way in each)
            table.add_row(way, *(f"{f(seconds):.1f}" for f in (statistics.median, min, max)), f"{peak:.2f}")
        least = [bound(each["plain"], os.cpu_count() or 1) for each in rounds]
        table.add_row("bound", *(f"{f(least):.1f}" for f in (statistics.median, min, max)), "")
        console.print(table)
        stages = Table(
            "stage", "here, s", "plain script, s", title="inside, medians; here conversions and checks overlap"
        )
        alike = [{_as_here(name): seconds for name, seconds in each["plain"].stages.items()} for each in rounds]
        here = [each["checked"].stages for each in rounds]
        for name in dict.fromkeys(name for each in (*here, *alike) for name in each):
            stages.add_row(
                name, _median([each.get(name) for each in here]), _median([each.get(name) for each in alike])
            )
        console.print(stages)
    if fleets:
        table = Table("small models", "seconds", "a model", "peak GB", title="fleet, in one deploy-all")
        for size, run in fleets.items():
            table.add_row(str(size), f"{run.seconds:.1f}", f"{run.seconds / size:.2f}", f"{run.peak_gb:.2f}")
        console.print(table)
    for name, seconds in others.items():
        console.print(f"{name}: {seconds:.1f}")
    table = Table("ratio", "median", "at most", title="goals")
    for name, value in found.items():
        goal = GOALS.get(name)
        met = goal is None or value <= goal
        table.add_row(name, f"{value:.3f}", "" if goal is None else f"{goal:.2f}", style="" if met else "red")
    if rounds:
        peak = max(each["checked"].peak_gb for each in rounds)
        table.add_row(
            "peak of all processes, GB",
            f"{peak:.2f}",
            f"{PEAK_GOAL_GB:.2f}",
            style="" if peak <= PEAK_GOAL_GB else "red",
        )
    console.print(table)


def _as_here(stage: str) -> str:
    """A stage of the plain script by the name that it has here."""
    return stage if stage in ("import", "build", "export") else f"convert {stage}"


def _median(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.2f}" if known else ""


def draw(rounds: list[dict[str, Run]], fleets: dict[int, Run], path: Path) -> None:
    """Seconds of every way, and of fleets against their size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    if rounds:
        ways = ("commands", "plain", "checked", "unchecked", "unchanged")
        left.boxplot(
            [[each[way].seconds for each in rounds if way in each] for way in ways], tick_labels=ways, widths=0.5
        )
        left.axhline(
            statistics.median(bound(each["plain"], os.cpu_count() or 1) for each in rounds),
            linestyle="--",
            color="gray",
        )
        left.set(title="seconds of the rounds, dashed: the bound", ylim=(0, None))
    right.plot(list(fleets), [run.seconds for run in fleets.values()], marker="o", color="C0")
    if 1 in fleets:
        right.plot(list(fleets), [size * fleets[1].seconds for size in fleets], linestyle=":", color="gray")
    right.set(title="small models in one deploy-all: seconds, dotted: one by one", xlabel="models", ylim=(0, None))
    figure.savefig(path, dpi=130)
