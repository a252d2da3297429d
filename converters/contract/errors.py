"""What can go wrong, as types.

FanoutError
├── BadInput              what the user gave is wrong: exit status 2, one sentence, no traceback
│   ├── BuilderFailed     the user's own Python raised; carries its error and its line
│   └── SignatureFailed   a release is not signed by a key that is trusted, or is not what was signed
├── Unsupported           the target cannot hold this model or signature: a row's status, never a crash
├── MissingRuntime        a runtime that a check needs is not on this machine: `not_run`, never a pass
├── Damaged               a file that should be readable is not: a check that fails
├── ServerFailed          a server did not start, serves something else, or did not answer: likewise
├── DiskFailed            a disk is full, read-only or broken, or a directory was taken away
├── StoreFailed           the store that machines share cannot be read or written
├── ClusterFailed         there is nobody left to convert: no scheduler, or no worker
├── WorkerFailed          a worker of the cluster was lost, or may not do what it was asked: a row fails
└── ChildFailed           a child process did not return a result
    ├── ChildRaised       it raised; carries the exception's type, text and traceback
    ├── ChildDied         it ended by a signal or an exit status, without a result
    ├── ChildTimedOut     it was killed at its time limit
    └── ChildTooLarge     it was killed at its memory limit

A failing check is none of these: it is data (`contract.values.CheckResult`).
"""

import errno
import os
from pathlib import Path

from converters.contract.names import shown


class FanoutError(Exception):
    """Base of every exception this project raises on purpose.

    The text is one or two sentences for a person: what is wrong, where, and the remedy.
    """


class BadInput(FanoutError):
    """What the user gave (a config, a path, a builder, an option) is wrong."""


class BuilderFailed(BadInput):
    """The user's own Python raised while building the model or its data."""


class SignatureFailed(BadInput):
    """A release's manifest is unsigned, signed by a key that is not trusted, or not what was signed."""


class Unsupported(FanoutError):
    """The target cannot hold this model or signature; the text says why and what to do."""


class MissingRuntime(FanoutError):
    """A runtime needed for a check is not on this machine; the text says how to get it."""


class Damaged(FanoutError):
    """A file that should be readable is not: truncated, corrupt, or of another format."""


class ServerFailed(FanoutError):
    """A server that was there did not start, does not serve what it should, or did not answer as it should."""


class DiskFailed(FanoutError):
    """Files could not be written for a reason that is not theirs."""


def of_disk(error: Exception, place: Path) -> FanoutError | None:
    """What an error says of the disk, for a person, where it does, or itself; `place` is where releases are made."""
    if not place.is_dir():
        return DiskFailed(f"{place} is gone, which was there when the run began; deploy again")
    if isinstance(error, FanoutError):
        return error
    if not isinstance(error, OSError):
        return None
    where = f": {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        holding = f"of what holds {place} or {os.environ.get('TMPDIR', '/tmp')}"
        return DiskFailed(f"{error.strerror}{where}; free some, {holding}, or choose others (--releases, TMPDIR)")
    if error.errno in (errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM):
        return DiskFailed(f"files cannot be written any more{where} ({error.strerror}); see to the disk, and try again")
    return None


class StoreFailed(FanoutError):
    """The store through which machines exchange files cannot be read or written."""


class ClusterFailed(FanoutError):
    """The cluster that was to convert is gone: its scheduler does not answer, or it has no worker."""


class WorkerFailed(FanoutError):
    """A worker of the cluster was lost, or is not equal to this machine; others may do what it could not."""


class ChildFailed(FanoutError):
    """A child process did not return a result."""


class ChildRaised(ChildFailed):
    """The child raised an exception that is not one of ours.

    `kind` is the exception's type name, `details` the child's traceback.
    """

    def __init__(self, message: str, kind: str = "", details: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.details = details

    def __reduce__(self) -> tuple[type["ChildRaised"], tuple[str, str, str]]:
        return (type(self), (str(self), self.kind, self.details))


class ChildDied(ChildFailed):
    """The child ended by a signal or an exit status before it returned a result."""


class ChildTimedOut(ChildFailed):
    """The child was killed because it ran longer than its time limit."""


class ChildTooLarge(ChildFailed):
    """The child was killed because it held more memory than its limit."""


MOST = 300
"""Characters of another program's message that are shown at most."""


def said(error: object, most: int = MOST) -> str:
    """What an exception or a log says, in one line of at most `most` characters."""
    return shown(" ".join(str(error).split()))[:most]


def raised(error: BaseException, most: int = MOST) -> str:
    """The type of an exception that is none of ours, and what it says."""
    return f"{type(error).__name__}: {said(error, most)}"
