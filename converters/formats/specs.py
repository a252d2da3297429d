"""Shape and dtype of one tensor, from what TensorFlow's protos and its live tensors say of it."""

import math
from typing import Any

from converters.contract.values import TensorSpec
from converters.formats import dtypes


def dimensions(shape: Any) -> tuple[int | None, ...] | None:
    """Of a TensorShapeProto. None is an unknown rank, or an unknown size."""
    return None if shape.unknown_rank else tuple(None if d.size < 0 else d.size for d in shape.dim)


def of_info(info: Any) -> TensorSpec:
    """Of a TensorInfo; a reference to a variable is of the variable's dtype."""
    return TensorSpec(shape=dimensions(info.tensor_shape), dtype=dtypes.name_of(info.dtype))


def of_tensor(tensor: Any) -> TensorSpec:
    """Of a tensor, a tf.TensorSpec, or an input or output of either Keras."""
    import tensorflow as tf

    shape = tf.TensorShape(tensor.shape)
    return TensorSpec(shape=None if shape.rank is None else tuple(shape), dtype=tf.as_dtype(tensor.dtype).name)


MOST_BYTES = 1 << 30
"""Of one sample of one input: more is an attack, or a mistake."""


def problem(tensor: TensorSpec) -> str | None:
    """Why no input can be of this shape and dtype, as the end of a sentence; None where one can."""
    if tensor.dtype not in dtypes.DTYPES:
        return f"there is no dtype {tensor.dtype!r}; choose from {', '.join(dtypes.DTYPES)}"
    sizes = [size for size in tensor.shape or () if size is not None]
    if any(size < 0 for size in sizes):
        return f"a dimension of {list(tensor.shape or ())} is negative; one that is free is null"
    size = math.prod(sizes) * dtypes.DTYPES[tensor.dtype].itemsize
    return (
        f"one sample of {list(tensor.shape or ())} takes {size} bytes; {MOST_BYTES} are the most"
        if size > MOST_BYTES
        else None
    )
