"""What a child process prints, line by line in the log of the task that started it, while it runs."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

from prefect.logging import get_run_logger

from converters.processes.meanwhile import meanwhile

POLL_SECONDS = 0.5
MOST_LINES = 2000
"""Lines of one child that are shown; the release's log file has them all."""


Logger: TypeAlias = "logging.Logger | logging.LoggerAdapter[logging.Logger]"


@contextmanager
def shown(log: Path) -> Iterator[None]:
    """Follow a log file from its present end until the context is left. For use inside a task."""
    logger = get_run_logger()
    with meanwhile(partial(_follow, log, len(_printed(log, 0, logger) or b""), logger)):
        yield


def _follow(log: Path, start: int, logger: Logger, over: threading.Event) -> None:
    place, count = start, 0
    while True:
        last = over.wait(POLL_SECONDS)
        printed = _printed(log, place, logger)
        if printed is None:
            return
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


def _printed(log: Path, place: int, logger: Logger) -> bytes | None:
    """What is in the file after that place: nothing while it is not there, or was removed with all that its run made.

    None where it cannot be read, which is said.
    """
    try:
        with log.open("rb") as file:
            file.seek(place)
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        logger.warning("what it prints cannot be shown: %s: %s", log.name, error.strerror)
        return None
