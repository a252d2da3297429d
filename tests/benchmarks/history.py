"""What earlier runs of `make bench` on this machine have found, one JSON document a line, and what has become worse since.

It is kept in the user's cache (XDG Base Directory Specification), so that it outlives a checkout and is no part of one.
"""

import json
import os
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

WORSE = 0.10
"""Of a figure, by which it may grow from one run to the next."""


class Worse(NamedTuple):
    """A figure that has grown by more than WORSE."""

    name: str
    before: float
    now: float

    def sentence(self) -> str:
        """For a person."""
        return (
            f"{self.name}: {self.now:.3g}, {self.now / self.before - 1:+.0%} against the last run's {self.before:.3g}"
        )


def path() -> Path:
    """The history's file."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "tf-fanout" / "bench.jsonl"


def machine() -> str:
    """What figures are compared on: the host, its kind and its cores."""
    return f"{platform.node()}, {platform.machine()}, {os.cpu_count()} cores"


def last(file: Path, machine: str) -> dict[str, float]:
    """Each figure as the last run on the machine has it that measured it; nothing where there is no history.

    Raises ValueError where a line is none of ours.
    """
    found: dict[str, float] = {}
    for number, line in enumerate(file.read_text().splitlines() if file.exists() else [], 1):
        try:
            document = json.loads(line)
            if document["machine"] == machine:
                found |= {str(name): float(value) for name, value in document["figures"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}, line {number}, is no run of `make bench` ({error!r}); take it out") from error
    return found


def add(file: Path, machine: str, figures: Mapping[str, float], of: str) -> None:
    """Add a run; `of` names what was measured, a commit."""
    file.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": machine,
        "time": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        "of": of,
        "figures": {name: round(value, 4) for name, value in figures.items()},
    }
    with file.open("a") as history:
        history.write(json.dumps(document) + "\n")


def worse(before: Mapping[str, float], now: Mapping[str, float]) -> list[Worse]:
    """Figures, of which less is better, that have grown by more than WORSE; those that only one of the runs has say nothing."""
    return [
        Worse(name, before[name], value)
        for name, value in now.items()
        if name in before and value > before[name] * (1 + WORSE)
    ]
