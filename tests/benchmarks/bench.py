"""`make bench`: how fast, against doing the same by hand, and what grows with the number of models.

All ways of making the same files run one after another, several times over, on a Prefect server that is running: this
pipeline with every check, without any, and unchanged; a plain script; the official command lines. Figures are medians
of ratios within a round, since a machine that others use too is slower at one time than at another. The bound is that
of two things which nothing here can shorten, from the plain script's own times in the same round: one import of
TensorFlow, the build and the export, one after another; and then the longest conversion, or all of them shared by the
cores. Command lines and the pipeline without checks, which take longest, have one round.

Then what needs no such comparison: a small model without a server, 1 and 20 small models in one deploy, and the set-up of
a fresh clone. Figures are kept by machine (`history`), and what has become worse since its last run is pointed out.

With `--against DIR` only this pipeline is timed, here and in another checkout by turns, with the same installed packages;
what npm installs must be there in both. With `--alone` no server runs meanwhile.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks import history
from tests.benchmarks.figures import all_figures, ratios
from tests.benchmarks.measure import ROOT, Run, server, timed
from tests.benchmarks.shown import draw, show

HERE = Path(__file__).resolve().parent
OUT = ROOT / "build" / "bench"
MODEL, SMALL_MODEL = "mobilenet_v2", "digits"
ONCE = ("unchecked", "commands")
"""What only the first round has."""
SMALL = """
import tf_keras

def build():
    tf_keras.utils.set_random_seed({seed})
    layers = tf_keras.layers
    return tf_keras.Sequential([
        layers.Input((6,), name="features"), layers.Dense(8, "relu", name="hidden"), layers.Dense(3, "tanh", name="y"),
    ])
"""


def main() -> None:
    """Measure, show, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="paired runs of each way (default: 5)")
    parser.add_argument("--fleet", default="1,20", help="numbers of small models in one deploy-all; '' for none")
    parser.add_argument("--alone-rounds", type=int, default=3, help="deploys of a small model without a server")
    parser.add_argument("--no-setup", action="store_true", help="leave out the set-up of a fresh clone")
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help="compare with another checkout, and do nothing else"
    )
    parser.add_argument("--alone", action="store_true", help="compare with it without a server")
    parser.add_argument("--model", default=MODEL, help=f"what is deployed to compare (default: {MODEL})")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    before = history.last(history.path(), history.machine())
    with tempfile.TemporaryDirectory(prefix="fanout-bench-") as scratch, server(Path(scratch) / "prefect") as api:
        work = Path(scratch)
        alone = _alone(work)
        if arguments.against is not None:
            used = alone if arguments.alone else {"PREFECT_API_URL": api}
            compare(work, used, arguments.against.resolve(), arguments.model, arguments.rounds)
            return
        rounds = [one_round(work / f"round-{number}", api, number, console) for number in range(arguments.rounds)]
        others = {}
        if arguments.alone_rounds:
            others[f"{SMALL_MODEL} alone, s"] = deployed_alone(work, alone, arguments.alone_rounds, console)
        store(rounds, {}, {})  # so that a fleet that fails does not take them with it
        sizes = [int(size) for size in arguments.fleet.split(",") if size]
        fleets = {size: fleet(work / f"fleet-{size}", api, size, console) for size in sizes}
        if not arguments.no_setup and (seconds := set_up(work / "clone", console)) is not None:
            others["set-up, s"] = seconds
    store(rounds, fleets, others)
    show(MODEL, rounds, fleets, others, ratios(rounds, fleets))
    draw(rounds, fleets, OUT / "bench.png")
    Console().print(f"{OUT / 'bench.json'}\n{OUT / 'bench.png'}\n{history.path()}", style="dim")
    figures = all_figures(rounds, fleets, others)
    for each in history.worse(before, figures):
        Console().print(each.sentence(), style="red")
    history.add(history.path(), history.machine(), figures, _commit())


def _commit() -> str:
    """What is measured."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return described.stdout.strip()


def _alone(work: Path) -> dict[str, str]:
    """The environment of a command that finds no server, and a database as a machine has it that was used before."""
    home = work / "alone"
    shutil.copytree(work / "prefect", home)
    return {"PREFECT_API_URL": "", "PREFECT_HOME": str(home)}


def deployed_alone(work: Path, alone: dict[str, str], rounds: int, console: Console) -> float:
    """Seconds of a small model's deploy without a server, everything anew; the median."""
    seconds = []
    for number in range(rounds):
        releases = work / f"alone-{number}"
        command = [sys.executable, "-m", "flows", "deploy", SMALL_MODEL, "--json", "--releases", releases]
        seconds.append(timed(f"{SMALL_MODEL} alone", command, (0,), **alone).seconds)
        console.print(f"{SMALL_MODEL} alone: {seconds[-1]:.1f} s")
        shutil.rmtree(releases)
    return statistics.median(seconds)


def set_up(clone: Path, console: Console) -> float | None:
    """Seconds of `make setup` in a fresh clone; None, with what it says, where packages cannot be had."""
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    started = time.perf_counter()
    done = subprocess.run(["make", "setup"], cwd=clone, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    shutil.rmtree(clone)
    if done.returncode:
        console.print(f"set-up is not measured, since it failed:\n{done.stderr[-1000:]}")
        return None
    console.print(f"set-up: {seconds:.1f} s")
    return seconds


def store(rounds: list[dict[str, Run]], fleets: dict[int, Run], others: dict[str, float]) -> None:
    """Write every figure as JSON."""
    document = {
        "cores": os.cpu_count(),
        "rounds": [{name: asdict(run) for name, run in each.items()} for each in rounds],
        "fleets": {str(size): asdict(run) for size, run in fleets.items()},
        "others": others,
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
    order = [way for way in ways if number == 0 or way not in ONCE]
    order = order[number % len(order) :] + order[: number % len(order)]
    found = {}
    for way in order:
        (folder / way).mkdir(parents=True, exist_ok=True)
        found[way] = timed(way, ways[way], (1,) if way == "unchecked" else (0,), PREFECT_API_URL=api)
        console.print(f"round {number + 1}: {way}: {found[way].seconds:.1f} s, {found[way].peak_gb:.2f} GB")
        if way == "checked":
            found["unchanged"] = timed("unchanged", ways["checked"], (0,), PREFECT_API_URL=api)
            console.print(f"round {number + 1}: unchanged: {found['unchanged'].seconds:.1f} s")
    shutil.rmtree(folder)
    return found


def compare(work: Path, used: dict[str, str], other: Path, model: str, rounds: int) -> None:
    """Deploy the model here and in another checkout by turns, and print how long here takes of there, by round."""
    console, quotients = Console(), list[float]()
    for number in range(rounds):
        seconds = {}
        for root in (ROOT, other) if number % 2 == 0 else (other, ROOT):
            releases = work / f"compare-{number}-{'here' if root == ROOT else 'there'}"
            command = [sys.executable, "-m", "flows", "deploy", model, "--json", "--releases", releases]
            seconds[root] = timed(f"deploy in {root}", command, (0,), root, **used).seconds
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
    run = timed(f"fleet of {size}", command, (0,), PREFECT_API_URL=api, FANOUT_CONFIGS=str(configs))
    console.print(f"fleet of {size}: {run.seconds:.1f} s, {run.seconds / size:.2f} s a model")
    shutil.rmtree(folder)
    return run


if __name__ == "__main__":
    main()
