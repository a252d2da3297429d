"""What a build depends on, seen while it runs: files its Python read, modules it looked for, files its code names.

A `Watcher` begins before the user's code is run, and is asked when the model is exported. A file counts when the user's
side can change it; the standard library and installed packages are known by their versions.

Seen are: the source of every module of the user's (`sys.modules`); every file opened for reading through Python
(audit event `open`, PEP 578); every existing file that a string in the user's code names. Files that native code opens
under a computed name (a checkpoint, HDF5 weights) cannot be seen: a config declares them under `files:`.
"""

import os
import sys
import sysconfig
import time
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, all_suffixes
from pathlib import Path
from types import ModuleType

from converters.contract.values import Frozen
from converters.formats import digest

_OWN = Path(__file__).resolve().parents[1]
_INSTALLED = frozenset(("site-packages", "dist-packages"))
_VOLATILE = ("/proc", "/sys", "/dev", "/run")
_LIBRARIES = tuple(
    Path(name) for name in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), _OWN, *_VOLATILE)
)


class Reads(Frozen):
    """What a build depended on. A path below the config's folder is relative to it, any other is absolute."""

    files: dict[str, str] = {}
    """Path -> SHA-256 of the content."""
    looked_for: dict[str, list[str]] = {}
    """Folder -> names of modules that were looked for there and are none of it: one that appears may be imported in place of
    another."""
    searched: tuple[str, ...] = ()
    """Folders of sys.path, beside the config's, that modules were imported from."""
    modules: tuple[str, ...] = ()
    """Every module that was loaded or looked for along sys.path, by its name there: a folder that was not looked into is of no
    matter unless it offers one."""
    listed: dict[str, str] = {}
    """Folder of data -> SHA-256 of the names of all files below it: which of them were read depends on those that are
    there."""

    def changed(self, base: Path) -> str | None:
        """What is no longer as it was, for a person; None where nothing is. `base` is the config's folder."""
        for name, recorded in self.files.items():
            path = base / name
            if not path.is_file():
                return f"{name} is gone"
            if digest.of_file(path) != recorded:
                return f"{name} has changed"
        for folder, recorded in self.listed.items():
            if not (base / folder).is_dir():
                return f"{folder} is gone"
            if _names_below(base / folder) != recorded:
                return f"{folder} holds other files"
        for folder, names in self.looked_for.items():
            for module, path in _importable(base / folder):
                if module in names and not any(_below(base / known, path) for known in self.files):
                    return f"{path} is new"
        return self._searched_elsewhere(base)

    def _searched_elsewhere(self, base: Path) -> str | None:
        """What this process's sys.path would change. Who asks may have another, by $PYTHONPATH or its working directory: that
        matters only where a module of the build would no longer be found, or another before it."""
        now = _search_path()
        for folder in self.searched:
            if not any(_same(folder, each) for each in now):
                return f"{folder}, where it found modules, is not on Python's path"
        known = [_OWN.parent, *(base / folder for folder in self.looked_for)]
        wanted = set(self.modules) - {name for name, _ in _importable(base)}
        for folder in now:
            if not any(_same(folder, each) for each in known):
                for module, path in _importable(Path(folder)):
                    known_file = any(_below(base / file, path) for file in self.files)
                    if module in wanted and not known_file and _is_found_at(module, path):
                        return f"{path} is new"
        return None


class Watcher(MetaPathFinder):
    """Watches the process that it is made in from then on until that ends, for an audit hook cannot be removed.

    As a finder of modules it finds nothing, and hears which are looked for, and where.
    """

    def __init__(self) -> None:
        self._began = time.time()
        self._read: set[str] = set()
        self._written: set[str] = set()
        self._looked_for: dict[str, set[str]] = {}
        self._modules: set[str] = set()
        sys.addaudithook(self._heard)
        sys.meta_path.insert(0, self)

    def reads(self, base: Path, products: Sequence[Path], listed: Sequence[Path] = ()) -> Reads | None:
        """What was read so far; None where one of the files was changed meanwhile, so that what was read is not known.

        `products` are directories of what the build itself makes, `listed` those of data whose files were listed.
        """
        modules = {path for module in list(sys.modules.values()) if (path := _source(module)) is not None}
        scripts = [module for module in modules if module.suffix == ".py"]
        named = {path for script in scripts for path in digest.named_files(script, Path.cwd())}
        opened = {Path(name) for name in self._read - self._written if not name.endswith(".pyc")}
        files = {}
        for path in sorted(modules | named | {p for p in opened if _users(p)}):
            if not path.is_file() or str(path) in self._written or any(_below(path, product) for product in products):
                continue
            if path.stat().st_mtime > self._began:
                return None
            files[_relative(path, base)] = digest.of_file(path)
        looked_for = {
            _relative(Path(folder), base): sorted(names - _passed_over(Path(folder), modules))
            for folder, names in sorted(self._looked_for.items())
            if _users(Path(folder) / "_") and not folder.endswith(".zip")
        }
        searched = [folder for folder in _search_path() if any(_found_in(module, Path(folder)) for module in modules)]
        folders = {_relative(folder, base): _names_below(folder) for folder in sorted(set(listed))}
        elsewhere = tuple(folder for folder in sorted(searched) if not _same(folder, base))
        loaded = {name for name in sys.modules if "." not in name and not name.startswith("__")}
        names = tuple(sorted(loaded | self._modules))
        return Reads(files=files, looked_for=looked_for, listed=folders, searched=elsewhere, modules=names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Called for every module that is imported."""
        if path is None:
            self._modules.add(fullname)
        for folder in sys.path if path is None else path:
            self._looked_for.setdefault(os.path.abspath(folder), set()).add(fullname.rpartition(".")[2])
        return None

    def _heard(self, event: str, args: tuple[object, ...]) -> None:
        if event != "open" or not isinstance(args[0], str | bytes):
            return
        flags = args[2] if isinstance(args[2], int) else 0
        path = os.path.abspath(os.fsdecode(args[0]))
        (self._read if flags & os.O_ACCMODE == os.O_RDONLY else self._written).add(path)


def _source(module: ModuleType | None) -> Path | None:
    name = getattr(module, "__file__", None)
    if not isinstance(name, str):
        return None
    folder, _, file = name.rpartition(os.sep)
    if not _users(_resolved(folder) / file):
        return None
    path = Path(name).resolve()
    return path if _users(path) else None


@cache
def _resolved(folder: str) -> Path:
    """Thousands of modules are in hundreds of folders."""
    return Path(folder).resolve()


def _users(path: Path) -> bool:
    """Whether the file is on the user's side: no part of Python, of an installed package, or of this one."""
    return _INSTALLED.isdisjoint(path.parts) and not any(_below(path, library) for library in _LIBRARIES)


def _importable(folder: Path) -> Iterable[tuple[str, Path]]:
    """Module names that a folder offers, each with the file or package that it is."""
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            if (entry / "__init__.py").is_file():
                yield entry.name, entry
        else:
            for suffix in all_suffixes():
                if entry.name.endswith(suffix):
                    yield entry.name.removesuffix(suffix), entry


def _passed_over(folder: Path, modules: Iterable[Path]) -> set[str]:
    """Modules that a folder offers and that were found elsewhere before it."""
    used = set(modules)
    return {name for name, path in _importable(folder.resolve()) if not any(_below(each, path) for each in used)}


def _search_path() -> list[str]:
    """The folders of sys.path on the user's side, which child processes search as well."""
    folders = dict.fromkeys(os.path.abspath(folder) for folder in sys.path)
    return [folder for folder in folders if _users(Path(folder) / "_") and not folder.endswith(".zip")]


def _is_found_at(module: str, path: Path) -> bool:
    """Whether an import by that name would find this file or package, and no other before it."""
    spec = PathFinder.find_spec(module, sys.path)
    return spec is not None and spec.origin is not None and _below(Path(spec.origin).resolve(), path.resolve())


def _found_in(module: Path, folder: Path) -> bool:
    """Whether a module's file, or the package that it is in, is in the folder itself."""
    folder = folder.resolve()
    return _below(module, folder) and any(module == path or _below(module, path) for _, path in _importable(folder))


def _same(one: str | Path, other: str | Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _names_below(folder: Path) -> str:
    return digest.of_value(sorted(path.relative_to(folder).as_posix() for path in digest.visible(folder)))


def _below(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _relative(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if _below(path, base) else str(path)
