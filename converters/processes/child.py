"""One child process per build, conversion or prediction: time limit, memory limit, captured log.

Children are forked from a server that has TensorFlow loaded (multiprocessing's forkserver, with
`preload`), so that one starts in a tenth of a second; a *fresh* child is a new interpreter without
TensorFlow. A child that crashes, hangs or eats memory raises a `ChildFailed` here and harms nothing else.

Children die with their parent, as the fork server does when the parent's end of its pipe closes, and can be ended before
(`ending`). They stay in the parent's process group, so that whoever ends the group ends them.
"""

import contextvars
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any, Generic, TypeVar

import psutil

from converters.contract.errors import ChildDied, ChildFailed, ChildTimedOut, ChildTooLarge, said
from converters.contract.settings import Limits
from converters.processes import ending, memory
from converters.processes.launch import no_main_module
from converters.processes.serve import How, serve

T = TypeVar("T")

POLL_SECONDS = 0.2
MEASURE_SECONDS = 1.0

_starter = ThreadPoolExecutor(1, thread_name_prefix="starter")
_forkserver = multiprocessing.get_context("forkserver")
_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Completed(Generic[T]):
    """What a call returned, the seconds it took inside the child, and the most memory the child held meanwhile.

    Memory is the child's own and that of all it started (unique set size: pages of the fork server are not counted).
    """

    value: T
    seconds: float
    memory_mb: float = 0.0


def warm_up() -> None:
    """Start loading TensorFlow in the fork server, in the background; call it before slow imports of your own."""
    with no_main_module():
        _forkserver.set_forkserver_preload(["converters.processes.preload"])
        forkserver.ensure_running()


def printed(log: Path, start: int = 0) -> bytes:
    """What is in a log from a place on: nothing where it is not there yet, or somebody has taken it away meanwhile."""
    try:
        with log.open("rb") as file:
            file.seek(start)
            return file.read()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return b""


_runner: contextvars.ContextVar[Callable[..., Completed[Any]] | None] = contextvars.ContextVar("runner", default=None)


@contextmanager
def through(runner: Callable[..., Completed[Any]]) -> Iterator[None]:
    """In the block, and in threads that are started in its context, `run` is another function of the same arguments."""
    token = _runner.set(runner)
    try:
        yield
    finally:
        _runner.reset(token)


def run(
    function: Callable[..., T], *args: Any, limits: Limits | None = None, log: Path | None = None, fresh: bool = False
) -> Completed[T]:
    """Call a module-level function in a child of its own, or as `through` says. Arguments and result are pickled.

    Raises what `Child.call` raises.
    """
    if (runner := _runner.get()) is not None:
        return runner(function, *args, limits=limits, log=log, fresh=fresh)
    with Child(limits=limits, log=log, fresh=fresh) as child:
        return child.call(function, *args)


class Child:
    """A child process that serves one call after another: of functions, and of methods of one object that it holds.

    Args:
        limits: what each call may take.
        log: file that everything the child prints is appended to; without it the output is kept only until the
            child ends, for error messages.
        fresh: start a new interpreter without TensorFlow.

    Temporary files of the child, and of what it starts, are in a directory that goes when the child ends: ended by a
    signal, as it is, it cannot remove them itself (AutoGraph, for one, writes a module for every function).
    """

    def __init__(self, *, limits: Limits | None = None, log: Path | None = None, fresh: bool = False) -> None:
        ending.require_running()
        self.limits = limits or Limits()
        self._scratch = Path(tempfile.mkdtemp(prefix="fanout-"))
        self.log = log or self._scratch / "log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.touch()  # it may be ended before it has printed anything
        self._printed_before = self.log.stat().st_size
        context = _spawn if fresh else _forkserver
        self._seen: dict[psutil.Process, None] = {}
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, str(self.log), str(self._scratch), os.getpid() if fresh else None), daemon=True
        )
        with no_main_module():
            if not fresh:
                _forkserver.set_forkserver_preload(["converters.processes.preload"])
            # On Linux a new interpreter ends with the *thread* that started it, and must outlive the caller's.
            _starter.submit(self._process.start).result() if fresh else self._process.start()
        self._groups = ending.groups()
        for group in self._groups:
            group.children.add(self)
        theirs.close()
        if ending.begun():  # since this one was begun, so that whoever ends them all did not know of it
            self.close()
            ending.require_running()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def hold(self, make: Callable[..., Any], *args: Any) -> None:
        """Have the child make an object (of a module-level class) and hold it. Raises what `call` raises."""
        self._answer("hold", make, args)

    def ask(self, method: Callable[..., T], *args: Any) -> Completed[T]:
        """Call a method, named by its class, of the object that the child holds. Raises what `call` raises."""
        return self._answer("ask", method, args)

    def call(self, function: Callable[..., T], *args: Any) -> Completed[T]:
        """Call a module-level function in the child.

        Raises:
            FanoutError: the child raised one of ours; it is raised here again.
            ChildRaised, ChildDied, ChildTimedOut, ChildTooLarge: see `converters.contract.errors`.
        """
        return self._answer("call", function, args)

    def _answer(self, how: How, function: Callable[..., T], args: tuple[Any, ...]) -> Completed[T]:
        started = measured = time.monotonic()
        held = 0
        try:
            self._pipe.send((how, function, args))
        except (BrokenPipeError, ConnectionResetError):
            raise self._died() from None
        while not connection.wait([self._pipe, self._process.sentinel], timeout=POLL_SECONDS):
            if time.monotonic() - started > self.limits.seconds:
                self.kill()
                raise self._failure(
                    ChildTimedOut,
                    f"did not finish in {self.limits.seconds:g} s (limits.seconds in the config) and was stopped",
                )
            used = self._memory()
            if time.monotonic() - measured > MEASURE_SECONDS:
                held, measured = max(held, memory.unique(self._tree())), time.monotonic()
            if used > self.limits.memory_gb * 2**30:
                self.kill()
                raise self._failure(
                    ChildTooLarge,
                    f"needed more than its limit of {self.limits.memory_gb:g} GiB of memory (limits.memory_gb in the config; "
                    f"{used / 2**30:.1f} GiB when stopped)",
                )
        try:
            kind, value, seconds = self._pipe.recv()
        except (EOFError, ConnectionResetError, pickle.UnpicklingError):
            raise self._died() from None
        if kind == "raised":
            raise value
        held = max(held, memory.unique(self._tree()))
        return Completed(value, seconds, round(held / 1e6, 1))

    def alive(self) -> bool:
        """Whether the child has not ended."""
        return self._process.is_alive()

    def close(self) -> None:
        """End the child and whatever it started."""
        for group in self._groups:
            group.children.discard(self)
        self._pipe.close()
        self.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)  # what it started may write until the kernel has ended it

    def _died(self) -> ChildFailed:
        self._process.join(5)
        code = self._process.exitcode
        self.kill()
        if code is None or code >= 0:
            return self._failure(ChildDied, f"ended with exit status {code} before it returned a result")
        name = signal.Signals(-code).name
        hint = ", as the kernel does when memory runs out" if name == "SIGKILL" else ""
        return self._failure(ChildDied, f"was ended by {name}{hint}")

    def _failure(self, kind: type[ChildFailed], what: str) -> ChildFailed:
        """One sentence; all that the child printed is in its log."""
        text = printed(self.log, self._printed_before).decode(errors="replace")
        # What it printed before says nothing of its memory.
        return kind(f"the child process {what}{'' if kind is ChildTooLarge else _last_words(text)}")

    def _tree(self) -> list[psutil.Process]:
        """The child and all it started; what was seen below it before it died is among them still."""
        try:
            root = psutil.Process(self._process.pid)
            self._seen.update(dict.fromkeys([root, *root.children(recursive=True)]))
        except psutil.NoSuchProcess:
            pass
        return [process for process in self._seen if process.is_running()]

    def _memory(self) -> int:
        """Bytes held by the child and all it started.

        Resident sizes count pages shared with the fork server once per process, so a sum above the limit is
        counted again by proportional size, which takes longer to read.
        """
        tree = self._tree()
        total = memory.resident(tree)
        return memory.proportional(tree) if total > self.limits.memory_gb * 2**30 else total

    def kill(self) -> None:
        """End the child and whatever it started, at once."""
        for process in reversed(self._tree()):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._process.join(10)


def _last_words(text: str) -> str:
    """What a child did last, by what it printed, as the end of a sentence: where it crashed, or else its last line."""
    _, crashed, dump = text.rpartition("Fatal Python error")
    if crashed and (frame := _FRAME.search(dump)):
        file, line, function = frame.groups()
        ran = f" in {function} ({'/'.join(Path(file).parts[-2:])}, line {line})"
        fatal = _FATAL.search(text)
        return f"{ran}: {said(fatal[1], 200)}" if fatal else ran
    lines = [line for line in text.splitlines() if line.strip()]
    return f"; it printed last: {said(lines[-1], 200)}" if lines else ""


_FRAME = re.compile(r'^  File "(.+)", line (\d+) in (.+)$', re.MULTILINE)
"""One of faulthandler's, of which the first is what was running (Python's library reference, faulthandler)."""
_FATAL = re.compile(r": F \S+:\d+\] (.+)")
"""What TensorFlow logs before it aborts: time, severity, file, line, reason (tsl/platform/default/logging.cc)."""
