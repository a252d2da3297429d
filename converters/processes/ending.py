"""How child processes come to an end before their work does.

who ends it                        what is ended
end_all, at Ctrl-C or a signal     every child of this process, which starts no more
Group.end, of a cluster's worker   the children that one unit of work has started, which starts no more
the parent's death (Linux)         each child, whom the kernel sends SIGKILL (`launch.end_with_parent`)
the parent's death (elsewhere)     each child that is idle, since its pipe is closed
`Child`, at a limit                that child, with all that it has started
"""

import contextvars
import threading
from typing import Protocol

from converters.contract.errors import ChildDied


class Endable(Protocol):
    """A child process."""

    def kill(self) -> None:
        """End it at once."""


class Group:
    """Children that can be ended together: those started by the thread that is in the `with` block."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.children: set[Endable] = set()

    def __enter__(self) -> "Group":
        self._token = _group.set(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _group.reset(self._token)

    def end(self) -> None:
        """End every child of the group now, and refuse new ones. May be called from any thread."""
        self.ended.set()
        for child in list(self.children):
            child.kill()


_all = Group()
_group: contextvars.ContextVar[Group] = contextvars.ContextVar("group", default=_all)


def groups() -> set[Group]:
    """Those that a child is in which this thread starts."""
    return {_all, _group.get()}


def end_all() -> None:
    """End every child of this process now, and refuse new ones: the process is about to end itself."""
    _all.end()


def begun() -> bool:
    """Whether the children of this thread were ended: one that died then did not crash."""
    return any(group.ended.is_set() for group in groups())


def require_running() -> None:
    """Raises ChildDied once they were."""
    if begun():
        raise ChildDied("no child process is started while this one is ending")
