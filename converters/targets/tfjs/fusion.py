"""Undoing what the converter's optimizer fuses and tensorflow.js does not know.

TensorFlow's optimizer makes one node of a product, its bias and an activation, for kernels of its own
(tensorflow/core/grappler/optimizers/remapper.cc). tensorflow.js computes fewer activations in such a node.
"""

from typing import Any

_KNOWN = frozenset({"BiasAdd", "FusedBatchNorm", "Relu", "Relu6", "Elu", "LeakyRelu", "Prelu", "Sigmoid"})
"""What tensorflow.js computes in a fused node (tfjs-core/src/ops/fused_util.ts, applyActivation)."""


def split(graph: Any) -> None:
    """Give each other activation of the GraphDef a node of its own, in place; it has the name by which the result is read."""
    for node in list(graph.node):
        fused = node.attr["fused_ops"].list.s if "fused_ops" in node.attr else []
        if not fused or fused[-1].decode() in _KNOWN:
            continue
        activation = graph.node.add(name=node.name, op=fused[-1].decode())
        activation.attr["T"].CopyFrom(node.attr["T"])
        node.name = f"{node.name}/linear"
        activation.input.append(node.name)
        del fused[-1]
