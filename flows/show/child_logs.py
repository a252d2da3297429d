"""What a child process prints, line by line in the log of the task that started it, while it runs."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from prefect.logging import get_run_logger

from converters.processes import child
from converters.processes.meanwhile import meanwhile

POLL_SECONDS = 0.5
MOST_LINES = 2000
"""Lines of one child that are shown; the release's log file has them all."""


@contextmanager
def shown(log: Path, start: int | None = None) -> Iterator[None]:
    """Follow a log file from the byte `start`, or its present end, until the context is left. For use inside a task."""
    begin = len(child.printed(log)) if start is None else start
    with meanwhile(partial(_follow, log, begin, get_run_logger())):
        yield


def _follow(
    log: Path, start: int, logger: "logging.Logger | logging.LoggerAdapter[logging.Logger]", over: threading.Event
) -> None:
    place, count = start, 0
    while True:
        last = over.wait(POLL_SECONDS)
        printed = child.printed(log, place)
        # A line that is still being written waits for its end.
        whole = len(printed) if last else printed.rfind(b"\n") + 1
        place += whole
        for line in printed[:whole].decode(errors="replace").splitlines():
            count += 1
            if count <= MOST_LINES and line.strip():
                logger.info("%s", line.rstrip())
            elif count == MOST_LINES + 1:
                logger.info("... more is in %s", log.name)
        if last:
            return
