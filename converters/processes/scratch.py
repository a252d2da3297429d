"""One directory for all temporary files of a run, which the next run removes where this one was killed.

A process that is ended by SIGKILL removes nothing, and neither do the libraries, servers and browsers that it started. All
of them ask TMPDIR where to put their files.
"""

import fcntl
import os
import shutil
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path

PREFIX = "fanout-run-"
_LOCK = ".lock"
_LAST = -1000
"""After multiprocessing has removed its own directory, at -100 (multiprocessing/util.py)."""


_LONGEST = 60
"""Letters of a directory in which a socket can be bound: its address has at most 107 (unix(7)), and multiprocessing's name for
one, pymp-XXXXXXXX/listener-XXXXXXXX, has 31."""
_SHORT = Path("/tmp")


def begin() -> None:
    """Have this process, and what it starts, put temporary files into a directory of its own; called once, at its start.

    It is removed when the process ends, and so are now those of processes that were killed: the kernel has freed their locks.
    """
    place = Path(tempfile.gettempdir())
    if place.name.startswith(PREFIX):  # of the process that started this one, which may end before it
        place = place.resolve().parent
    _remove_abandoned(place)
    while True:
        root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        try:
            lock = os.open(root / _LOCK, os.O_CREAT | os.O_RDWR)
        except FileNotFoundError:
            continue  # another has just taken it for abandoned
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            break
        os.close(lock)
    link = _SHORT / root.name if len(str(root)) > _LONGEST else None
    if link is not None:
        link.symlink_to(root)
    tempfile.tempdir = os.environ["TMPDIR"] = str(link or root)
    Finalize(None, _end, args=(root, link, os.getpid()), exitpriority=_LAST)


def _end(root: Path, link: Path | None, process: int) -> None:
    if os.getpid() != process:
        return
    shutil.rmtree(root, ignore_errors=True)
    if link is not None:
        link.unlink(missing_ok=True)


def _remove_abandoned(place: Path) -> None:
    for link in _SHORT.glob(f"{PREFIX}*"):
        if link.is_symlink() and not link.exists() and link.lstat().st_uid == os.getuid():
            link.unlink(missing_ok=True)
    for root in place.glob(f"{PREFIX}*"):
        try:
            if root.lstat().st_uid != os.getuid() or root.is_symlink():
                continue
            lock = os.open(root / _LOCK, os.O_CREAT | os.O_RDWR)
        except OSError:  # removed by another meanwhile
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(root, ignore_errors=True)
        except BlockingIOError:
            pass  # its process lives
        finally:
            os.close(lock)
