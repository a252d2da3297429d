"""Starting what ends with this process: programs, and interpreters that do not import its main module again."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """Have the kernel end this process when the thread ends that started it (prctl(2), PR_SET_PDEATHSIG; Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def bound(command: Sequence[str], number: signal.Signals = signal.SIGKILL) -> list[str]:
    """The command, made to get a signal when the thread of this process ends that starts it (Linux only).

    Between fork and exec of a process with threads only C may run safely, so a small Python makes the prctl call and
    then becomes the program.
    """
    if sys.platform != "linux":
        return list(command)
    launch = (
        f"import ctypes, os, sys; ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {int(number)}); "
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


def start(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> "subprocess.Popen[bytes]":
    """The program, bound to this process, with a pipe to its standard input and what it prints in `log`. Raises OSError."""
    with log.open("wb") as stream:
        return subprocess.Popen(
            bound(command), env=environment, stdin=subprocess.PIPE, stdout=stream, stderr=stream, pass_fds=pass_fds
        )


def end(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Close the program's standard input and wait for its end; kill it where that takes more than `seconds`."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def started(
    command: Sequence[str], log: Path, environment: Mapping[str, str], seconds: float
) -> Iterator["subprocess.Popen[bytes]"]:
    """`start`, and on leaving SIGTERM and `end`."""
    process = start(command, log, environment)
    try:
        yield process
    finally:
        process.terminate()
        end(process, seconds)
