"""What in a graph is known before it is run: constants, and what arithmetic makes of them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from converters.formats.graph import split, tensor_name

Array = np.ndarray[Any, Any]

SAME = ("Identity", "Cast", "StopGradient", "PreventGradient", "Snapshot", "EnsureShape")
SHAPED = ("Reshape", "ExpandDims", "Squeeze")
SUMS = ("Add", "AddV2")
DIVISIONS = ("RealDiv", "Div", "DivNoNan")
NORMALISATIONS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_ARITHMETIC = (
    *("Const", *SAME, *SHAPED, *SUMS, *DIVISIONS, "Sub", "Mul", "Neg", "Reciprocal", "Inv", "Maximum", "Minimum"),
    *("Rsqrt", "Sqrt", "Square", "Pow", "Pack", "ConcatV2", "BroadcastTo", "Fill"),
)
_MEETINGS = (*SUMS, *DIVISIONS, *NORMALISATIONS, "Sub", "Mul", "ConcatV2")
"""Ops in which what is known of a constant tells something of what it meets there: not in a convolution."""


class Constants:
    """A GraphDef that holds neither variables nor, as far as it matters, calls of functions.

    `nodes` are by name, each after those it reads; `readers` are those of a tensor ("node:0").
    """

    def __init__(self, graph_def: Any) -> None:
        self.nodes = _in_order({node.name: node for node in graph_def.node})
        self.readers: dict[str, list[Any]] = {}
        self._fixed: set[str] = set()
        for node in self.nodes.values():
            for name in data(node):
                self.readers.setdefault(tensor_name(name), []).append(node)
            if node.op in _ARITHMETIC and all(self.is_fixed(name) for name in data(node)):
                self._fixed.add(node.name)
        self._values = self._evaluated()

    def of(self, tensor: str) -> Any:
        """The node that a tensor comes from."""
        return self.nodes[split(tensor)[0]]

    def is_fixed(self, tensor: str) -> bool:
        """Whether it is a constant, or made of constants."""
        return split(tensor)[0] in self._fixed

    def value(self, tensor: str) -> Array | None:
        """Of what is fixed, and meets something that is not."""
        return self._values.get(tensor_name(tensor))

    def made_of(self, tensor: str, through: tuple[str, ...]) -> Iterator[Any]:
        """The nodes that a tensor is made of by these ops, nearest first."""
        waiting = [tensor]
        while waiting:
            node = self.of(waiting.pop(0))
            yield node
            if node.op in through or node.op in SAME:
                waiting += data(node)

    def unchanged(self, tensor: str) -> str:
        """The tensor that another is a copy of."""
        while self.of(tensor).op == "Identity":
            tensor = self.of(tensor).input[0]
        return tensor_name(tensor)

    def scaled(self, node: Any) -> tuple[str, float, float] | None:
        """The tensor that a node scales by a scalar, the factor, and what it adds."""
        if node.op not in (*SUMS, *DIVISIONS, "Sub", "Mul"):
            return None
        left, right = (self.value(name) for name in data(node))
        by = left if right is None else right
        if by is None or by.size != 1 or (left is not None and node.op not in (*SUMS, "Mul")):
            return None
        source, number = tensor_name(node.input[0] if left is None else node.input[1]), float(by.reshape(()))
        if node.op in SUMS:
            return source, 1.0, number
        if node.op == "Sub":
            return source, 1.0, -number
        return (source, number if node.op == "Mul" else 1 / number, 0.0) if number else None

    def _evaluated(self) -> dict[str, Array]:
        import tensorflow as tf

        waiting = [
            split(name)[0]
            for node in self.nodes.values()
            if node.op in _MEETINGS and node.name not in self._fixed
            for name in data(node)
            if self.is_fixed(name)
        ]
        part = tf.compat.v1.GraphDef()
        needed: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting += [split(source)[0] for source in data(self.nodes[name])]
                node = part.node.add()
                node.CopyFrom(self.nodes[name])
                node.input[:] = data(node)
        if not needed:
            return {}
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(part, name="")
            with tf.compat.v1.Session(graph=graph) as session:
                values = session.run({f"{name}:0": f"{name}:0" for name in needed})
        return {name: np.asarray(value) for name, value in values.items()}


def data(node: Any) -> list[str]:
    """A node's inputs, but for those that only order it."""
    return [name for name in node.input if not name.startswith("^")]


def _in_order(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Nodes, each after those it reads, but where they go round."""
    ordered: dict[str, Any] = {}
    opened: set[str] = set()
    for start in nodes:
        waiting = [start]
        while waiting:
            name = waiting[-1]
            before = [source for source in (split(n)[0] for n in data(nodes[name])) if source not in opened]
            if name in opened or not before:
                ordered.setdefault(name, nodes[waiting.pop()])
            else:
                waiting += before
            opened.add(name)
    return ordered
