"""Files by the digest of their content, in a place that several machines reach: a directory, or a URL that fsspec opens.

STORE/sha256/ab/abcd...    one file, named by its SHA-256; written whole or not at all, and never changed after

Whoever reads a file verifies that it is what its name says. Nothing refers to a file for longer than a deploy takes, so
that a store may be emptied whenever none runs.
"""

import os
import uuid
from pathlib import Path

from converters.contract.errors import Damaged, StoreFailed
from converters.formats.digest import of_file
from converters.release.files import copied
from converters.release.place import Place


class Store:
    """A store at `url`, a directory or what `fsspec.core.url_to_fs` takes (s3://bucket/folder, gs://..., memory://...).

    Raises:
        BadInput: fsspec, or what it needs for such a URL, is not installed, or the URL is none.
    """

    def __init__(self, url: str) -> None:
        self._place = Place(url, "the store")
        self.url, self._fs = self._place.url, self._place.fs

    def put(self, path: Path) -> str:
        """Store a file, unless it is there already. Returns its digest, in hex.

        Raises:
            StoreFailed: the store cannot be written.
            Damaged: the file was changed while it was read.
        """
        digest = of_file(path)
        name = self._name(digest)
        part = f"{name}.{uuid.uuid4().hex}.part"
        with self._place.access("written"):
            if self._fs.exists(name) and self._fs.size(name) == path.stat().st_size:
                return digest
            self._fs.makedirs(name.rpartition("/")[0], exist_ok=True)
            with path.open("rb") as local, self._fs.open(part, "wb") as remote:
                written = copied(local, remote)
            if written == digest:
                self._fs.mv(part, name)
            else:
                self._fs.rm_file(part)
        if written != digest:
            raise Damaged(f"{path} was changed while it was copied to the store; deploy again")
        return digest

    def holds(self, digest: str) -> bool:
        """Whether there is a file of that digest. Raises StoreFailed."""
        with self._place.access("read"):
            return bool(self._fs.exists(self._name(digest)))

    def get(self, digest: str, target: Path) -> None:
        """Fetch the file of a digest, and make it appear at `target` whole.

        Raises:
            StoreFailed: the store cannot be read, or lacks the file.
            Damaged: the file is not what its name says. It is removed from the store, so that it is stored anew.
        """
        name = self._name(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
        try:
            with self._place.access("read"):
                if not self._fs.exists(name):
                    raise StoreFailed(f"the store {self.url} holds no sha256/{digest}; is it the same on all machines?")
                with self._fs.open(name, "rb") as remote, part.open("wb") as local:
                    content = copied(remote, local)
                if content == digest:
                    os.replace(part, target)
                else:
                    self._fs.rm_file(name)
        finally:
            part.unlink(missing_ok=True)
        if content != digest:
            raise Damaged(
                f"{target.name} was damaged in the store {self.url}: sha256/{digest} held {content}; it was removed, "
                "deploy again"
            )

    def _name(self, digest: str) -> str:
        return self._place.path(f"sha256/{digest[:2]}/{digest}")
