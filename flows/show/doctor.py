"""Which runtimes are on this machine, their versions, and how to get what is missing."""

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

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


def table(runtimes: list[Runtime]) -> Table:
    """For a terminal."""
    shown = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("", "runtime", "version", "needed for"):
        shown.add_column(column)
    for runtime in runtimes:
        missing = Text(f"missing: {runtime.remedy}", style="red" if runtime.required else "yellow")
        mark = (
            Text("✓", style="green") if runtime.found else Text("✗" if runtime.required else "–", style=missing.style)
        )
        needed = runtime.needed_for + ("" if runtime.required else " (optional)")
        shown.add_row(mark, runtime.name, runtime.found or missing, Text(needed, style="dim"))
    return shown
