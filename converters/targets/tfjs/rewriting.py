"""Making a frozen graph one of ops that tensorflow.js has, where it is not: calls inlined, constants folded, ops rewritten."""

from collections.abc import Iterable
from typing import Any

from converters.contract.errors import Unsupported
from converters.formats import graph
from converters.targets.tfjs import internals
from converters.targets.tfjs.rewritings import ALSO, TABLE, Rewriting, groups

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_APART = ("_XlaMustCompile", "_noinline")
"""Attributes of functions that are not inlined, such as those that XLA compiles as a whole (tensorflow/compiler/jit/defs.cc,
tensorflow/core/framework/function.h)."""
_DROPPED = frozenset({"Assert", "Print", "PrintV2"})
"""Ops that only tell a person something."""


def rewritten(given: Any, signature: Any) -> Any:
    """The graph (tf.Graph), or another with the same inputs and outputs where it has ops that tensorflow.js has not.

    `signature` is the SignatureDef of its inputs and outputs.
    """
    definition = given.as_graph_def()
    if not internals.lacking(definition) and not any(ALSO[op.type](op) for op in _among(given, ALSO)):
        return given
    _plain(definition)
    made = _imported(internals.optimized(definition, given, signature, ("function", "constfold")))
    definition = made.as_graph_def()
    if not _replace(definition, made, internals.lacking(definition), signature):
        return made
    return _imported(internals.optimized(definition, _imported(definition), signature, ("function",)))


def require_no_groups(made: Any) -> None:
    """Raises Unsupported where a convolution of the graph is in groups: tensorflow.js has none."""
    for op in _among(made, ("Conv2D", "Conv3D")):
        if (count := groups(op)) > 1:
            raise Unsupported(
                f"tensorflow.js has no convolution in groups, and node {op.name} ({op.type}) has {count} groups; use a "
                "convolution for each group and concatenate what they return"
            )


def _among(given: Any, types: Iterable[str]) -> list[Any]:
    return [op for op in given.get_operations() if op.type in types]


def _imported(definition: Any) -> Any:
    import tensorflow as tf

    with tf.Graph().as_default() as made:
        tf.import_graph_def(definition, name="")
    return made


def _plain(definition: Any) -> None:
    """Without what keeps functions from being inlined, and what is said to a person alone."""
    for node in graph.nodes(definition):
        if node.op in _CALLS:
            _clear(node)
        elif node.op in _DROPPED:
            node.op = "NoOp"
            node.attr.clear()
            controls = dict.fromkeys(f"^{graph.node_of(name)}" for name in node.input)
            node.input[:] = list(controls)
    for function in definition.library.function:
        _clear(function)


def _clear(function: Any) -> None:
    for name in _APART:
        if name in function.attr:
            del function.attr[name]


def _replace(definition: Any, made: Any, lacking: set[str], signature: Any) -> bool:
    """Make a call of each node that has a rewriting, in place; whether there was any. `made` is the graph as tf.Graph."""
    import tensorflow as tf

    ends = {graph.node_of(info.name) for info in signature.outputs.values()}
    replaced = False
    for node in list(definition.node):
        op = made.get_operation_by_name(node.name)
        wanted = op.type in lacking or (op.type in ALSO and ALSO[op.type](op))
        if op.type not in TABLE or not wanted:
            continue
        inputs = [(tensor.shape, tensor.dtype, tf.get_static_value(tensor)) for tensor in op.inputs]
        function = _function(TABLE[op.type], node, inputs)
        if function is None:
            continue
        _call(definition, node, function, [dtype for _, dtype, _ in inputs])
        replaced = True
        if node.name in ends:
            end = definition.node.add(name=node.name, op="Identity", input=[f"{node.name}/rewritten"])
            end.attr["T"].type = function.outputs[0].dtype.as_datatype_enum
            node.name = f"{node.name}/rewritten"
    return _replace_in_bodies(definition, lacking) or replaced


def _replace_in_bodies(definition: Any, lacking: set[str]) -> bool:
    """The same in functions' bodies, as loops have them: there no shapes are known, and inputs are of the node's type T."""
    import tensorflow as tf

    replaced = False
    for body in list(definition.library.function):
        for node in body.node_def:
            types = [name for name, value in node.attr.items() if value.type and not name.startswith("_")]
            if node.op not in TABLE or node.op not in lacking or types != ["T"]:
                continue
            dtype = tf.as_dtype(node.attr["T"].type)
            inputs = [(tf.TensorShape(None), dtype, None) for name in node.input if not name.startswith("^")]
            function = _function(TABLE[node.op], node, inputs)
            if function is None:
                continue
            _call(definition, node, function, [dtype] * len(inputs))
            _rename_output(body, node.name)
            replaced = True
    return replaced


def _function(rewriting: Rewriting, node: Any, inputs: list[tuple[Any, Any, Any]]) -> Any:
    """The rewriting as a concrete function; None where it does not cover the node."""
    import tensorflow as tf

    constants = [value for _, _, value in inputs]
    traced = tf.function(lambda *tensors: rewriting(node, tensors, constants), autograph=False)
    function = traced.get_concrete_function(*(tf.TensorSpec(shape, dtype) for shape, dtype, _ in inputs))
    return function if function.outputs else None


def _call(definition: Any, node: Any, function: Any, dtypes: list[Any]) -> None:
    """Make the node a call of the function, in place."""
    definition.library.function.append(function.function_def)
    node.op = _CALLS[0]
    node.attr.clear()
    node.attr["f"].func.name = function.function_def.signature.name
    node.attr["Tin"].list.type.extend(dtype.as_datatype_enum for dtype in dtypes)
    node.attr["Tout"].list.type.extend(tensor.dtype.as_datatype_enum for tensor in function.outputs)


def _rename_output(body: Any, name: str) -> None:
    """A function's body names a node's output after its op's; that of a call is `output`."""

    def renamed(tensor: str) -> str:
        return f"{name}:output:0" if graph.node_of(tensor) == name and not tensor.startswith("^") else tensor

    for node in body.node_def:
        node.input[:] = [renamed(tensor) for tensor in node.input]
    for key, tensor in body.ret.items():
        body.ret[key] = renamed(tensor)
