"""Files by the digest of their content, in a place that several machines reach: a directory, or a URL that fsspec opens.

STORE/sha256/ab/abcd...    one file, named by its SHA-256; written whole or not at all, and never changed after

Whoever reads a file verifies that it is what its name says. Nothing refers to a file for longer than a deploy takes, so
that a store may be emptied whenever none runs.
"""

import os
import uuid
from pathlib import Path
from typing import Any

from converters.contract import secrets
from converters.contract.errors import BadInput, Damaged, StoreFailed, raised
from converters.formats.digest import of_file
from converters.release.files import copied


class Store:
    """A store at `url`, a directory or what `fsspec.core.url_to_fs` takes (s3://bucket/folder, gs://..., memory://...).

    Raises:
        BadInput: fsspec, or what it needs for such a URL, is not installed, or the URL is none.
    """

    def __init__(self, url: str) -> None:
        self.url = secrets.shown(url)
        self._secret = {self.url: url}
        try:
            from fsspec.core import url_to_fs

            fs, root = url_to_fs(url)
        except ImportError as error:
            raise BadInput(
                f"the store {self.url} cannot be opened: {self._told(str(error))}; install it, or tf-fanout with its extra "
                "'cluster'"
            ) from error
        except ValueError as error:
            raise BadInput(
                f"the store {self.url} cannot be opened: {self._told(str(error))}; give a directory or a URL"
            ) from error
        self._fs: Any = fs
        self._root = str(root).rstrip("/")

    def put(self, path: Path) -> str:
        """Store a file, unless it is there already. Returns its digest, in hex.

        Raises:
            StoreFailed: the store cannot be written.
            Damaged: the file was changed while it was read.
        """
        digest = of_file(path)
        name = self._name(digest)
        part = f"{name}.{uuid.uuid4().hex}.part"
        try:
            if self._fs.exists(name) and self._fs.size(name) == path.stat().st_size:
                return digest
            self._fs.makedirs(name.rpartition("/")[0], exist_ok=True)
            with path.open("rb") as local, self._fs.open(part, "wb") as remote:
                written = copied(local, remote)
            if written == digest:
                self._fs.mv(part, name)
            else:
                self._fs.rm_file(part)
        except Exception as error:  # every kind of file system raises its own
            raise StoreFailed(f"the store {self.url} cannot be written: {self._told(raised(error))}") from error
        if written != digest:
            raise Damaged(f"{path} was changed while it was copied to the store; deploy again")
        return digest

    def holds(self, digest: str) -> bool:
        """Whether there is a file of that digest. Raises StoreFailed."""
        try:
            return bool(self._fs.exists(self._name(digest)))
        except Exception as error:  # as above
            raise StoreFailed(f"the store {self.url} cannot be read: {self._told(raised(error))}") from error

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
            with self._fs.open(name, "rb") as remote, part.open("wb") as local:
                content = copied(remote, local)
            if content == digest:
                os.replace(part, target)
            else:
                self._fs.rm_file(name)
        except FileNotFoundError as error:
            raise StoreFailed(
                f"the store {self.url} holds no sha256/{digest}; is it the same on all machines?"
            ) from error
        except Exception as error:  # as above
            raise StoreFailed(f"the store {self.url} cannot be read: {self._told(raised(error))}") from error
        finally:
            part.unlink(missing_ok=True)
        if content != digest:
            raise Damaged(
                f"{target.name} was damaged in the store {self.url}: sha256/{digest} held {content}; it was removed, "
                "deploy again"
            )

    def _told(self, message: str) -> str:
        """What a file system says, without what is secret in the URL."""
        return secrets.hidden(message, self._secret)

    def _name(self, digest: str) -> str:
        return f"{self._root}/sha256/{digest[:2]}/{digest}"
