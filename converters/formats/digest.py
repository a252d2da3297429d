"""Content as SHA-256: of files, of values, and of a package's code."""

import ast
import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = "node_modules"
_INSTALLED_LOCK = ".package-lock.json"
"""npm's own record of what is in a node_modules (npm, "hidden lockfiles")."""


def of_file(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as content:
        digest = hashlib.sha256()
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def of_value(value: Any) -> str:
    """Hex digest of a value that JSON can hold; the order of keys is no part of it."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def of_package(member: Callable[..., Any] | None = None) -> str:
    """Hex digest of the files of this package, names included, and of the package or module where `member` is defined."""
    places = {PACKAGE}
    if member is not None:
        module = Path(inspect.getfile(member)).resolve()
        home = module.parent if (module.parent / "__init__.py").is_file() else module
        places |= {home} if PACKAGE not in home.parents else set()
    return of_value([_of_folder(place) for place in sorted(places)])


def _of_folder(folder: Path) -> str:
    """Found once for each state that the files are in: a deploy of many models asks for the same, many times."""
    state = tuple((str(path), (stat := path.stat()).st_mtime_ns, stat.st_size) for path in in_folder(folder))
    return _of_state(folder, state)


@cache
def _of_state(folder: Path, state: tuple[tuple[str, int, int], ...]) -> str:
    return of_value({path.relative_to(folder).as_posix(): of_file(path) for path in in_folder(folder)})


def named_files(module: Path, *more: Path) -> set[Path]:
    """Existing files that a string in a module's code names: a file, all of a folder beside the module, or the files
    of a TensorFlow checkpoint, which is named by what they begin with. Names are relative to the module's folder, or to
    one of `more`.
    """
    files: set[Path] = set()
    folders = {folder: frozenset(os.listdir(folder)) for folder in (module.parent, *more)}
    for text in _strings(module):
        if not text.strip("./") or "\0" in text or "\n" in text or len(text) > 255:
            continue
        head = text.partition("/")[0]
        for folder, names in folders.items():
            # Most strings name nothing, which the folder's list tells sooner than the file system does.
            if not (head in names or f"{text}.index" in names or head in ("", ".", "..")):
                continue
            path = folder / text
            if path.is_file():
                files.add(path.resolve())
            elif path.with_name(f"{path.name}.index").is_file():
                files.update(part.resolve() for part in path.parent.glob(f"{path.name}.*"))
        if head in folders[module.parent] or head in (".", ".."):
            folder = (module.parent / text).resolve()
            if folder.is_dir() and module.parent in folder.parents:
                files.update(in_folder(folder))
    return files


def in_folder(folder: Path) -> Iterator[Path]:
    """The files below a folder, or the file. What npm installed is represented by its record of it, bytecode left out."""
    if folder.is_file():
        yield folder
        return
    for path in sorted(folder.iterdir()):
        if path.name == _INSTALLED:
            if (path / _INSTALLED_LOCK).is_file():
                yield path / _INSTALLED_LOCK
        elif path.is_dir():
            if path.name != "__pycache__":
                yield from in_folder(path)
        elif path.is_file():
            yield path


def visible(folder: Path) -> Iterator[Path]:
    """The files below a folder whose names do not begin with a dot, in order."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place) / name for name in sorted(names) if not name.startswith("."))


def _strings(path: Path) -> frozenset[str]:
    stat = path.stat()
    return _parse(path, stat.st_mtime_ns, stat.st_size)


@cache
def _parse(path: Path, *version: int) -> frozenset[str]:
    """The strings in the code of a file; `version` makes another file of one that was written again."""
    nodes = ast.walk(ast.parse(path.read_bytes()))
    return frozenset(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
