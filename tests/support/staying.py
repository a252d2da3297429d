"""Children that stay between all calls, so that hundreds of checks share the start of a few processes."""

import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from converters.contract.settings import Limits
from converters.processes import resident
from converters.processes.child import Child, Completed, through


class Pool(ThreadPoolExecutor):
    """Threads that work in the context of whoever gives them work."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        return super().submit(contextvars.copy_context().run, function, *args, **options)


@contextmanager
def staying(*alone: str) -> Iterator[Pool]:
    """Within it `child.run` calls functions in children that stay, in this thread and in those of the pool that it gives.

    Functions of the modules `alone` are called in children of their own: those that see what a test has changed of the
    environment, which a child has as it was when it started.
    """

    def run(
        function: Callable[..., Any], *args: Any, limits: Limits | None, log: Path | None, fresh: bool
    ) -> Completed[Any]:
        """One child with TensorFlow, and a fresh one for each function that wants one; `log` is not written."""
        if function.__module__ in alone:
            with Child(limits=limits, log=log, fresh=fresh) as child:
                return child.call(function, *args)
        kind = repr(function) if fresh else "tensorflow"
        return resident.run(kind, function, *args, limits=limits or Limits(), fresh=fresh)

    with resident.keeping(), through(run), Pool(2) as pool:
        yield pool
