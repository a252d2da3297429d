"""Versions are published, promoted, rolled back and pruned by several processes, while others read what is current and serve it.

A reader finds the version by `current` once and then reads file by file; a server polls models.config and loads what it finds
through TensorFlow's C loader, as TensorFlow Serving does. Neither may ever see less than a whole version.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import releases
import samples
from staying import staying

from converters.contract.errors import BadInput
from converters.release import publish
from converters.targets.serving import layout
from tests.soak import material

MODEL = "m"


def write(place: Path, template: Path, changes: int, seed: int, told: Any) -> None:
    """Change what is current so many times; what was done goes to `told`, or what went wrong."""
    generator, done = random.Random(seed), Counter[str]()
    for _ in range(changes):
        act = generator.choice(["publish", "promote", "promote", "roll back", "prune"])
        try:
            if act == "publish":
                material.another(place, MODEL, template)
            elif act == "promote":
                publish.promote(place, MODEL, generator.choice(publish.versions(place, MODEL)))
            elif act == "roll back":
                publish.rollback(place, MODEL)
            else:
                publish.prune(place, MODEL, generator.randint(1, 4))
            done[act] += 1
        except BadInput as error:
            said = str(error)
            # Another has just removed the version, or there is none to go back to.
            if not ("has no version" in said or "none to roll back to" in said):
                told.put(f"{act}: {said}")
            done[f"{act} refused"] += 1
        except Exception as error:
            told.put(f"{act}: {type(error).__name__}: {error}")
    told.put(done)


def read(place: Path, ready: Any, stop: Any, told: Any) -> None:
    """Look at every file of the current version, again and again."""
    seen = Counter[str]()
    ready.wait()
    while not (stop.is_set() and seen):
        try:
            release = (place / MODEL / "current").resolve(strict=True)
            found = material.problems(release)
            seen["whole" if not found else "partial"] += 1
            if found:
                told.put(f"{release.name}: {found}")
        except OSError as error:
            seen["missing"] += 1
            told.put(f"missing: {error}")
    told.put(seen)


def _served(release: Path) -> Path:
    (version,) = (release / "serving").iterdir()
    return version


def serve(place: Path, template: Path, ready: Any, stop: Any, told: Any) -> None:
    """Load what models.config lists, again and again."""
    from converters.targets.saved_model.c_api import Model

    seen = Counter[str]()
    with Model(_served(template)):  # TensorFlow is there from now on
        pass
    ready.wait()
    while not (stop.is_set() and seen):
        try:
            listed = layout.parse_models_config((place / layout.CONFIG).read_text())
            base = Path(str(place) + listed[MODEL].removeprefix(layout.RELEASES)).resolve(strict=True)
            version = _served(base.parent)
            with Model(version) as model:
                seen["loaded" if model.signatures and version.name == base.parent.name else "mixed"] += 1
        except Exception as error:
            seen["not loaded"] += 1
            told.put(f"not loaded: {type(error).__name__}: {error}")
    told.put(seen)


def sweep(changes: int, folder: Path, template: Path, writers: int = 3) -> tuple[Counter[str], list[str]]:
    """What was done and seen, and what went wrong."""
    place = folder / "switched"
    for _ in range(3):
        material.another(place, MODEL, template)
    publish.promote(place, MODEL, 1)
    context = multiprocessing.get_context("spawn")
    stop, told = context.Event(), context.Queue()

    def begun(function: Callable[..., None], *arguments: Any) -> SpawnProcess:
        process = context.Process(target=function, args=(place, *arguments, told))
        process.start()
        return process

    ready = context.Barrier(4)
    watching = [begun(read, ready, stop), begun(read, ready, stop), begun(serve, template, ready, stop)]
    ready.wait()
    writing = [begun(write, template, changes // writers, seed) for seed in range(writers)]
    counts, faults, reports = Counter[str](), [], 0
    while reports < len(writing) + len(watching):
        message = told.get(timeout=600)
        if isinstance(message, str):
            faults.append(message)
            continue
        counts += message
        reports += 1
        if reports == len(writing):
            stop.set()
    for process in (*writing, *watching):
        process.join()
    left = [path.name for path in (place / MODEL).iterdir() if path.name.startswith(".")]
    return counts, faults + [f"left: {name}" for name in left]


def made(folder: Path) -> Path:
    """A release of a small model that can be served."""
    spec = samples.write_spec(folder, samples.KERAS, targets={"serving": {}})
    with staying() as pool:
        return releases.publish(spec, folder / "releases", pool).path


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=float, default=1.0, help="times 500")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        started = time.monotonic()
        counts, faults = sweep(round(500 * arguments.many), Path(name), made(Path(name)))
        shutil.rmtree(Path(name) / "switched")
    print(f"switching: {dict(counts)}, {len(faults)} faults, {time.monotonic() - started:.0f} s", flush=True)
    print(*faults[:20], sep=os.linesep, flush=True)
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
