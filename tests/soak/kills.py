"""A run of two models is ended by SIGKILL, with all its processes, at a random moment, again and again.

After each: what is current is whole and passes every check, the next run succeeds, and nothing is left of the killed one.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

from converters.processes import child, resident
from converters.release import publish
from converters.steps.recheck import recheck
from tests.soak import material

ANEW = 4
"""One in so many of the runs that follow does everything anew."""


def sweep(kills: int, folder: Path, seed: int = 0, *, every: int = 1) -> dict[str, int]:
    """Returns counts. Every so many kills all checks are done again, and digests after each. Raises AssertionError."""
    command, configs = material.Command(folder), material.configs(folder)
    generator = random.Random(seed)
    longest = _seconds(command, *configs)
    counts = {"kills": 0, "ended before": 0, "checked": 0, "promoted": 0}
    with resident.keeping():
        while counts["kills"] < kills:
            number = counts["kills"] + counts["ended before"]
            before = {model: publish.current(command.releases, model) for model in material.MODELS}
            process = command.start("deploy", *configs, "--force")
            time.sleep(generator.uniform(0, longest))
            counts["ended before" if process.poll() is not None else "kills"] += 1
            command.kill()
            process.communicate()
            for model in material.MODELS:
                now = publish.current(command.releases, model)
                assert now is not None
                assert (problems := material.problems(command.releases / model / str(now))) == [], problems
                counts["promoted"] += now != before[model]
                if number % every == 0:
                    found = recheck(command.releases / model / str(now))
                    assert not found.refusals, found.refusals
                    counts["checked"] += 1
            if number % ANEW == ANEW - 1:
                longest = _seconds(command, *configs, "--force")
            else:  # finds out that all is there, unless the killed run had begun with something new
                _seconds(command, *configs)
            assert (left := command.left()) == [], left
            for model in material.MODELS:
                publish.prune(command.releases, model, 2)
            if number % 10 == 9:
                print(f"kill sweep: {counts}", flush=True)
    return counts


def _seconds(command: material.Command, *arguments: str) -> float:
    started = time.monotonic()
    status, printed = command.run("deploy", *arguments)
    assert status == 0, printed
    return time.monotonic() - started


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=float, default=1.0, help="times 200")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    child.warm_up()
    with tempfile.TemporaryDirectory() as folder:
        print("kill sweep:", sweep(round(200 * arguments.many), Path(folder), arguments.seed), flush=True)


if __name__ == "__main__":
    main()
