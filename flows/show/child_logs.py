"""What a child process prints, line by line in the log of the task that started it, while it runs."""

import logging
import re
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


_NOISE = re.compile(
    r"\d{4}-\d\d-\d\d [\d:.]+: (I|W|E external/local_xla/xla/stream_executor/cuda/)|[IW]\d{4} \d\d:\d\d:|"
    r"WARNING: All log messages before absl::InitializeLog|INFO: Created TensorFlow Lite "
)
"""What TensorFlow's C++ tells its developers (tsl/platform/default/logging.cc, absl's log format): it is in the log file alone."""


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
            if count <= MOST_LINES and line.strip() and not _NOISE.match(line):
                logger.info("%s", line.rstrip())
            elif count == MOST_LINES + 1:
                logger.info("... more is in %s", log.name)
        if last:
            return
