"""Ops that tensorflow.js lacks, written in ops that it has: a table, by op.

Each is the definition of the op (its page in TensorFlow's API, or tensorflow/core/ops/*_ops.cc) in other ops, and returns the
same numbers as far as float32 goes. What tensorflow.js has is listed in its converter (tensorflowjs/op_list/*.json).
A rewriting gets the node, the op's inputs, whose shapes are those that are known, and the values of inputs that are constants;
it returns None for what it does not cover.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from converters.targets.tfjs import einsum
from converters.targets.tfjs.einsum import sizes
from converters.targets.tfjs.einsum import tensorflow as _tf

Rewriting: TypeAlias = Callable[[Any, Sequence[Any], Sequence[Any]], Any]


def _where_not_zero(x: Any, product: Any) -> Any:
    tf = _tf()
    return tf.where(tf.equal(x, tf.zeros_like(x)), tf.zeros_like(product), product)


def _diagonal(matrix: Any) -> Any:
    """Which elements of the inner matrices are on the diagonal; None where their sizes are not known."""
    rows, columns = matrix.shape[-2:]
    return None if rows is None or columns is None else _tf().constant(np.eye(rows, columns, dtype=bool))


def _main_alone(inputs: Sequence[Any], constants: Sequence[Any]) -> bool:
    """Whether an op on matrices' diagonals is about the main one and asks for nothing else (V2, V3: k, sizes, padding)."""
    usual = (0, -1, -1, 0)[: len(inputs) - 1]
    return all(value is not None and np.all(value == want) for value, want in zip(constants[1:], usual, strict=False))


def _matrix_diag(node: Any, inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
    tf, x = _tf(), inputs[0]
    if x.shape.rank is None or x.shape[-1] is None or not _main_alone(inputs, constants):
        return None
    row = tf.expand_dims(x, -2)
    return tf.where(tf.constant(np.eye(x.shape[-1], dtype=bool)), row, tf.zeros_like(row))


def _matrix_set_diag(node: Any, inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
    matrix, values = inputs[:2]
    if matrix.shape.rank is None or not _main_alone(inputs[1:], constants[1:]) or (on := _diagonal(matrix)) is None:
        return None
    if matrix.shape[-2] != matrix.shape[-1]:
        return None
    return _tf().where(on, _tf().expand_dims(values, -1), matrix)


def _matrix_diag_part(node: Any, inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
    tf, matrix = _tf(), inputs[0]
    known = matrix.shape.rank is not None and all(value is None or np.all(value == 0) for value in constants[1:])
    if not known or matrix.shape[-2] != matrix.shape[-1] or (on := _diagonal(matrix)) is None:
        return None
    return tf.reduce_sum(tf.where(on, matrix, tf.zeros_like(matrix)), -1)


def _band_part(node: Any, inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
    """tensorflow.js makes floats of the band's limits and takes them for integers (tfjs-core/src/ops/linalg/band_part.ts)."""
    tf, matrix = _tf(), inputs[0]
    if matrix.shape.rank is None:
        return None
    rows, columns = (tf.range(size) for size in sizes(matrix)[-2:])
    below = rows[:, None] - columns[None, :]
    within = tf.ones_like(below, tf.bool)
    for limit, beyond in ((tf.cast(inputs[1], tf.int32), below), (tf.cast(inputs[2], tf.int32), -below)):
        within = tf.logical_and(within, tf.logical_or(limit < 0, beyond <= limit))
    return (
        tf.logical_and(matrix, within) if matrix.dtype == tf.bool else tf.where(within, matrix, tf.zeros_like(matrix))
    )


def _roll(node: Any, inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
    tf, x = _tf(), inputs[0]
    if x.shape.rank is None or constants[1] is None or constants[2] is None:
        return None
    for shift, axis in zip(np.ravel(constants[1]), np.ravel(constants[2]), strict=True):
        size = x.shape[int(axis)]
        if size is None:
            return None
        if by := int(shift) % size:
            first, second = tf.split(x, [size - by, by], axis=int(axis))
            x = tf.concat([second, first], axis=int(axis))
    return tf.identity(x)


def _batch_matmul(node: Any, inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
    if len({node.attr[name].type for name in ("Ta", "Tb", "Tout")}) > 1:
        return None
    return _tf().matmul(*inputs, adjoint_a=node.attr["adj_x"].b, adjoint_b=node.attr["adj_y"].b)


def groups(op: Any) -> int:
    """How many groups of channels a convolution (tf.Operation) has; 1 where that is not known."""
    return _groups(op.inputs, op.get_attr("data_format"))


def _groups(inputs: Sequence[Any], data_format: bytes) -> int:
    x, kernel = inputs[:2]
    if not x.shape.rank or not kernel.shape.rank:
        return 1
    channels, each = x.shape[1 if data_format.startswith(b"NC") else -1], kernel.shape[-2]
    return channels // each if channels and each else 1


def _grouped(node: Any, inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
    """A convolution for each group of channels; tensorflow.js has none in groups (tfjs-core/src/ops/conv2d.ts)."""
    tf, count = _tf(), _groups(inputs, node.attr["data_format"].s)
    if count == 1 or node.attr["data_format"].s == b"NCHW":
        return None
    attributes = {name: list(node.attr[name].list.i) for name in ("strides", "dilations", "explicit_paddings")}
    attributes["padding"] = node.attr["padding"].s.decode()
    kernel = inputs[1] if constants[1] is None else tf.constant(constants[1])
    parts = zip(tf.split(inputs[0], count, -1), tf.split(kernel, count, -1), strict=True)
    return tf.concat([tf.raw_ops.Conv2D(input=x, filter=each, **attributes) for x, each in parts], -1)


def _fake_quant(node: Any, inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
    """Rounding to a grid that has zero (tensorflow/core/kernels/fake_quant_ops_functor.h); tensorflow.js does nothing."""
    tf, x = _tf(), inputs[0]
    if constants[1] is None or constants[2] is None:
        return None
    low, high = np.float32(constants[1]), np.float32(constants[2])
    first, last = np.float32(node.attr["narrow_range"].b), np.float32(2 ** node.attr["num_bits"].i - 1)
    scale = (high - low) / (last - first)
    zero = np.float32(np.clip(np.floor(first - low / scale + np.float32(0.5)), first, last))
    least, most = (first - zero) * scale, (last - zero) * scale
    steps = tf.floor((tf.clip_by_value(x, least, most) - least) * (np.float32(1.0) / scale) + 0.5)
    return steps * scale + least


def _select(node: Any, inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
    """Of whole rows, as `Select` chooses by a vector (tensorflow/core/kernels/cwise_op_select.cc), where SelectV2 broadcasts."""
    tf, (condition, x, y) = _tf(), inputs
    if x.shape.rank is None:
        return None
    return tf.where(tf.reshape(condition, [-1, *[1] * (x.shape.rank - 1)]), x, y)


def _of_rows(op: Any) -> bool:
    """Whether an op `Select` chooses whole rows."""
    return op.inputs[0].shape.rank == 1 and (op.inputs[1].shape.rank or 0) > 1


def _along_last(node: Any, inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
    """An axis that is counted from the end, which tensorflow.js's kernels do not know (tfjs-core/src/ops/cumsum.ts)."""
    tf, x = _tf(), inputs[0]
    if x.shape.rank is None or constants[1] is None:
        return None
    how = {name: node.attr[name].b for name in ("exclusive", "reverse")}
    return getattr(tf.raw_ops, node.op)(x=x, axis=int(constants[1]) % x.shape.rank, **how)


def _counts_from_the_end(op: Any) -> bool:
    axis = _tf().get_static_value(op.inputs[1])
    return axis is not None and int(axis) < 0 and op.inputs[0].shape.rank is not None


def _norm_of_given(node: Any, inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
    """Normalisation by the mean and variance of what is given, as tf_keras's LayerNormalization has it (`is_training`).

    tensorflow.js takes the op's other inputs for them, which are empty then (tfjs-converter, normalization_executor.ts).
    """
    tf, (x, scale, offset) = _tf(), inputs[:3]
    rank = x.shape.rank
    if rank is None:
        return None
    channel = 1 if node.attr["data_format"].s.startswith(b"NC") else rank - 1
    others = [axis for axis in range(rank) if axis != channel]
    along = [-1 if axis == channel else 1 for axis in range(rank)]
    centred = x - tf.reduce_mean(x, others, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), others, keepdims=True)
    return centred * tf.math.rsqrt(variance + node.attr["epsilon"].f) * tf.reshape(scale, along) + tf.reshape(
        offset, along
    )


def _by_given(op: Any) -> bool:
    """Whether a normalisation is by the statistics of what it is given, and nobody asks for these."""
    return bool(op.get_attr("is_training")) and not any(tensor.consumers() for tensor in op.outputs[1:])


def of_values(compute: Callable[..., Any]) -> Rewriting:
    """A rewriting of an op that is a function of its inputs alone."""
    return lambda node, inputs, constants: compute(*inputs)


TABLE: Mapping[str, Rewriting] = {
    "AccumulateNV2": lambda node, inputs, constants: _tf().add_n(list(inputs)),
    "BatchMatMulV3": _batch_matmul,
    "CheckNumerics": of_values(lambda x: _tf().identity(x)),
    "Conv2D": _grouped,
    "Cumprod": _along_last,
    "Cumsum": _along_last,
    "Einsum": einsum.rewritten,
    "Erfc": of_values(lambda x: 1.0 - _tf().math.erf(x)),
    "FakeQuantWithMinMaxVars": _fake_quant,
    "FusedBatchNorm": _norm_of_given,
    "FusedBatchNormV2": _norm_of_given,
    "FusedBatchNormV3": _norm_of_given,
    "Inv": of_values(lambda x: _tf().math.reciprocal(x)),
    "L2Loss": of_values(lambda x: _tf().reduce_sum(_tf().square(x)) * 0.5),
    "MatrixBandPart": _band_part,
    "MatrixDiag": _matrix_diag,
    "MatrixDiagV2": _matrix_diag,
    "MatrixDiagV3": _matrix_diag,
    "MatrixDiagPart": _matrix_diag_part,
    "MatrixDiagPartV2": _matrix_diag_part,
    "MatrixDiagPartV3": _matrix_diag_part,
    "MatrixSetDiag": _matrix_set_diag,
    "MatrixSetDiagV2": _matrix_set_diag,
    "MatrixSetDiagV3": _matrix_set_diag,
    "PreventGradient": of_values(lambda x: _tf().identity(x)),
    "Rint": of_values(lambda x: _tf().round(x)),
    "Roll": _roll,
    "Select": _select,
    "Softsign": of_values(lambda x: x / (_tf().abs(x) + 1.0)),
    "TensorScatterAdd": of_values(
        lambda x, indices, updates: x + _tf().scatter_nd(indices, updates, _tf().shape(x, indices.dtype))
    ),
    "TensorScatterSub": of_values(
        lambda x, indices, updates: x - _tf().scatter_nd(indices, updates, _tf().shape(x, indices.dtype))
    ),
    "Xdivy": of_values(lambda x, y: _where_not_zero(x, x / y)),
    "Xlog1py": of_values(lambda x, y: _where_not_zero(x, x * _tf().math.log1p(y))),
    "Xlogy": of_values(lambda x, y: _where_not_zero(x, x * _tf().math.log(y))),
}
"""Op -> rewriting."""

ALSO: Mapping[str, Callable[[Any], bool]] = {
    "Conv2D": lambda op: groups(op) > 1,
    **dict.fromkeys(("Cumprod", "Cumsum"), _counts_from_the_end),
    "Einsum": lambda op: True,
    "FakeQuantWithMinMaxVars": lambda op: True,
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), _by_given),
    "MatrixBandPart": lambda op: True,
    "Select": _of_rows,
}
"""Ops that tensorflow.js has, but not for every backend or not rightly: which of them (tf.Operation) are written otherwise."""
