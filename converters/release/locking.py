"""Who may change the releases, and what is being read: locks of the kernel, which none can leave behind (flock(2))."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"


@contextmanager
def writing(releases: Path) -> Iterator[None]:
    """Alone among all that switch what is current, list what is served, or remove versions. Raises OSError."""
    lock = os.open(releases / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextmanager
def reading(release: Path) -> Iterator[None]:
    """As long as it is held, `removing` leaves the version. Raises OSError where there is no such directory."""
    folder = os.open(release, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH)
        yield
    finally:
        os.close(folder)


@contextmanager
def removing(release: Path) -> Iterator[bool]:
    """Whether nobody reads the version; none begins to in the block."""
    folder = os.open(release, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield taken(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(folder)


def taken(lock: int, how: int) -> bool:
    """Lock an open file; False where another holds it, or has removed it since it was opened."""
    try:
        fcntl.flock(lock, how)
    except BlockingIOError:
        return False
    return os.fstat(lock).st_nlink > 0
