"""Data types: TensorFlow's names for them, its codes, and NumPy's."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import ml_dtypes  # noqa: F401 -- teaches NumPy the name bfloat16
import numpy as np

from converters.formats.protos import load

Array = np.ndarray[Any, Any]

CODES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "string": 7, "complex64": 8}
CODES |= {"int64": 9, "bool": 10, "bfloat16": 14, "uint16": 17, "complex128": 18, "float16": 19}
CODES |= {"uint32": 22, "uint64": 23}
"""Data type that an array can have, by TensorFlow's name -> TF_DataType (tf_datatype.h, the same as in types.proto)."""
NAMES = {code: name for name, code in CODES.items()}
DTYPES = {name: np.dtype(object if name == "string" else name) for name in CODES}


def is_inexact(array: Array) -> bool:
    """Whether an error can be small; by name, since NumPy counts bfloat16 among no kind of its own."""
    return any(kind in array.dtype.name for kind in ("float", "complex"))


@cache
def name_of(code: int) -> str:
    """TensorFlow's name for a DataType; a reference type is its base type plus 100 (types.proto)."""
    kinds = load("tensorflow.core.framework.types_pb2").DataType
    others = {number: name.removeprefix("DT_").lower() for name, number in kinds.items()}
    return NAMES.get(code % 100) or others.get(code % 100, str(code))


def dtype_name(array: Array) -> str:
    """TensorFlow's name for an array's dtype; strings may be bytes, text, or objects of either."""
    return "string" if array.dtype.kind in "OSU" else array.dtype.name


def content(array: Array) -> bytes:
    """What makes two arrays of one dtype and shape the same: every byte of them."""
    return repr(array.tolist()).encode() if array.dtype == object else np.ascontiguousarray(array).tobytes()


def lost(array: Array, dtype: str) -> Array:
    """Which numbers a dtype does not hold: integers that are others in it, and floats that are infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        held = array.astype(dtype)
    return np.asarray(held != array if array.dtype.kind in "iu" else np.isinf(held) & ~np.isinf(array))


def numpy_dtype(name: str) -> np.dtype[Any]:
    """NumPy's dtype of TensorFlow's name for it."""
    return np.dtype(name)


def as_bytes(item: Any) -> bytes:
    """An element of a string tensor."""
    return item if isinstance(item, bytes) else str(item).encode()


def objects(items: Sequence[Any]) -> Array:
    """A string tensor (or of what else NumPy must not look into), [n]."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def as_strings(lines: Iterable[str]) -> Array:
    """A string tensor of shape [n]."""
    return objects([line.encode() for line in lines])


def as_dtype(array: Array, name: str) -> Array:
    """The array in a dtype. Raises ValueError or TypeError where the values are none of that dtype's."""
    if name == "string":
        return objects([as_bytes(item) for item in array.ravel()]).reshape(array.shape)
    dtype = numpy_dtype(name)
    with np.errstate(invalid="ignore"):
        converted = array.astype(dtype)
    if dtype.kind in "biu" and not np.array_equal(converted, array):
        raise ValueError("it holds other values")
    return converted
