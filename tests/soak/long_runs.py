"""Many deploys on one server and worker: memory, open files, threads, temporary files and database stay bounded.

Prefect's database is told to forget at once, so that each deploy is measured in the same state: nothing runs, and of all
runs only the last is left.
"""

import argparse
import os
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import samples
import yaml
from prefect_home import Home, at_home
from waiting import wait_until

from converters.config.read import NIGHTLY
from converters.release import publish

Figures = Mapping[str, float]
MODELS = ("keras", "module")
KEPT = 2
"""Versions of each model that stay."""
LIMITS: dict[str, Callable[[float], float]] = {
    "MB": lambda before: 0.05 * before + 5,  # pages that an allocator has not given back
    "files": lambda _: 8,  # connections that come and go
    "threads": lambda _: 8,  # of these likewise: SQLite has one for each
    "processes": lambda _: 0,
    "temporary": lambda _: 0,
    "rows": lambda _: 20,
    "events": lambda _: 500,  # of the last seconds
}
"""The last word of a figure's name -> how much its median over the last third may be above that of the third before."""
AT_ONCE = {
    "FANOUT_KEEP_DAYS": "0.00002",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "2",
}


def unbounded(measured: Sequence[Figures]) -> list[str]:
    """The figures that grow, a sentence each."""
    third = len(measured) // (3 * len(MODELS)) * len(MODELS) or 1  # as often after each model
    found = []
    for name in measured[-1]:
        before, after = (
            statistics.median(figures[name] for figures in part) for part in (measured[third:-third], measured[-third:])
        )
        limit = LIMITS[name.rpartition(" ")[2]](before)
        if after > before + limit:
            found.append(f"{name}: {before:g}, then {after:g}, {limit:g} more at most")
    return found


def runs(deploys: int, folder: Path, models: Sequence[str] = MODELS) -> Iterator[Figures]:
    """Deploy so many times in that empty folder; what was measured after each."""
    with serving(folder) as home:
        for number in range(deploys):
            model = models[number % len(models)]
            run = home.wait(home.start("deploy-model", model=model, force=True))
            assert run["state"]["type"] == "COMPLETED", (run["state"], home.said())
            publish.prune(home.releases, model, KEPT)
            wait_until(lambda: idle(home), lambda: (rows(home), home.working(), home.said()))
            yield measure(home)


@contextmanager
def serving(folder: Path) -> Iterator[Home]:
    """`fanout ui` with two tiny models."""
    configs = folder / "configs"
    configs.mkdir()
    samples.write_spec(
        configs, samples.KERAS, name="keras", targets={"tflite": {"variants": ["float32"]}, "hdf5": {}, "serving": {}}
    )
    samples.write_spec(configs, samples.MODULE, name="module", targets={"serving": {}})
    (configs / f"{NIGHTLY}.yaml").write_text(yaml.safe_dump({"schedule": "never"}))
    (folder / "tmp").mkdir()
    with at_home(folder, TMPDIR=str(folder / "tmp"), **AT_ONCE) as home:
        yield home


def idle(home: Home) -> bool:
    """Whether nothing runs and only the last run is left."""
    found = rows(home)
    return not home.working() and found["flow_run"] == 1 and found["stray"] == 0


def rows(home: Home) -> dict[str, int]:
    """Table -> rows, and `stray`, the logs and artifacts of runs that are gone."""
    with closing(sqlite3.connect(f"file:{home.folder / 'prefect' / 'prefect.db'}?mode=ro", uri=True, timeout=60)) as db:
        tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        counts = {name: db.execute(f'select count(*) from "{name}"').fetchone()[0] for name in tables}
        stray = "select count(*) from {} where flow_run_id not in (select id from flow_run)"
        return counts | {"stray": sum(db.execute(stray.format(name)).fetchone()[0] for name in ("log", "artifact"))}


def measure(home: Home) -> Figures:
    """By name, whose last word is the unit."""
    ui = psutil.Process(home.process.pid)
    (server,) = [child for child in ui.children() if "flows.ui.server" in child.cmdline()]
    figures: dict[str, float] = {}
    for name, process in (("ui", ui), ("server", server), ("worker", home.worker())):
        figures[f"{name} MB"] = round(process.memory_full_info().pss / 1e6, 1)
        figures[f"{name} files"] = process.num_fds()
        figures[f"{name} threads"] = process.num_threads()
    prefect = home.folder / "prefect"
    figures["processes"] = len(ui.children(recursive=True))
    figures["temporary"] = len(list((home.folder / "tmp").rglob("*")))
    figures["Prefect's temporary"] = sum(not path.name.startswith("prefect.db") for path in prefect.rglob("*"))
    figures["releases' temporary"] = sum(
        not (path.name.isdigit() or path.is_symlink()) for model in MODELS for path in (home.releases / model).glob("*")
    )
    figures["database MB"] = round(sum(path.stat().st_size for path in prefect.glob("prefect.db*")) / 1e6, 1)
    counts = rows(home)
    figures["events"] = counts["events"] + counts["event_resources"]
    figures["other rows"] = sum(counts.values()) - figures["events"]
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 where something grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--deploys", type=int, help="at least 6, for the last third is compared with the third before")
    parser.add_argument("--many", type=float, default=1.0, help="without --deploys: a share of 200")
    given = parser.parse_args(arguments)
    deploys = max(6, given.deploys or round(200 * given.many))
    measured: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="long-runs-") as folder:
        for number, figures in enumerate(runs(deploys, Path(folder)), 1):
            if number == 1:
                print(" ".join(f"{name:>{len(name)}}" for name in ("deploy", *figures)))
            if number <= 3 or number % max(1, deploys // 20) == 0 or number == deploys:
                print(
                    " ".join(f"{value:>{len(name)}g}" for name, value in [("deploy", number), *figures.items()]),
                    flush=True,
                )
            measured.append(figures)
    growing = unbounded(measured)
    print(f"{deploys} deploys on one server and worker, {len(measured[-1])} figures, {len(growing)} of them growing")
    for sentence in growing:
        print(sentence)
    return 1 if growing else 0


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
