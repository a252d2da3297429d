"""Folding batch normalisation into weights, as tensorflow.js's converter does, in time that does not grow with them.

The converter scales a kernel element by element in a Python loop over `numpy.nditer`
(tensorflowjs/converters/fold_batch_norms.py, 4.22), which for MobileNetV2 is most of a conversion. Its loop body holds
for arrays as well as for numbers, so within `at_once` it is run a single time, for all elements together. The result is
the same to the last bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np


class _AllAtOnce:
    """What the loop uses of `numpy.nditer`: one step, whose element is the whole array and whose index is every index."""

    def __init__(self, array: np.ndarray[Any, Any], flags: Any, op_flags: Any) -> None:
        self._array = array
        self.multi_index = np.ix_(*(np.arange(size) for size in array.shape))
        self.finished = array.size == 0

    def __getitem__(self, operand: int) -> np.ndarray[Any, Any]:
        return self._array

    def __setitem__(self, operand: int, value: np.ndarray[Any, Any]) -> None:
        self._array[...] = value

    def iternext(self) -> bool:
        self.finished = True
        return False


class _Numpy:
    nditer = _AllAtOnce

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@contextmanager
def at_once() -> Iterator[None]:
    """Until the end of the block the converter folds without looping over elements."""
    from tensorflowjs.converters import fold_batch_norms

    with mock.patch.object(fold_batch_norms, "np", _Numpy()):
        yield
