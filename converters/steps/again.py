"""The first line of a child's log: what it does, and the command that does it again."""

import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from converters.contract.layout import DESCRIBED
from converters.contract.values import Artifact, Source
from converters.processes import child
from converters.steps.unit import Unit, relocated
from converters.targets.registry import TARGETS

_MARK = "# "


def head(log: Path, what: str, command: Sequence[str]) -> None:
    """Begin the log with it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(f"{_MARK}{what}; again, in the release's directory: {shlex.join(command)}\n")


def is_empty(log: Path) -> bool:
    """Whether nothing was printed after it."""
    return all(line.startswith(_MARK) for line in child.printed(log).decode(errors="replace").splitlines())


def head_of_conversion(log: Path, unit: Unit) -> None:
    """Begin the log of a conversion."""
    options = unit.options.model_dump_json(exclude_defaults=True)
    arguments = ", ".join(map(json.dumps, (unit.target, unit.variant, options, str(unit.source.builder or ""))))
    code = f"from converters.steps.again import convert; print(convert({arguments}))"
    what = f"converts {unit.source.saved_model} to {unit.name.title}"
    head(log, f"{what} for {unit.spec.name} {unit.source.version}", [sys.executable, "-c", code])


def convert(target: str, variant: str, options: str, builder: str) -> list[Artifact]:
    """Convert one variant of the release in the working directory again, in a child process, to a new directory.

    Args:
        target: its name.
        variant: its name.
        options: the target's, as JSON.
        builder: the Python file that registers the model's custom objects; empty where there is none.

    Raises Unsupported, and what the child raises.
    """
    root = Path.cwd()
    source = relocated(Source.model_validate_json((root / DESCRIBED).read_bytes()), Path(), root)
    source = source.model_copy(update={"builder": Path(builder) if builder else None})
    definition, place = TARGETS[target], Path(tempfile.mkdtemp(prefix=f"{target}-"))
    told = definition.options.model_validate_json(options)
    return child.run(definition.convert, source, variant, place, told).value
