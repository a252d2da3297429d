"""Running the user's own Python: builders and data functions, named as FILE.py:FUNCTION."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from converters.contract import paths
from converters.contract.errors import BadInput, BuilderFailed


def split(reference: str, base: Path, field: str) -> tuple[Path, str]:
    """`FILE.py:FUNCTION` as an existing path and a name.

    Raises:
        BadInput: not of that form, or the file is missing; names the config's field.
    """
    file, _, function = reference.rpartition(":")
    if not file.endswith(".py") or not function.isidentifier():
        raise BadInput(f"{field}: {reference!r} is not of the form FILE.py:FUNCTION")
    path = paths.path(file, base).resolve()
    if not path.is_file():
        raise BadInput(f"{field}: {path} does not exist")
    return path, function


def call(reference: str, base: Path, field: str) -> Any:
    """Import the file and call the function without arguments.

    Raises:
        BadInput: the file or function is missing.
        BuilderFailed: the user's code raised; the message holds its own error and its line.
    """
    path, name = split(reference, base, field)
    module = load(path)
    function = getattr(module, name, None)
    if not callable(function):
        functions = sorted(
            n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__
        )
        raise BadInput(f"{field}: {path} has no function {name!r}; it has {', '.join(functions) or 'none'}")
    return guarded(path, function)


def load(path: Path) -> ModuleType:
    """The user's file as a module, imported once per process; its folder is importable from it."""
    name = f"fanout_user_{path.stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    loader = spec.loader
    guarded(path, lambda: loader.exec_module(module))
    return module


def objects(path: Path) -> dict[str, Any]:
    """The classes and functions that the user's file defines or imports, by name, but for those that begin with `_`.

    Raises as `load`.
    """
    items = vars(load(path)).items()
    return {n: v for n, v in items if not n.startswith("_") and (inspect.isclass(v) or inspect.isfunction(v))}


def guarded(path: Path, function: Callable[[], Any]) -> Any:
    """Call user code; what it raises becomes a BuilderFailed naming the last line of theirs.

    Raises:
        BuilderFailed: the code raised anything, SystemExit included.
    """
    try:
        return function()
    except BadInput:
        raise
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        raise BuilderFailed(f"{_line(path, error)}: {type(error).__name__}: {error}") from error


def _line(path: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}, line {frames[-1].lineno}, in {frames[-1].name}" if frames else str(path)
