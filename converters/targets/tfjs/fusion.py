"""Undoing what the converter's optimizer fuses and tensorflow.js does not know.

TensorFlow's optimizer makes one node of a product or convolution, its bias and an activation, for kernels of its own
(tensorflow/core/grappler/optimizers/remapper.cc). tensorflow.js computes fewer activations in such a node, and takes for a
bias what is one row of numbers alone: its WebAssembly kernel looks at the shape that the memory had first
(tfjs-backend-wasm/src/kernels/_FusedMatMul.ts), which for what was computed may be another, and WebGL adds what it takes for
a row where the optimizer took the sum of two convolutions for one with a bias, as in a ResNet.
"""

from typing import Any

from converters.formats.graph import node_of

_KNOWN = frozenset({"BiasAdd", "FusedBatchNorm", "Relu", "Relu6", "Elu", "LeakyRelu", "Prelu", "Sigmoid"})
"""What tensorflow.js computes in a fused node (tfjs-core/src/ops/fused_util.ts, applyActivation)."""
_PRODUCT = {
    "_FusedMatMul": "MatMul",
    "_FusedConv2D": "Conv2D",
    "_FusedDepthwiseConv2dNative": "DepthwiseConv2dNative",
}


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
    _split_hard_swishes(graph)
    _split_sums(graph)


def split_whole(graph: Any) -> None:
    """Make several nodes again of each that tensorflow.js has no kernel for at all, in place."""
    _split_hard_swishes(graph)
    _split_norms(graph)


def _split_hard_swishes(graph: Any) -> None:
    for node in [node for node in graph.node if node.op == "_FusedHardSwish"]:
        _split_hard_swish(graph, node)


def _split_hard_swish(graph: Any, node: Any) -> None:
    """Make x * relu6(x + 3) / 6 of it (tensorflow/core/grappler/optimizers/remapper.cc)."""
    name, x, dtype = node.name, node.input[0], node.attr["T"]
    for part, value in (("three", 3.0), ("sixth", 1 / 6)):
        constant = graph.node.add(name=f"{name}/{part}", op="Const")
        constant.attr["dtype"].type = dtype.type
        constant.attr["value"].tensor.dtype = dtype.type
        constant.attr["value"].tensor.tensor_shape.SetInParent()
        constant.attr["value"].tensor.float_val.append(value)
    steps = [("moved", "AddV2", [x, f"{name}/three"]), ("cut", "Relu6", [f"{name}/moved"])]
    steps.append(("share", "Mul", [f"{name}/cut", f"{name}/sixth"]))
    for part, op, given in steps:
        graph.node.add(name=f"{name}/{part}", op=op, input=given).attr["T"].CopyFrom(dtype)
    node.op, node.input[:] = "Mul", [x, f"{name}/share"]
    for key in [key for key in node.attr if key != "T"]:
        del node.attr[key]


def _split_norms(graph: Any) -> None:
    """Of each normalisation with a sum and a Relu (`_FusedBatchNormEx`)."""
    for node in list(graph.node):
        if node.op != "_FusedBatchNormEx":
            continue
        name, dtype = node.name, node.attr["T"]
        others = list(node.input[5:])
        after = [("AddV2", [each]) for each in others]
        after += (
            [] if node.attr["activation_mode"].s == b"Identity" else [(node.attr["activation_mode"].s.decode(), [])]
        )
        node.op, made = "FusedBatchNormV3", name
        del node.input[5:]
        for key in ("activation_mode", "num_side_inputs"):
            node.attr.pop(key, None)
        for number, (op, also) in enumerate(after):
            last = number == len(after) - 1
            if not number:
                node.name = made = f"{name}/norm"
            step = graph.node.add(name=name if last else f"{name}/{number}", op=op, input=[made, *also])
            step.attr["T"].CopyFrom(dtype)
            made = step.name


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
        for key in ("fused_ops", "num_args", "epsilon", "leakyrelu_alpha", "TArgs", "num_host_args"):
            node.attr.pop(key, None) if key in node.attr else None


def _is_constant(by_name: Any, tensor: str) -> bool:
    node = by_name.get(node_of(tensor))
    while node is not None and node.op == "Identity":
        node = by_name.get(node_of(node.input[0]))
    return node is not None and node.op == "Const"
