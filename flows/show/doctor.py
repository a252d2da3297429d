"""Which runtimes are on this machine, their versions, and how to get what is missing."""

import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from converters.contract.errors import FanoutError

_SETUP = "run 'make setup' in the checkout"


class Runtime(NamedTuple):
    """One runtime: `found` is its version (with where it is), None when it is missing; `remedy` says how to get it."""

    name: str
    needed_for: str
    required: bool
    found: str | None
    remedy: str


def examine() -> list[Runtime]:
    """Look for everything that a build, a conversion or a check runs."""
    found = [_python()]
    for package, needed_for in (
        ("tensorflow", "building, exporting, TF Lite"),
        ("tf-keras", "Keras 2 models, HDF5"),
        ("keras", "Keras 3 models"),
        ("tensorflowjs", "converting to tensorflow.js"),
        ("ai-edge-litert", "checking TF Lite"),
        ("tensorflow-serving-api", "TF Serving's warmup requests and config"),
        ("prefect", "running the flows"),
    ):
        found.append(_package(package, needed_for))
    found.append(_c_library())
    found += _javascript()
    found.append(_model_server())
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


def _c_library() -> Runtime:
    from converters.processes import child as isolate
    from converters.targets.saved_model import c_api

    found, remedy = _attempt(lambda: isolate.run(c_api.version, fresh=True).value)
    return Runtime("tensorflow C library", "checking SavedModel and TF Serving", True, found, remedy)


def _javascript() -> list[Runtime]:
    from converters.targets.tfjs import javascript

    versions = javascript.versions()
    purposes = {
        "node": "checking tensorflow.js",
        "tfjs": "checking tensorflow.js",
        "chromium": "checking tensorflow.js in a browser",
    }
    return [
        Runtime(name, purposes[name], True, entry if isinstance(entry, str) else None, str(entry))
        for name, entry in versions.items()
    ]


def _model_server() -> Runtime:
    from converters.targets.serving import model_server

    found, remedy = _attempt(model_server.look)
    return Runtime("ModelServer", "checking TF Serving over gRPC and REST", False, found, remedy)


def _attempt(look: Callable[[], str]) -> tuple[str | None, str]:
    try:
        return look(), _SETUP
    except FanoutError as error:
        return None, str(error)


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
