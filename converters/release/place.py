"""Places that fsspec opens by a URL, where a directory is one too: what is said of them holds no secret of that URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from converters.contract import secrets
from converters.contract.errors import BadInput, FanoutError, StoreFailed, raised


class Place:
    """What `fsspec.core.url_to_fs` makes of `url`: a file system `fs`, and the path `root` in it; `url` is what may be shown.

    `what` is what a person calls it.

    Raises:
        BadInput: fsspec, or what it needs for such a URL, is not installed, or it is none.
        StoreFailed: it does not answer.
    """

    def __init__(self, url: str, what: str) -> None:
        self.url, self._what = secrets.shown(url).rstrip("/"), what
        self._secret = {self.url: url, "(password)": urlsplit(url).password or ""} if self.url != url else {}
        try:
            from fsspec.core import url_to_fs

            fs, root = url_to_fs(url)
        except ImportError as error:
            raise BadInput(
                f"{what} {self.url} cannot be opened: {self._told(str(error))}; install it (tf-fanout's extra 's3' for s3://)"
            ) from error
        except ValueError as error:
            raise BadInput(
                f"{what} {self.url} cannot be opened: {self._told(str(error))}; give a directory or a URL"
            ) from error
        except Exception as error:  # as `access` has it: some connect already
            raise StoreFailed(f"{what} {self.url} cannot be opened: {self._told(raised(error))}") from error
        self.fs: Any = fs
        self.root = str(root).rstrip("/")

    def path(self, name: str) -> str:
        """A path below, as the file system has it."""
        return f"{self.root}/{name}"

    @contextmanager
    def access(self, done: str) -> Iterator[None]:
        """Whatever the file system raises in the block becomes StoreFailed: that it cannot be `done` (read, written)."""
        try:
            yield
        except FanoutError:
            raise
        except Exception as error:  # every kind of file system raises its own
            raise StoreFailed(f"{self._what} {self.url} cannot be {done}: {self._told(raised(error))}") from error

    def _told(self, message: str) -> str:
        return secrets.hidden(message, self._secret)
