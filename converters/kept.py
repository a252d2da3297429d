"""Children that stay for the next call of their kind, so that what is slow to start, a browser, starts once for a run.

They stay as long as a `keeping` block is open, and end with the outermost. A kept child serves one call at a time
under that call's own limits, and two calls at a time are given two children. One that failed is ended with all that
it started, and the next call is given a new one.
"""

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from converters.contract import Limits
from converters.isolate import Child, Completed

T = TypeVar("T")

_lock = threading.Lock()
_idle: dict[str, list["_Kept"]] = {}
_asked: set[str] = set()
_open = 0
_inside = False


class _Kept:
    """A child, and the directory for its temporary files: it may be ended before it has removed them."""

    def __init__(self, limits: Limits, fresh: bool) -> None:
        self._files = tempfile.TemporaryDirectory(prefix="fanout-kept-", ignore_cleanup_errors=True)
        try:
            self.child = Child(limits=limits, fresh=fresh)
            self.child.call(_enter, self._files.name)
        except BaseException:
            self._files.cleanup()
            raise

    def close(self) -> None:
        self.child.close()
        self._files.cleanup()


@contextmanager
def keeping() -> Iterator[None]:
    """Keep children until the end of the block, or of one that it is in or that is open in another thread."""
    global _open
    with _lock:
        _open += 1
    try:
        yield
    finally:
        ended: list[_Kept] = []
        with _lock:
            _open -= 1
            if not _open:
                ended = [child for idle in _idle.values() for child in idle]
                _idle.clear()
                _asked.clear()
        for child in ended:
            child.close()


def run(kind: str, function: Callable[..., T], *args: Any, limits: Limits, fresh: bool = False) -> Completed[T]:
    """Call a module-level function in a kept child of this kind, or in a new one where all are busy.

    All children of one kind are `fresh`, or none of them.

    Raises what `isolate.Child.call` raises.
    """
    child = _take(kind, limits, fresh)
    returned = False
    try:
        done = child.child.call(function, *args)
        returned = True
    finally:
        with _lock:
            stays = returned and _open > 0
            if stays:
                _idle.setdefault(kind, []).append(child)
        if not stays:
            child.close()
    return done


def first(what: str) -> bool:
    """Whether nobody asked this before while children are kept: what is to be started once, one of all threads starts."""
    with _lock:
        if what in _asked:
            return False
        _asked.add(what)
        return True


def inside() -> bool:
    """Whether this process is a kept child, in which what is started may stay for the next call."""
    return _inside


def _take(kind: str, limits: Limits, fresh: bool) -> _Kept:
    while True:
        with _lock:
            waiting = _idle.get(kind)
            child = waiting.pop() if waiting else None
        if child is None:
            return _Kept(limits, fresh)
        if child.child.alive():
            child.child.limits = limits
            return child
        child.close()


def _enter(directory: str) -> None:
    """In the child: what it writes goes where its parent removes it."""
    global _inside
    _inside = True
    tempfile.tempdir = directory
