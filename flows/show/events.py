"""What happens during a deploy, told to whoever listens in this process: the command line's progress."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from converters.contract.values import UnitName
from converters.release.assemble import Released
from converters.release.manifest import Row

Stage = Literal[
    "queued", "changed", "building", "assumed", "exporting", "waiting", "converting", "checking", "done",
    "released", "refused", "unchanged", "failed", "interrupted",
]  # fmt: skip


class Event(NamedTuple):
    """One step. `target` and `variant` are empty for what concerns the whole model."""

    model: str
    stage: Stage
    target: str = ""
    variant: str = ""
    detail: str = ""
    rows: tuple[Row, ...] = ()
    released: Released | None = None
    error: Exception | None = None

    @property
    def unit(self) -> UnitName:
        """Both."""
        return UnitName(self.target, self.variant)


_listeners: list[Callable[[Event], None]] = []
_lock = threading.Lock()


def tell(event: Event) -> None:
    """Call every listener, one event at a time (tasks run in threads)."""
    with _lock:
        for listener in _listeners:
            listener(event)


@contextmanager
def listening(listener: Callable[[Event], None]) -> Iterator[None]:
    """Have `listener` called with every event in the meantime."""
    with _lock:
        _listeners.append(listener)
    try:
        yield
    finally:
        with _lock:
            _listeners.remove(listener)
