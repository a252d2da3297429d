"""A thread that works beside a block."""

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Have `work` run in a thread, in this one's context; the event that it is given is set when the block is left."""
    over = threading.Event()
    thread = threading.Thread(target=contextvars.copy_context().run, args=(work, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
