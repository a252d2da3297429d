"""Python's garbage collector, kept from walking over and over through what a large import makes and nothing frees."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import in the block: the collector rests meanwhile, and what is there at its end is never looked at again.

    Of TensorFlow's import it takes a fifth. In a process that is forked its looking would copy pages, too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


def end() -> None:
    """Called last: the interpreter then ends without looking for what it could free, which takes it a third of a second."""
    gc.freeze()
