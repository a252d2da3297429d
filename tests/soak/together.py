"""Several deploys of one model begin at once: each makes a version of its own, one after the other, and says that it waits."""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from converters.release import publish
from tests.soak import material

MODEL = next(iter(material.MODELS))


def sweep(deploys: int, folder: Path) -> Counter[str]:
    """Counts. Raises AssertionError."""
    command, config = material.Command(folder), material.configs(folder)[0]
    running = [command.start("deploy", config, "--force") for _ in range(deploys)]
    counts = Counter[str]()
    for process in running:
        printed, _ = process.communicate()
        assert process.returncode == 0, printed
        counts["deployed"] += 1
        counts["told to wait"] += "waiting for another deploy" in printed
    assert publish.versions(command.releases, MODEL) == list(range(1, deploys + 1))
    for version in range(1, deploys + 1):
        assert (problems := material.problems(command.releases / MODEL / str(version))) == [], problems
        counts["whole"] += 1
    assert [entry.version for entry in publish.past(command.releases, MODEL)] == list(range(1, deploys + 1))
    assert (left := command.left()) == [], left
    return counts


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=float, default=1.0, help="times 8")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("together:", dict(sweep(max(2, round(8 * arguments.many)), Path(folder))), flush=True)


if __name__ == "__main__":
    main()
