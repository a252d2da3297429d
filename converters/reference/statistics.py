"""What a graph says of the data its model was trained on: means and variances that its normalisations hold.

Read from ops alone, for names and classes of layers are lost in an export: from batch normalisation, fused
(FusedBatchNorm*, tensorflow/core/ops/nn_ops.cc) or as `tf.nn.batch_normalization` computes it,
x * k + (offset - mean * k) with k = scale * rsqrt(variance + epsilon), and from (x - mean) / deviation, as a
Normalization layer or a tf.Module computes it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.formats.graph import tensor_name
from converters.reference.constants import DIVISIONS, NORMALISATIONS, SAME, SHAPED, SUMS, Array, Constants, data

_LARGEST_EPSILON = 0.01
"""Of what is added to a variance before its root is taken; batch normalisations have 1e-5 to 1e-3."""


@dataclass(frozen=True, eq=False)
class Statistic:
    """Mean and variance of a tensor ("node:0") over the data that the model was trained on.

    Both are broadcast to the tensor; they were taken over its dimensions that they lack or have as 1. `epsilon` is what
    the model adds to the variance.
    """

    tensor: str
    mean: Array
    variance: Array
    epsilon: float = 0.0


def find(constants: Constants) -> list[Statistic]:
    """Those that a graph holds, in the order in which it computes them; a tensor's first counts."""
    found: dict[str, Statistic] = {}
    for node in constants.nodes.values():
        if constants.is_fixed(node.name):
            continue
        if node.op in NORMALISATIONS:
            statistic = _fused(constants, node)
        elif node.op in SUMS:
            statistic = _decomposed(constants, node)
        elif node.op == "Sub":
            statistic = _standardised(constants, node)
        else:
            continue
        if statistic is not None and _sensible(statistic):
            found.setdefault(statistic.tensor, statistic)
    return list(found.values())


def _sensible(statistic: Statistic) -> bool:
    mean, variance = statistic.mean, statistic.variance
    return mean.shape == variance.shape and bool(
        np.isfinite(mean).all() and ((variance >= 0) & np.isfinite(variance)).all()
    )


def _fused(constants: Constants, node: Any) -> Statistic | None:
    mean, variance = (constants.value(name) for name in node.input[3:5])
    if node.attr["is_training"].b or mean is None or variance is None:
        return None
    if node.attr["data_format"].s == b"NCHW":
        mean, variance = mean[:, None, None], variance[:, None, None]
    return Statistic(tensor_name(node.input[0]), mean, variance, float(node.attr["epsilon"].f))


def _decomposed(constants: Constants, node: Any) -> Statistic | None:
    """x * k + (offset - mean * k), or - mean * k alone."""
    for product, rest in _either(node):
        multiplied = constants.of(product)
        if multiplied.op != "Mul" or not constants.is_fixed(rest):
            continue
        for x, k in _either(multiplied):
            if constants.is_fixed(x) or not constants.is_fixed(k):
                continue
            mean, root = _mean_within(constants, rest, k), _root(constants, k)
            if mean is not None and root is not None:
                return Statistic(tensor_name(x), mean, *root)
    return None


def _mean_within(constants: Constants, tensor: str, k: str) -> Array | None:
    """What is multiplied by k in `offset - mean * k`."""
    for node in constants.made_of(tensor, ("Sub", "Neg")):
        for factor, other in _either(node) if node.op == "Mul" else ():
            if constants.unchanged(other) == constants.unchanged(k):
                mean = constants.value(factor)
                return -mean if mean is not None and constants.of(factor).op == "Neg" else mean
    return None


def _standardised(constants: Constants, node: Any) -> Statistic | None:
    """(x - mean), then divided by a root or multiplied by the reciprocal of one, perhaps scaled before."""
    mean = constants.value(node.input[1])
    if mean is None or constants.is_fixed(node.input[0]):
        return None
    reached = f"{node.name}:0"
    while True:
        readers = [reader for reader in constants.readers.get(reached, []) if reader.op != "Shape"]
        if len(readers) != 1 or readers[0].op not in (*SAME, *DIVISIONS, "Mul"):
            return None
        (reader,) = readers
        for by in filter(constants.is_fixed, data(reader)):
            value, root = constants.value(by), _root(constants, by)
            if root is None and reader.op in DIVISIONS and mean.size > 1 and value is not None:
                # Deviations as plain numbers, one a channel, as torchvision's models have them.
                root = np.square(value), 0.0
            if root is not None and root[0].size == mean.size:
                return Statistic(tensor_name(node.input[0]), mean, root[0].reshape(mean.shape), root[1])
        reached = f"{reader.name}:0"


def _root(constants: Constants, tensor: str) -> tuple[Array, float] | None:
    """The variance, and what is added to it, whose root a constant is made of; shaped as the constant is."""
    whole = constants.value(tensor)
    for node in constants.made_of(tensor, ("Mul", "Maximum", "Reciprocal", "Inv", *DIVISIONS, *SHAPED)):
        if node.op not in ("Rsqrt", "Sqrt") or whole is None:
            continue
        variance, epsilon = constants.value(node.input[0]), 0.0
        summed = constants.of(constants.unchanged(node.input[0]))
        for term, other in _either(summed) if summed.op in SUMS else ():
            small = constants.value(other)
            if small is not None and small.ndim == 0 and 0 < small <= _LARGEST_EPSILON:
                variance, epsilon = constants.value(term), float(small)
        if variance is not None:
            return (variance.reshape(whole.shape) if variance.size == whole.size else variance), epsilon
    return None


def _either(node: Any) -> tuple[tuple[str, str], tuple[str, str]]:
    """The two inputs of a node in which they may be exchanged."""
    left, right = data(node)
    return (left, right), (right, left)
