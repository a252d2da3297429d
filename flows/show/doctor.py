"""Which runtimes are on this machine, their versions, and how to get what is missing."""

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from converters.contract import target as contract
from converters.contract.errors import FanoutError
from converters.targets.registry import TARGETS

_SETUP = "run 'make setup' in the checkout"


class Runtime(NamedTuple):
    """One runtime: `found` is its version (with where it is), None when it is missing; `remedy` says how to get it."""

    name: str
    needed_for: str
    required: bool
    found: str | None
    remedy: str


def examine() -> list[Runtime]:
    """Look for everything that a build, a conversion or a check runs: what each target says that it needs."""
    found = [_python()]
    packages = {name: what for target in TARGETS.values() for name, what in target.packages.items()}
    found += [_package(name, what) for name, what in {**packages, "prefect": "running the flows"}.items()]
    needed: dict[str, tuple[contract.Runtime, list[str]]] = {}
    for target in TARGETS.values():
        for runtime in target.runtimes:
            if runtime.program not in packages:
                titles = needed.setdefault(runtime.program, (runtime, []))[1]
                titles += [target.title] if target.title not in titles else []
    found += [_program(runtime, titles) for runtime, titles in needed.values()]
    return found


def _python() -> Runtime:
    current = ".".join(map(str, sys.version_info[:3]))
    supported = (3, 10) <= sys.version_info[:2] <= (3, 12)
    return Runtime("python", "everything", True, current if supported else None, "install Python 3.10, 3.11 or 3.12")


def _package(name: str, needed_for: str) -> Runtime:
    try:
        return Runtime(name, needed_for, True, version(name), _SETUP)
    except PackageNotFoundError:
        return Runtime(name, needed_for, True, None, _SETUP)


def _program(runtime: contract.Runtime, titles: list[str]) -> Runtime:
    needed_for = f"checking {' and '.join(titles)}"
    try:
        return Runtime(runtime.program, needed_for, not runtime.optional, runtime.version(), _SETUP)
    except FanoutError as error:
        return Runtime(runtime.program, needed_for, not runtime.optional, None, str(error))


def table(runtimes: list[Runtime]) -> RenderableType:
    """For a terminal: a line for each, and below it where it is, or how to get it."""
    shown = [_shown(runtime) for runtime in runtimes]
    names, versions = (max(len(row[place]) for row in shown) for place in (1, 2))
    lines: list[RenderableType] = []
    for runtime, (mark, name, found, detail) in zip(runtimes, shown, strict=True):
        style = "" if runtime.found else "red" if runtime.required else "yellow"
        line = Table.grid(padding=(0, 2))
        for width in (1, names, versions):
            line.add_column(width=width)
        needed = runtime.needed_for + ("" if runtime.required else " (optional)")
        line.add_row(Text(mark, style or "green"), name, Text(found, style), Text(needed, "dim"))
        lines += [line, Padding(Text(detail, style or "dim", overflow="fold"), (0, 0, 0, 3))] if detail else [line]
    return Group(*lines)


def _shown(runtime: Runtime) -> tuple[str, str, str, str]:
    """Mark, name, version, and the rest of what is to be said."""
    if runtime.found is None:
        return "✗" if runtime.required else "–", runtime.name, "missing", runtime.remedy
    found, *rest = re.split(r", |(?= \()", runtime.found, maxsplit=1)
    return "✓", runtime.name, found, "".join(rest).strip()
