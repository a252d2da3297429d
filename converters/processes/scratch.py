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


def begin() -> None:
    """Have this process, and what it starts, put temporary files into a directory of its own; called once, at its start.

    It is removed when the process ends, and so are now those of processes that were killed: the kernel has freed their locks.
    """
    place = Path(tempfile.gettempdir())
    if place.name.startswith(PREFIX):  # of the process that started this one, which may end before it
        place = place.parent
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
    tempfile.tempdir = os.environ["TMPDIR"] = str(root)
    Finalize(None, _end, args=(root, os.getpid()), exitpriority=_LAST)


def _end(root: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(root, ignore_errors=True)


def _remove_abandoned(place: Path) -> None:
    for root in place.glob(f"{PREFIX}*"):
        try:
            if root.stat().st_uid != os.getuid():
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
