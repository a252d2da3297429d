"""What a call costs, foreseen from a graph's ops and the sizes of its inputs; nothing is run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from converters.contract.values import Tensors
from converters.formats.flat import Flat
from converters.formats.graph import nodes, split
from converters.formats.specs import dimensions

_LOOPS = frozenset({"While", "StatelessWhile"})
_WINDOWS = ("Conv", "DepthwiseConv", "MaxPool", "AvgPool")


def work(flat: Flat, inputs: Tensors) -> int:
    """Multiply-adds of a call with these inputs, and the elements that its ops make.

    What is in a loop counts as if each constant were multiplied by the inputs once in a step, and the longest dimension of
    an input were the steps. Raises whatever TensorFlow does.
    """
    sized = _sized(flat, inputs)
    shapes = Shapes(sized)
    made = sum(shapes.elements(node.name) for node in sized.node if node.op not in ("Const", "Placeholder"))
    looped = 0
    if any(node.op in _LOOPS for node in sized.node):
        constants = (node.attr["value"].tensor for node in nodes(sized) if node.op == "Const")
        weights = sum(math.prod(dimension.size for dimension in each.tensor_shape.dim) for each in constants)
        batch = max((value.shape[0] for value in inputs.values() if value.ndim), default=1)
        steps = max((size for value in inputs.values() for size in value.shape[1:]), default=1)
        looped = weights * batch * steps
    return multiply_adds(sized) + made + looped


def hollow(flat: Flat, inputs: Tensors) -> bool:
    """Whether these inputs are smaller than a window of the model's, of which nothing is left then, and after which what it
    computes has nothing to do with them. Raises whatever TensorFlow does.
    """
    try:
        sized = _sized(flat, inputs)
    except ValueError as error:  # of what a kernel computes all the same, and not always the same
        if "Negative dimension size" in str(error):
            return True
        raise
    shapes = (
        dimensions(shape)
        for node in sized.node
        if node.op.startswith(_WINDOWS)
        for shape in node.attr["_output_shapes"].list.shape
    )
    return any(0 in shape for shape in shapes if shape is not None)


def _sized(flat: Flat, inputs: Tensors) -> Any:
    """The graph with the shapes that its tensors have for these inputs."""
    import tensorflow as tf

    by_name = {node.name: node for node in flat.graph_def.node}
    with tf.Graph().as_default() as graph:
        fed = {
            tensor: tf.compat.v1.placeholder(by_name[split(tensor)[0]].attr["dtype"].type, inputs[name].shape)
            for name, tensor in flat.inputs.items()
        }
        tf.import_graph_def(flat.graph_def, input_map=fed, name="flat")
        return graph.as_graph_def(add_shapes=True)


def most(weights: int, inputs: Tensors) -> int:
    """What a call costs at most, as long as the model makes its inputs no larger: all with all weights and with themselves."""
    elements = sum(value.size for value in inputs.values())
    return (elements + weights) * elements


def multiply_adds(graph_def: Any) -> int:
    """In convolutions and products of matrices of a graph with shapes; dimensions that are not known count as 1."""
    shapes = Shapes(graph_def)
    return sum(_multiply_adds(node, shapes) for node in graph_def.node)


class Shapes:
    """Of a GraphDef's tensors, as its nodes' attribute `_output_shapes` tells them."""

    def __init__(self, graph_def: Any) -> None:
        self._nodes = {node.name: node for node in graph_def.node}

    def of(self, tensor: str) -> tuple[int, ...]:
        """A dimension that is not known is 1."""
        name, index = split(tensor)
        shapes = self._nodes[name].attr["_output_shapes"].list.shape
        return tuple(size or 1 for size in (dimensions(shapes[index]) if index < len(shapes) else None) or ())

    def elements(self, tensor: str) -> int:
        """How many."""
        return math.prod(self.of(tensor))


def _multiply_adds(node: Any, shapes: Shapes) -> int:
    outputs = shapes.elements(node.name)
    if node.op.startswith(("Conv", "DepthwiseConv")) and len(node.input) > 1:
        kernel = shapes.of(node.input[1])
        if "BackpropInput" in node.op:  # of a transposed convolution, each of whose inputs meets the kernel once
            return shapes.elements(node.input[2]) * math.prod(kernel[:-1])
        return outputs * math.prod(kernel[:-1] if node.op.startswith("Conv") else kernel[:-2])
    if "MatMul" in node.op:
        return outputs * (shapes.of(node.input[0]) or (1,))[-1]
    if node.op == "Einsum":
        return outputs * _summed(node, [shapes.of(name) for name in node.input])
    return 0


def _summed(node: Any, operands: Sequence[tuple[int, ...]]) -> int:
    """How many products are added for an element of what an Einsum returns."""
    given, _, returned = node.attr["equation"].s.decode().partition("->")
    sizes: dict[str, int] = {}
    for labels, shape in zip(given.split(","), operands, strict=True):
        before, _, after = labels.partition("...")
        sizes |= dict(zip(before, shape, strict=False)) | dict(zip(reversed(after), reversed(shape), strict=False))
    return math.prod(size for label, size in sizes.items() if label not in returned)


def affordable(works: Sequence[int], most_work: float) -> tuple[int, ...]:
    """The indices of calls that cost no more together: the last, then the others in their order; none where no call does.

    Latency is measured on the last, and it is the smallest of golden.
    """
    chosen: set[int] = set()
    left = most_work
    last = range(max(0, len(works) - 1), len(works))
    for index in (*last, *range(len(works) - 1)):
        if works[index] <= left:
            chosen.add(index)
            left -= works[index]
    return tuple(sorted(chosen))


Works = Mapping[str, Sequence[int]]
"""By signature, what each call of golden costs; nothing for one where it is not known."""
