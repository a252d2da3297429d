"""How much runs side by side: as many child processes as there are cores, and as fit into memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from converters.processes import ending, memory

SHARE = 0.8
"""Of the memory that is available at first; the rest is for the fork server, the flow itself and everybody else."""
_POLL_SECONDS = 0.5


class Slots:
    """Places for child processes.

    Args:
        count: how many run at one time.
        memory_mb: what they may need together; what needs more than all of it runs alone.
    """

    def __init__(self, count: int, memory_mb: float | None = None) -> None:
        self.count = count
        self.memory_mb = memory.available() / 1e6 * SHARE if memory_mb is None else memory_mb
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int, float]] = []
        self._held: list[float] = []
        self._number = 0

    @contextmanager
    def held(self, memory_mb: float, turn: int = 0) -> Iterator[None]:
        """Hold a place for something that needs so much memory. Who has the lowest `turn` goes first, then who came first.

        Nobody goes before one that waits for memory, so that a large one is not kept waiting for ever by small ones.

        Raises:
            ChildDied: this process is ending.
        """
        with self._changed:
            self._number += 1
            ticket = (turn, self._number, memory_mb)
            self._waiting.append(ticket)
            try:
                while not (min(self._waiting) is ticket and self._fits(memory_mb)):
                    ending.require_running()
                    self._changed.wait(_POLL_SECONDS)
                self._held.append(memory_mb)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._held.remove(memory_mb)
                self._changed.notify_all()

    def _fits(self, memory_mb: float) -> bool:
        return not self._held or (len(self._held) < self.count and sum(self._held) + memory_mb <= self.memory_mb)
