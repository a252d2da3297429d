"""Starting what ends with this process: programs, and interpreters that do not import its main module again."""

import os
import signal
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def bound(command: Sequence[str]) -> list[str]:
    """The command, made to end with the thread of this process that starts it (Linux only).

    Between fork and exec of a process with threads only C may run safely, so a small Python makes the prctl call and
    then becomes the program.
    """
    if sys.platform != "linux":
        return list(command)
    launch = (
        f"import ctypes, os, sys; ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, {int(signal.SIGKILL)}); "
        "os.getppid() == int(sys.argv[1]) or sys.exit('parent ended'); os.execv(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-I", "-S", "-c", launch, str(os.getpid()), *command]


_hiding = threading.Lock()
_starts = 0
_main: Any = None


@contextmanager
def no_main_module() -> Iterator[None]:
    """Hide `__main__` while a child starts.

    A child would import the parent's main module again; under Prefect, pytest or a notebook that takes seconds
    and can have effects. Nothing sent to a child lives there. Several threads can start children at one time: one with
    TensorFlow waits until that is loaded, and a fresh one need not.
    """
    global _starts, _main
    with _hiding:
        if not _starts:
            _main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
        _starts += 1
    try:
        yield
    finally:
        with _hiding:
            _starts -= 1
            if not _starts:
                sys.modules["__main__"], _main = _main, None
