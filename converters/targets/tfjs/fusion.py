"""Undoing what the converter's optimizer fuses and tensorflow.js does not know.

TensorFlow's optimizer makes one node of a product, its bias and an activation, for kernels of its own
(tensorflow/core/grappler/optimizers/remapper.cc). tensorflow.js computes fewer activations in such a node, and takes for a
bias what is one row of numbers alone: its WebAssembly kernel looks at the shape that the memory had first
(tfjs-backend-wasm/src/kernels/_FusedMatMul.ts), which for what was computed may be another.
"""

from typing import Any

from converters.formats.graph import node_of

_KNOWN = frozenset({"BiasAdd", "FusedBatchNorm", "Relu", "Relu6", "Elu", "LeakyRelu", "Prelu", "Sigmoid"})
"""What tensorflow.js computes in a fused node (tfjs-core/src/ops/fused_util.ts, applyActivation)."""
_PRODUCT = {"_FusedMatMul": "MatMul"}


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
    _split_sums(graph)


def _split_sums(graph: Any) -> None:
    """Give each sum with a bias that is computed a node of its own, and the product before it."""
    by_name = {node.name: node for node in graph.node}
    for node in list(graph.node):
        fused = [name.decode() for name in node.attr["fused_ops"].list.s] if node.op in _PRODUCT else []
        if fused[:1] != ["BiasAdd"] or _is_constant(by_name, node.input[2]):
            continue
        name, bias, dtype = node.name, node.input[2], node.attr["T"]
        for number, activation in enumerate(reversed(fused[1:])):
            after = graph.node.add(name=name if not number else f"{name}/{number}", op=activation)
            after.attr["T"].CopyFrom(dtype)
            if activation == "LeakyRelu":
                after.attr["alpha"].CopyFrom(node.attr["leakyrelu_alpha"])
            after.input.append(f"{name}/{number + 1}" if number + 1 < len(fused) - 1 else f"{name}/sum")
        total = graph.node.add(name=f"{name}/sum" if len(fused) > 1 else name, op="AddV2")
        total.attr["T"].CopyFrom(dtype)
        node.name = f"{name}/product"
        total.input.extend([node.name, bias])
        node.op = _PRODUCT[node.op]
        del node.input[2:]
        for key in ("fused_ops", "num_args", "epsilon", "leakyrelu_alpha"):
            node.attr.pop(key, None) if key in node.attr else None


def _is_constant(by_name: Any, tensor: str) -> bool:
    node = by_name.get(node_of(tensor))
    while node is not None and node.op == "Identity":
        node = by_name.get(node_of(node.input[0]))
    return node is not None and node.op == "Const"
