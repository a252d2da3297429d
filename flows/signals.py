"""Ending what serves in the foreground: Ctrl-C or SIGTERM, also where whoever started it has SIGINT ignored, as shells do of a
command in the background."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Ended(Exception):
    """SIGINT or SIGTERM has come."""


@contextmanager
def raising() -> Iterator[None]:
    """Have either raise Ended, once: what follows is the orderly end, which another signal must not cut short."""

    def leave(number: int, frame: FrameType | None) -> None:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_IGN)
        raise Ended

    before = {name: signal.signal(name, leave) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
