"""The files of a release: which there are, and what is in them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from converters.contract.layout import MANIFEST
from converters.formats import digest
from converters.release.manifest import FileRecord, Manifest, Row


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


def record_files(root: Path, leave_out: Iterable[str] = (MANIFEST,)) -> dict[str, FileRecord]:
    """Digest and size of every file below root, by its relative path."""
    left_out = set(leave_out)
    records = {}
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root).as_posix()
        if file.is_file() and name not in left_out:
            records[name] = FileRecord(sha256=digest.of_file(file), bytes=file.stat().st_size)
    return records


def changed_files(root: Path, written: Manifest) -> dict[str, str]:
    """Relative path -> what is wrong with a release's file: each must be there, be listed, and be what its digest says."""
    present = record_files(root)
    problems = {name: "is missing" for name in written.files if name not in present}
    problems |= {name: "is not in the manifest" for name in present if name not in written.files}
    for name in written.files.keys() & present.keys():
        if written.files[name] != present[name]:
            problems[name] = "is not what the manifest's digest says"
    return problems


def belongs(name: str, row: Row) -> bool:
    """Whether a file of the release is part of the row's artifact."""
    path = (row.path or "").removesuffix("/model.json")
    return bool(path) and (name == path or name.startswith(f"{path}/"))
