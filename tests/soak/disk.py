"""The disk fills up: at every moment of a run, for the releases and for temporary files; and the releases vanish or are read-only.

Each time the run says so in one sentence, what is current is as it was, and nothing half made takes up space.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from converters.release import publish
from tests.soak import material

MODEL = next(iter(material.MODELS))
FULL = ("No space left on device", "cannot be written")


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """A file system in memory, there."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


PAGE = 4096
"""A file in memory takes whole pages, in bytes."""
TEMPORARY = 30_000
"""About what a run has in temporary files, in bytes."""


def can_mount() -> bool:
    """Whether this process may mount."""
    with tempfile.TemporaryDirectory() as place:
        return subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", place], check=False, capture_output=True
        ).returncode == 0 and (subprocess.run(["umount", place], check=True).returncode == 0)


def sweep(shares: Sequence[float], folder: Path) -> Counter[str]:
    """Counts of what became of runs that had these shares of what they need. Raises AssertionError."""
    command, config = material.Command(folder), material.configs(folder)[0]
    status, printed = command.run("deploy", config)
    assert status == 0, printed
    kept = folder / "kept"
    shutil.copytree(command.releases, kept, symlinks=True)
    size = PAGE * sum(-(-file.stat().st_size // PAGE) for file in kept.rglob("*") if file.is_file())
    found = Counter[str]()
    for place in (command.releases, command.temporary):
        held = size if place == command.releases else 0
        for share in shares:
            free = int((size if held else TEMPORARY) * share)
            with mounted(place, f"size={PAGE * ((held + free) // PAGE + 1)}"):
                if place == command.releases:
                    shutil.copytree(kept, place, symlinks=True, dirs_exist_ok=True)
                found[f"{place.name}: {_outcome(command, config)}"] += 1
    return found


def read_only(folder: Path) -> Counter[str]:
    """Counts of the commands that were refused where nothing can be written. Raises AssertionError."""
    command, config = material.Command(folder), material.configs(folder)[0]
    kept = folder / "kept"
    with mounted(command.releases, "size=100m"):
        for _ in range(2):
            status, printed = command.run("deploy", config, "--force")
            assert status == 0, printed
        shutil.copytree(command.releases, kept, symlinks=True)
        subprocess.run(["mount", "-o", "remount,ro", command.releases], check=True)
        found = Counter[str]()
        for arguments in (
            ("deploy", config, "--force"),
            ("promote", MODEL, "1"),
            ("rollback", MODEL),
            ("prune", MODEL, "--keep", "1"),
        ):
            status, printed = command.run(*arguments)
            assert status == 2, printed
            assert "Traceback" not in printed, printed
            assert "Read-only file system" in printed, printed
            found[f"read-only: {arguments[0]} refused"] += 1
        status, printed = command.run("releases", MODEL)
        assert status == 0, printed
    return found


def vanished(folder: Path) -> Counter[str]:
    """A run whose releases directory is taken away. Raises AssertionError."""
    command, config = material.Command(folder), material.configs(folder)[0]
    process = command.start("deploy", config)
    while not list(command.releases.glob("*/.staging-*/release/saved_model")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    command.releases.rename(folder / "elsewhere")
    printed, _ = process.communicate()
    assert process.returncode == 2, printed
    assert "Traceback" not in printed, printed
    assert f"{command.releases} is gone" in printed, printed
    return Counter({"vanished: refused": 1})


def _outcome(command: material.Command, config: Path) -> str:
    before = publish.current(command.releases, MODEL)
    status, printed = command.run("deploy", config, "--force")
    now = publish.current(command.releases, MODEL)
    assert now is not None
    assert (problems := material.problems(command.releases / MODEL / str(now))) == [], problems
    assert (left := command.left()) == [], left
    if status == 0:
        assert now != before
        return "deployed"
    assert now == before, printed
    assert "Traceback" not in printed, printed
    assert any(words in printed for words in FULL), printed
    return f"refused with {status}"


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=float, default=1.0, help="times 20")
    arguments = parser.parse_args()
    if not can_mount():
        os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv])
    with tempfile.TemporaryDirectory() as name:
        found = Counter[str]()
        steps = max(2, round(20 * arguments.many))
        for part in (partial(sweep, [1.3 * step / steps for step in range(steps)]), read_only, vanished):
            folder = Path(tempfile.mkdtemp(dir=name))
            found += part(folder)
            print("disk:", dict(found), flush=True)


if __name__ == "__main__":
    main()
