"""Children that stay between calls, so that hundreds of checks share the start of a few processes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from converters.contract.errors import ChildFailed, ChildRaised
from converters.contract.settings import Limits
from converters.processes import child as isolate


class Residents:
    """Calls functions as `isolate.run` does, but in children of this thread that it keeps.

    There is one with TensorFlow, and a fresh one for each runtime that wants one; one that came to grief is replaced.
    """

    def __init__(self) -> None:
        self._mine = threading.local()
        self._every: list[isolate.Child] = []

    def run(
        self,
        function: Callable[..., Any],
        *args: Any,
        limits: Limits | None = None,
        log: Path | None = None,
        fresh: bool = False,
    ) -> Any:
        """What `isolate.run` returns and raises; `log` is not written."""
        kept: dict[Any, isolate.Child] = self._mine.__dict__.setdefault("kept", {})
        key = function if fresh else None
        if key not in kept:
            kept[key] = isolate.Child(limits=limits, fresh=fresh)
            self._every.append(kept[key])
        try:
            return kept[key].call(function, *args)
        except ChildFailed as error:
            if not isinstance(error, ChildRaised):
                kept.pop(key).close()
            raise

    def close(self) -> None:
        """End them all."""
        for child in self._every:
            child.close()


@contextmanager
def residents() -> Iterator[Residents]:
    """Within it, conversions and checks of every thread run in resident children."""
    found = Residents()
    try:
        with mock.patch.object(isolate, "run", found.run):
            yield found
    finally:
        found.close()
