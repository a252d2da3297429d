"""The child's side of `child`: it answers calls until its parent closes the pipe."""

import faulthandler
import os
import sys
import tempfile
import time
import traceback
from multiprocessing import connection, forkserver
from typing import Any, Literal

from converters.contract.errors import ChildRaised, FanoutError
from converters.processes.launch import end_with_parent

How = Literal["call", "hold", "ask"]
"""Whether a function is called, what it makes is held, or it is a method of what is held."""


def serve(pipe: "connection.Connection[Any, Any]", log: str, scratch: str, parent: int | None) -> None:
    """The whole of a child's life: answer calls until the pipe closes.

    A call is how it is meant, a function, and its arguments; an answer is `returned` or `raised`, with the value or the
    exception, and the seconds it took. `parent` is the process id of who started an interpreter of its own.
    """
    _die_with_parent(parent)
    tell_keras()
    tempfile.tempdir = os.environ["TMPDIR"] = scratch
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    faulthandler.enable(sys.stderr)
    held: Any = None
    while True:
        try:
            how, function, args = pipe.recv()
        except EOFError:
            return
        started = time.monotonic()
        try:
            value = function(held, *args) if how == "ask" else function(*args)
            if how == "hold":
                held, value = value, None
            answer = ("returned", value, time.monotonic() - started)
        except FanoutError as error:
            traceback.print_exc()
            # What it was raised from stays here, and is in the log: some libraries have it pickled too, which it need not be.
            error.__cause__ = error.__context__ = None
            answer = ("raised", error.with_traceback(None), 0.0)
        except Exception as error:  # whatever a converter raises is told to the parent, which decides
            traceback.print_exc()
            answer = ("raised", ChildRaised(_sentence(error), type(error).__name__, traceback.format_exc()), 0.0)
        pipe.send(answer)


def tell_keras() -> None:
    """Have Keras 3 compute by TensorFlow, which all targets are made from, whatever variables or keras.json say."""
    os.environ["KERAS_BACKEND"] = "tensorflow"


def _sentence(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _die_with_parent(parent: int | None) -> None:
    if parent is None:
        # Every forked child is given a copy of the pipe end that keeps the fork server running. A busy child would
        # keep the server, and so itself, alive when the parent was killed. (A private name, the same in 3.10 to 3.13;
        # without it the line for Linux below is what ends a busy child.)
        server: Any = forkserver._forkserver
        if (descriptor := getattr(server, "_forkserver_alive_fd", None)) is not None:
            os.close(descriptor)
            server._forkserver_alive_fd = None
    end_with_parent()
    if parent is not None and os.getppid() != parent:  # it ended before the line above
        os._exit(1)
