"""Einsum as a product of matrices, which tensorflow.js has on every backend."""

from collections.abc import Sequence
from typing import Any


def tensorflow() -> Any:
    """TensorFlow, imported when a graph is rewritten."""
    import tensorflow as tf

    return tf


def rewritten(node: Any, inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
    """A product of matrices, as tf.einsum computes it itself (tensorflow/core/kernels/linalg/einsum_op_impl.h).

    tensorflow.js has no kernel for it in WebAssembly, and elsewhere knows no `...` (tfjs-core/src/backends/einsum_util.ts).
    """
    tf, terms = tensorflow(), _terms(node, inputs)
    if terms is None:
        return None
    (a, b), (left, right, out) = inputs, terms
    shared = [label for label in left if label in right]
    batch, summed = [x for x in shared if x in out], [x for x in shared if x not in out]
    rows, columns = [x for x in left if x not in right], [x for x in right if x not in left]
    size = {label: sizes(a)[place] for place, label in enumerate(left)}
    size |= {label: sizes(b)[place] for place, label in enumerate(right)}

    def matrices(x: Any, labels: Sequence[str], parts: Sequence[Sequence[str]]) -> Any:
        order = [labels.index(label) for part in parts for label in part]
        sizes = [size[label] for label in parts[0]] + [_product([size[label] for label in part]) for part in parts[1:]]
        return tf.reshape(tf.transpose(x, order), _shape(sizes))

    product = tf.matmul(matrices(a, left, (batch, rows, summed)), matrices(b, right, (batch, summed, columns)))
    made = [*batch, *rows, *columns]
    return tf.transpose(tf.reshape(product, _shape([size[label] for label in made])), [made.index(x) for x in out])


def _terms(node: Any, inputs: Sequence[Any]) -> list[list[str]] | None:
    """The labels of both inputs and of the output; None where it is no product of matrices, or sizes are broadcast."""
    equation = node.attr["equation"].s.decode().replace(" ", "")
    given, arrow, out = equation.partition("->")
    sides = given.split(",")
    if not arrow or len(sides) != 2 or len(inputs) != 2 or any(x.shape.rank is None for x in inputs):
        return None
    widths = [x.shape.rank - len(side.replace("...", "")) for side, x in zip(sides, inputs, strict=True)]
    terms = []
    for side, width in zip((*sides, out), (*widths, max(widths)), strict=True):
        before, dots, after = side.partition("...")
        terms.append([*before, *(f"...{width - place}" for place in range(width if dots else 0)), *after])
    left, right, last = terms
    one_each = all(len(set(term)) == len(term) for term in terms)
    known = {*left, *right} == {*last} | ({*left} & {*right})
    sizes = [(inputs[0].shape[left.index(x)], inputs[1].shape[right.index(x)]) for x in left if x in right]
    broadcast = any(1 in pair and pair != (1, 1) for pair in sizes)
    return terms if one_each and known and not broadcast else None


def sizes(x: Any) -> list[Any]:
    """Of each dimension, as a number where it is known."""
    shape = tensorflow().shape(x)
    return [shape[place] if size is None else size for place, size in enumerate(x.shape)]


def _product(sizes: Sequence[Any]) -> Any:
    total: Any = 1
    for size in sizes:
        total = total * size
    return total


def _shape(sizes: Sequence[Any]) -> Any:
    return tensorflow().stack(list(sizes)) if any(not isinstance(size, int) for size in sizes) else list(sizes)
