"""Children that stay for the next call of their kind, so that what is slow to start, a browser, starts once for a run.

They stay as long as a `keeping` block is open, and end with the outermost. Such a child serves one call at a time
under that call's own limits, and two calls at a time are given two children. One that failed is ended with all that
it started, and the next call is given a new one.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from converters.contract.settings import Limits
from converters.processes.child import Child, Completed

T = TypeVar("T")

_lock = threading.Lock()
_idle: dict[str, list[Child]] = {}
_open = 0
_own: dict[str, Any] | None = None


@contextmanager
def keeping() -> Iterator[None]:
    """Keep children until the end of the block, or of one that it is in or that is open in another thread."""
    global _open
    with _lock:
        _open += 1
    try:
        yield
    finally:
        ended: list[Child] = []
        with _lock:
            _open -= 1
            if not _open:
                ended = [child for idle in _idle.values() for child in idle]
                _idle.clear()
        for child in ended:
            child.close()


def run(kind: str, function: Callable[..., T], *args: Any, limits: Limits, fresh: bool = False) -> Completed[T]:
    """Call a module-level function in a child that stays, of this kind, or in a new one where all are busy.

    All children of one kind are `fresh`, or none of them.

    Raises what `Child.call` raises.
    """
    child = _idle_child(kind, limits) or _new(limits, fresh)
    stays = False
    try:
        done = child.call(function, *args)
        with _lock:
            stays = _open > 0
            if stays:
                _idle.setdefault(kind, []).append(child)
        return done
    finally:
        if not stays:
            child.close()


def own() -> dict[str, Any] | None:
    """What calls leave in this process for the next, by name, where it is a child that stays; None where it is none."""
    return _own


def _idle_child(kind: str, limits: Limits) -> Child | None:
    while True:
        with _lock:
            waiting = _idle.get(kind)
            child = waiting.pop() if waiting else None
        if child is None:
            return None
        if child.alive():
            child.limits = limits
            return child
        child.close()


def _new(limits: Limits, fresh: bool) -> Child:
    child = Child(limits=limits, fresh=fresh)
    try:
        child.call(_enter)
    except BaseException:
        child.close()
        raise
    return child


def _enter() -> None:
    global _own
    _own = {}
