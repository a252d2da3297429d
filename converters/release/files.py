"""The files of a release: which there are, and whether they are what was published."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from converters.contract.layout import MANIFEST, SIGNATURE
from converters.formats import digest
from converters.release.durable import FILE_MODE, FOLDER_MODE
from converters.release.manifest import FileRecord, Manifest, Row

UNLISTED = (MANIFEST, SIGNATURE)
"""Files of a release that its manifest cannot list."""


def files_of(path: Path) -> list[Path]:
    """The files an artifact consists of: itself, its directory's, or a model.json's and its shards."""
    if path.name == "model.json":
        path = path.parent
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def copied(origin: IO[bytes], to: IO[bytes]) -> str:
    """Copy all of it. Returns its SHA-256, in hex."""
    content = hashlib.sha256()
    while block := origin.read(1 << 20):
        content.update(block)
        to.write(block)
    return content.hexdigest()


def record_files(root: Path, leave_out: Iterable[str] = UNLISTED) -> dict[str, FileRecord]:
    """Digest and size of every file below root, by its relative path."""
    left_out = set(leave_out)
    records = {}
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root).as_posix()
        if file.is_file() and name not in left_out:
            records[name] = FileRecord(sha256=digest.of_file(file), bytes=file.stat().st_size)
    return records


def changed_files(root: Path, written: Manifest) -> dict[str, str]:
    """Relative path -> what is wrong with a release's file or folder.

    Each file must be there, be listed, be an ordinary file that has no other name and that nobody else may write or run, and
    be what its digest says; each folder must hold one that is listed. Links are not followed.
    """
    problems = dict.fromkeys(written.files, "is missing")
    known = {parent.as_posix() for name in written.files for parent in PurePosixPath(name).parents}
    for path, what in _below(root):
        name = path.relative_to(root).as_posix()
        problem = _nature(what)
        if stat.S_ISDIR(what.st_mode):
            problem = problem or (None if name in known else "is a folder without a file of the manifest")
        elif name in UNLISTED:
            pass
        elif name not in written.files:
            problem = problem or "is not in the manifest"
        else:
            del problems[name]
            problem = problem or _content(path, what, written.files[name])
        if problem is not None:
            problems[name] = problem
    return problems


def belongs(name: str, row: Row) -> bool:
    """Whether a file of the release is part of the row's artifact."""
    path = (row.path or "").removesuffix("/model.json")
    return bool(path) and (name == path or name.startswith(f"{path}/"))


def _below(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            what = entry.stat(follow_symlinks=False)
            yield Path(entry.path), what
            if stat.S_ISDIR(what.st_mode):
                yield from _below(Path(entry.path))


def _nature(what: os.stat_result) -> str | None:
    """Why it is neither an ordinary file nor a folder as they are published."""
    mode, permissions = what.st_mode, stat.S_IMODE(what.st_mode)
    if stat.S_ISLNK(mode):
        return "is a symbolic link"
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        return "is neither a file nor a folder"
    if permissions & ~(FOLDER_MODE if stat.S_ISDIR(mode) else FILE_MODE):
        return f"has the mode {permissions:o}, by which others may change it or it may be run"
    if stat.S_ISREG(mode) and what.st_nlink > 1:
        return f"has {what.st_nlink} names (hard links), by each of which it can be changed"
    return None


def _content(path: Path, what: os.stat_result, record: FileRecord) -> str | None:
    try:
        same = what.st_size == record.bytes and digest.of_file(path) == record.sha256
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if same else "is not what the manifest's digest says"
