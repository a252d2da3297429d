"""`make bench`: how fast, against doing the same by hand, and what grows with the number of models.

All ways of making the same files run one after another, several times over, on a Prefect server that is running: this
pipeline with every check, without any, and unchanged; a plain script; the official command lines. Figures are medians
of ratios within a round, since a machine that others use too is slower at one time than at another. The bound is that
of two things which nothing here can shorten, from the plain script's own times in the same round: one import of
TensorFlow, the build and the export, one after another; and then the longest conversion, or all of them shared by the
cores.

With `--against DIR` only this pipeline is timed, here and in another checkout by turns, with the same installed packages;
what npm installs must be there in both.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from converters.processes import memory

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUT = ROOT / "build" / "bench"
MODEL = "mobilenet_v2"
GOALS = {
    "checked / plain script": 0.90,
    "checked / command lines": 0.34,
    "unchecked / bound": 1.3,
    "checked / bound": 1.8,
    "unchanged / checked": 0.20,
    "fleet of 20, per model / one alone": 0.50,
}
"""Ratio -> what it may be at most."""
PEAK_GOAL_GB = 3.5
SMALL = """
import tf_keras

def build():
    tf_keras.utils.set_random_seed({seed})
    layers = tf_keras.layers
    return tf_keras.Sequential([
        layers.Input((6,), name="features"), layers.Dense(8, "relu", name="hidden"), layers.Dense(3, "tanh", name="y"),
    ])
"""


@dataclass
class Run:
    """One command: wall time, peak memory of all its processes (proportional set size, GB), and what it told."""

    what: str
    seconds: float
    peak_gb: float
    stages: dict[str, float] = field(default_factory=dict)


def main() -> None:
    """Measure, show, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="paired runs of each way (default: 5)")
    parser.add_argument("--fleet", default="1,5,20", help="numbers of small models in one deploy-all; '' for none")
    parser.add_argument("--fleet-rounds", type=int, default=1)
    parser.add_argument("--only-fleet", action="store_true")
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help="compare with another checkout, and do nothing else"
    )
    parser.add_argument("--model", default=MODEL, help=f"what is deployed to compare (default: {MODEL})")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="fanout-bench-") as scratch, server(Path(scratch) / "prefect") as api:
        work = Path(scratch)
        if arguments.against is not None:
            compare(work, api, arguments.against.resolve(), arguments.model, arguments.rounds)
            return
        rounds = [
            one_round(work / f"round-{number}", api, number, console)
            for number in range(0 if arguments.only_fleet else arguments.rounds)
        ]
        store(rounds, [])  # so that a fleet that fails does not take them with it
        sizes = [int(size) for size in arguments.fleet.split(",") if size]
        fleets = [
            {size: fleet(work / f"fleet-{number}-{size}", api, size, console) for size in sizes}
            for number in range(arguments.fleet_rounds)
        ]
    store(rounds, fleets)
    show(rounds, fleets, ratios(rounds, fleets))
    draw(rounds, fleets, OUT / "bench.png")
    Console().print(f"{OUT / 'bench.json'}\n{OUT / 'bench.png'}", style="dim")


def store(rounds: list[dict[str, Run]], fleets: list[dict[int, Run]]) -> None:
    """Write every figure as JSON."""
    document = {
        "cores": os.cpu_count(),
        "rounds": [{name: asdict(run) for name, run in each.items()} for each in rounds],
        "fleets": [{str(size): asdict(run) for size, run in each.items()} for each in fleets],
        "ratios": ratios(rounds, fleets),
    }
    (OUT / "bench.json").write_text(json.dumps(document, indent=1) + "\n")


def one_round(folder: Path, api: str, number: int, console: Console) -> dict[str, Run]:
    """Every way once; which goes first changes from round to round."""
    releases = folder / "releases"
    fanout = [sys.executable, "-m", "flows", "deploy", MODEL, "--json", "--releases"]
    ways: dict[str, list[Any]] = {
        "checked": [*fanout, releases],
        "unchecked": [sys.executable, HERE / "unchecked.py", *fanout[3:], folder / "unchecked"],
        "plain": [sys.executable, HERE / "plain.py", folder / "plain"],
        "commands": [sys.executable, HERE / "commands.py", folder / "commands"],
    }
    order = list(ways)
    order = order[number % len(order) :] + order[: number % len(order)]
    found = {}
    for way in order:
        (folder / way).mkdir(parents=True, exist_ok=True)
        found[way] = timed(way, ways[way], api, statuses=(1,) if way == "unchecked" else (0,))
        console.print(f"round {number + 1}: {way}: {found[way].seconds:.1f} s, {found[way].peak_gb:.2f} GB")
        if way == "checked":
            found["unchanged"] = timed("unchanged", ways["checked"], api, statuses=(0,))
            console.print(f"round {number + 1}: unchanged: {found['unchanged'].seconds:.1f} s")
    shutil.rmtree(folder)
    return found


def compare(work: Path, api: str, other: Path, model: str, rounds: int) -> None:
    """Deploy the model here and in another checkout by turns, and print how long here takes of there, by round."""
    console, quotients = Console(), list[float]()
    for number in range(rounds):
        seconds = {}
        for root in (ROOT, other) if number % 2 == 0 else (other, ROOT):
            releases = work / f"compare-{number}-{'here' if root == ROOT else 'there'}"
            command = [sys.executable, "-m", "flows", "deploy", model, "--json", "--releases", releases]
            seconds[root] = timed(f"deploy in {root}", command, api, statuses=(0,), root=root).seconds
            shutil.rmtree(releases)
        quotients.append(seconds[ROOT] / seconds[other])
        console.print(
            f"round {number + 1}: {seconds[ROOT]:.1f} s here, {seconds[other]:.1f} s there: {quotients[-1]:.3f}"
        )
    console.print(f"median of {rounds}: here takes {statistics.median(quotients):.3f} of what {other} takes")


def fleet(folder: Path, api: str, size: int, console: Console) -> Run:
    """`deploy --all` of so many small models."""
    configs = folder / "configs"
    configs.mkdir(parents=True)
    for index in range(size):
        (configs / f"small{index:02}.py").write_text(SMALL.format(seed=index + 1))
        (configs / f"small{index:02}.yaml").write_text(f"model: small{index:02}.py:build\n")
    command = [sys.executable, "-m", "flows", "deploy", "--all", "--json", "--releases", folder / "releases"]
    run = timed(f"fleet of {size}", command, api, statuses=(0,), FANOUT_CONFIGS=str(configs))
    console.print(f"fleet of {size}: {run.seconds:.1f} s, {run.seconds / size:.2f} s a model")
    shutil.rmtree(folder)
    return run


def timed(
    what: str, command: list[Any], api: str, statuses: tuple[int, ...], root: Path = ROOT, **environment: str
) -> Run:
    """Run it in a checkout, and watch its memory and that of all it starts."""
    variables = {
        **os.environ,
        "PREFECT_API_URL": api,
        "PYTHONPATH": str(root),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **environment,
    }
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], env=variables, stdout=out, stderr=err, cwd=root)
        watched = _Watched(process.pid)
        status = process.wait()
        seconds = time.perf_counter() - started
        peak = watched.end()
        out.seek(0)
        err.seek(0)
        if status not in statuses:
            raise SystemExit(f"{what} ended with status {status}:\n{err.read()[-3000:]}")
        text = out.read().strip()
    return Run(what, seconds, peak, _stages(text))


def _stages(text: str) -> dict[str, float]:
    """Seconds by stage: of a script from its last line, of a deploy from its manifests."""
    if not text.startswith('{"manifests"') and '"manifests"' not in text[:40]:
        return {str(name): float(value) for name, value in json.loads(text.splitlines()[-1]).items()}
    stages: dict[str, float] = {}
    for manifest in json.loads(text)["manifests"]:
        stages |= {name: stages.get(name, 0.0) + value for name, value in manifest["source"].get("seconds", {}).items()}
        for row in manifest["targets"]:
            for step, value in row["seconds"].items():
                name = f"{step} {row['target']} {row['variant']}".removesuffix(" default")
                stages[name] = stages.get(name, 0.0) + value
    return stages


class _Watched:
    """The most that a process and all below it hold at one time, by proportional set size, sampled as the product does."""

    def __init__(self, pid: int) -> None:
        self._over = threading.Event()
        self._most = 0
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self._thread.start()

    def end(self) -> float:
        """GB."""
        self._over.set()
        self._thread.join()
        return self._most / 1e9

    def _watch(self, pid: int) -> None:
        while not self._over.wait(memory.SAMPLE_SECONDS):
            try:
                root = psutil.Process(pid)
                self._most = max(self._most, memory.proportional([root, *root.children(recursive=True)]))
            except psutil.NoSuchProcess:
                return


def bound(plain: Run, cores: int) -> float:
    """What no arrangement of the same work on these cores can go below, in seconds."""
    stages = plain.stages
    first = stages["import"] + stages["build"] + stages["export"]
    conversions = [seconds for stage, seconds in stages.items() if stage not in ("import", "build", "export")]
    return first + max(max(conversions), sum(conversions) / cores)


def ratios(rounds: list[dict[str, Run]], fleets: list[dict[int, Run]]) -> dict[str, float]:
    """Medians over the rounds of what GOALS names."""
    cores = os.cpu_count() or 1
    found: dict[str, list[float]] = {}
    for each in rounds:
        checked = each["checked"].seconds
        least = bound(each["plain"], cores)
        for name, value in (
            ("checked / plain script", checked / each["plain"].seconds),
            ("checked / command lines", checked / each["commands"].seconds),
            ("unchecked / bound", each["unchecked"].seconds / least),
            ("checked / bound", checked / least),
            ("unchanged / checked", each["unchanged"].seconds / checked),
        ):
            found.setdefault(name, []).append(value)
    for each in fleets:
        if 1 in each and 20 in each:
            found.setdefault("fleet of 20, per model / one alone", []).append(each[20].seconds / 20 / each[1].seconds)
    return {name: statistics.median(values) for name, values in found.items()}


def show(rounds: list[dict[str, Run]], fleets: list[dict[int, Run]], found: dict[str, float]) -> None:
    """The tables."""
    console = Console()
    if rounds:
        table = Table("way", "seconds", "min", "max", "peak GB", title=f"{MODEL}, {len(rounds)} rounds")
        for way in ("checked", "unchecked", "unchanged", "plain", "commands"):
            seconds = [each[way].seconds for each in rounds]
            peak = max(each[way].peak_gb for each in rounds)
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
    for each in fleets:
        table = Table("small models", "seconds", "a model", "peak GB", title="fleet, in one deploy-all")
        for size, run in each.items():
            table.add_row(str(size), f"{run.seconds:.1f}", f"{run.seconds / size:.2f}", f"{run.peak_gb:.2f}")
        console.print(table)
    table = Table("ratio", "median", "at most", title="goals")
    for name, value in found.items():
        met = value <= GOALS[name]
        table.add_row(name, f"{value:.3f}", f"{GOALS[name]:.2f}", style="" if met else "red")
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


def draw(rounds: list[dict[str, Run]], fleets: list[dict[int, Run]], path: Path) -> None:
    """Seconds of every way, and of fleets against their size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    if rounds:
        ways = ("commands", "plain", "checked", "unchecked", "unchanged")
        left.boxplot([[each[way].seconds for each in rounds] for way in ways], tick_labels=ways, widths=0.5)
        left.axhline(
            statistics.median(bound(each["plain"], os.cpu_count() or 1) for each in rounds),
            linestyle="--",
            color="gray",
        )
        left.set(title=f"{MODEL}: seconds, dashed: the bound", ylim=(0, None))
    for each in fleets:
        right.plot(list(each), [run.seconds for run in each.values()], marker="o", color="C0")
        if 1 in each:
            right.plot(list(each), [size * each[1].seconds for size in each], linestyle=":", color="gray")
    right.set(title="small models in one deploy-all: seconds, dotted: one by one", xlabel="models", ylim=(0, None))
    figure.savefig(path, dpi=130)


@contextmanager
def server(home: Path) -> Iterator[str]:
    """A Prefect server of its own on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home.mkdir(parents=True)
    os.environ |= {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    api = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 120
            while not _healthy(api):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the Prefect server did not start:\n{(home / 'server.log').read_text()[-2000:]}")
                time.sleep(0.3)
            yield api
        finally:
            process.terminate()
            process.wait(30)


def _healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    main()
