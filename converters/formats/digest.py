"""Content as SHA-256: of files, of values, and of what a Python module consists of."""

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = "node_modules"
_INSTALLED_LOCK = ".package-lock.json"
"""npm's own record of what is in a node_modules (npm, "hidden lockfiles")."""


def of_file(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as content:
        found = hashlib.sha256()
        while block := content.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def of_value(value: Any) -> str:
    """Hex digest of a value that JSON can hold; the order of keys is no part of it."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def of_code(roots: Iterable[str], stop: Iterable[str] = ()) -> str:
    """Hex digest of the files that `closure` gives, names included.

    Found once for each state that the package's files are in: a deploy of many models asks for the same few, many times.
    """
    state = tuple((str(path), (stat := path.stat()).st_mtime_ns, stat.st_size) for path in in_folder(PACKAGE))
    return _of_code(tuple(roots), tuple(stop), state)


@cache
def _of_code(roots: tuple[str, ...], stop: tuple[str, ...], state: tuple[tuple[str, int, int], ...]) -> str:
    return of_value({path.relative_to(PACKAGE).as_posix(): _of_version(path) for path in closure(roots, stop)})


def closure(roots: Iterable[str], stop: Iterable[str] = ()) -> list[Path]:
    """The files of this package that the modules named by `roots` consist of, found by reading their code.

    Followed are imports, at the top or inside functions; strings that name a module of the package; and strings that
    name a file or folder beside the module. Modules in `stop` are left out, with what only they lead to.
    """
    waiting, seen, data = [PACKAGE.name, *roots], set(stop), set[Path]()
    modules = set[Path]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _file(name)
        if path is None:
            continue
        modules.add(path)
        holder = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [found for found in _imported(path, holder) if found.partition(".")[0] == PACKAGE.name]
        waiting += [text for text in _parsed(path).strings if text.startswith(f"{PACKAGE.name}.")]
        data.update(file for file in named_files(path) if PACKAGE in file.parents)
    return sorted(modules | data)


def named_files(module: Path, *more: Path) -> set[Path]:
    """Existing files that a string in a module's code names: a file, all of a folder beside the module, or the files
    of a TensorFlow checkpoint, which is named by what they begin with. Names are relative to the module's folder, or to
    one of `more`.
    """
    found: set[Path] = set()
    folders = {folder: frozenset(os.listdir(folder)) for folder in (module.parent, *more)}
    for text in _parsed(module).strings:
        if not text.strip("./") or "\0" in text or "\n" in text or len(text) > 255:
            continue
        head = text.partition("/")[0]
        for folder, names in folders.items():
            # Most strings name nothing, which the folder's list tells sooner than the file system does.
            if not (head in names or f"{text}.index" in names or head in ("", ".", "..")):
                continue
            path = folder / text
            if path.is_file():
                found.add(path.resolve())
            elif path.with_name(f"{path.name}.index").is_file():
                found.update(part.resolve() for part in path.parent.glob(f"{path.name}.*"))
        if head in folders[module.parent] or head in (".", ".."):
            folder = (module.parent / text).resolve()
            if folder.is_dir() and module.parent in folder.parents:
                found.update(in_folder(folder))
    return found


def in_folder(folder: Path) -> Iterator[Path]:
    """The files below a folder. What npm installed is represented by npm's record of it, bytecode left out."""
    for path in sorted(folder.iterdir()):
        if path.name == _INSTALLED:
            if (path / _INSTALLED_LOCK).is_file():
                yield path / _INSTALLED_LOCK
        elif path.is_dir():
            if path.name != "__pycache__":
                yield from in_folder(path)
        elif path.is_file():
            yield path


class _Parsed(NamedTuple):
    strings: frozenset[str]
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]
    """Level, module and names of each `from`; of an `import`, level -1 and the module."""


def _of_version(path: Path) -> str:
    """`of_file` of a file that many modules consist of."""
    stat = path.stat()
    return _hash(path, stat.st_mtime_ns, stat.st_size)


@cache
def _hash(path: Path, *version: int) -> str:
    """The digest of a file; `version` makes another file of one that was written again."""
    return of_file(path)


def _parsed(path: Path) -> _Parsed:
    stat = path.stat()
    return _parse(path, stat.st_mtime_ns, stat.st_size)


@cache
def _parse(path: Path, *version: int) -> _Parsed:
    """What the code of a file says; `version` as for `_hash`."""
    strings: set[str] = set()
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
        elif isinstance(node, ast.Import):
            imports += [(-1, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
    return _Parsed(frozenset(strings), tuple(imports))


def _imported(path: Path, holder: str) -> Iterator[str]:
    """Names of modules, among others: of `from a import b` both `a` and `a.b`. `holder` is the package the file is in."""
    for level, module, names in _parsed(path).imports:
        if level < 0:
            yield module
            continue
        parts = holder.split(".")
        above = parts[: len(parts) - level + 1] if level else []
        origin = ".".join([*above, module] if module else above)
        yield origin
        yield from (f"{origin}.{name}" for name in names)


def _file(name: str) -> Path | None:
    """The file of a module of the package."""
    path = PACKAGE.parent.joinpath(*name.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
