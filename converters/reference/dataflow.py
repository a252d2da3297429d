"""Following a tensor through a GraphDef, into functions' bodies, to the ops that read its elements."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.formats import graph
from converters.formats.graph import split, tensor_name
from converters.formats.internals_tf import outputs_of
from converters.formats.specs import dimensions

_MOVES: tuple[tuple[dict[int | None, int], tuple[str, ...]], ...] = (
    (
        {0: 0},
        (
            *("Identity", "StopGradient", "PreventGradient", "Snapshot", "PlaceholderWithDefault", "EnsureShape"),
            *("Reshape", "ExpandDims", "Squeeze", "Transpose", "StridedSlice", "Slice", "Tile", "BroadcastTo", "Pad"),
            *("PadV2", "Cast", "Gather", "GatherV2", "GatherNd", "Unpack", "Unique", "UniqueV2", "Round", "Floor"),
            *("StringLower", "StringUpper", "StringStrip", "StaticRegexReplace", "RegexReplace", "Enter", "Switch"),
            *("Exit", "NextIteration", "TensorListFromTensor", "TensorListGetItem", "TensorListStack"),
        ),
    ),
    ({None: 0}, ("Pack", "Concat", "ConcatV2", "Merge")),
    ({1: 0, 2: 0}, ("Select", "SelectV2")),
    ({0: 1}, ("StringSplit", "StringSplitV2")),
    ({1: 0}, ("Split", "RaggedTensorToTensor")),
    ({1: 1}, ("SparseFillEmptyRows",)),
    ({2: 0}, ("TensorArrayScatterV3", "TensorArrayReadV3", "SparseToDense")),
)
_PASSES = {op: moves for moves, ops in _MOVES for op in ops}
"""Op -> an input (None: any) whose elements come out again, -> the output where they do; possibly moved, cleaned or cast."""
_BRANCHES = {
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall"), (("f",), 0)),
    **dict.fromkeys(("If", "StatelessIf"), (("then_branch", "else_branch"), 1)),
    **dict.fromkeys(("While", "StatelessWhile"), (("cond", "body"), 0)),
    **dict.fromkeys(("Case", "StatelessCase"), (("branches",), 1)),
}
"""Op -> the attributes that name the functions it calls, and its input that is their first argument."""
_UNCHANGED = frozenset(
    ("Identity", "ReadVariableOp", "Enter", "StopGradient", "Switch", "RefIdentity", "RefEnter", "RefSwitch")
)
"""Ops that return their first input as it is; a variable's handle comes out as its value."""
_DEEPEST = 30
"""Calls within calls that are followed; a function may call itself."""


@dataclass(eq=False)
class Scope:
    """A graph, or the body of one call of a function: its nodes, and what reads each tensor (named "node:0").

    `known` are shapes that the graph does not hold: those of variables it captures, by placeholder.
    """

    nodes: dict[str, Any]
    functions: dict[str, Any]
    known: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    caller: "tuple[Scope, Any, int] | None" = None
    arguments: dict[str, int] = field(default_factory=dict)
    returns: dict[str, list[int]] = field(default_factory=dict)
    depth: int = 0

    def __post_init__(self) -> None:
        self.readers: dict[str, list[tuple[Any, int]]] = {}
        self._bodies: dict[tuple[str, str], Scope | None] = {}
        for node in self.nodes.values():
            for index, name in enumerate(node.input):
                if not name.startswith("^"):
                    self.readers.setdefault(tensor_name(name), []).append((node, index))

    def bodies(self, node: Any) -> "list[tuple[Scope, int]]":
        """The bodies of the functions that a node calls, each with the node's input that is its first argument."""
        if node.op not in _BRANCHES or self.depth >= _DEEPEST:
            return []
        attributes, first = _BRANCHES[node.op]
        bodies = []
        values = [node.attr[attribute] for attribute in attributes]
        for function in (called.name for value in values for called in (value.func, *value.list.func) if called.name):
            key = (node.name, function)
            if key not in self._bodies:
                self._bodies[key] = self._body(node, function, first)
            body = self._bodies[key]
            if body is not None:
                bodies.append((body, first))
        return bodies

    def _body(self, node: Any, name: str, first: int) -> "Scope | None":
        definition = self.functions.get(name)
        if definition is None:
            return None
        nodes, flat = _flattened(definition, self.functions)
        returns: dict[str, list[int]] = {}
        for index, output in enumerate(definition.signature.output_arg):
            returns.setdefault(flat.get(definition.ret[output.name], ""), []).append(index)
        arguments = {argument.name: index for index, argument in enumerate(definition.signature.input_arg)}
        return Scope(nodes, self.functions, {}, (self, node, first), arguments, returns, self.depth + 1)

    def everything(self) -> "Iterator[tuple[Scope, Any]]":
        """Every node of the graph and of the functions that it calls, each in its scope."""
        for node in self.nodes.values():
            yield self, node
            for body, _ in self.bodies(node):
                yield from body.everything()

    def origin(self, name: str) -> "tuple[Scope, Any, int]":
        """The node that a tensor's value comes from unchanged: a constant, variable, table or argument of the graph."""
        scope, (node_name, index) = self, split(name)
        while True:
            node = scope.nodes[node_name]
            if node.op in _UNCHANGED:
                node_name, index = split(node.input[0])
            elif node_name in scope.arguments and scope.caller is not None:
                outer, call, first = scope.caller
                node_name, index = split(call.input[scope.arguments[node_name] + first])
                scope = outer
            else:
                return scope, node, index

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """What the graph says of a tensor's shape (of a variable's, where it is a variable's handle); None: nothing."""
        scope, node, index = self.origin(name)
        if node.op == "Const":
            return dimensions(node.attr["value"].tensor.tensor_shape)
        if node.name in scope.known:
            return scope.known[node.name]
        if node.op in graph.VARIABLES:
            return dimensions(node.attr["shape"].shape)
        shapes = node.attr["_output_shapes"].list.shape if "_output_shapes" in node.attr else []
        return dimensions(shapes[index]) if index < len(shapes) else None

    def constant(self, name: str) -> np.ndarray[Any, Any] | None:
        """The value of a tensor that is a constant."""
        import tensorflow as tf

        _, node, _ = self.origin(name)
        return tf.make_ndarray(node.attr["value"].tensor) if node.op == "Const" else None


def _flattened(definition: Any, functions: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A function's nodes as a graph would have them, with its arguments as placeholders, and its tensors' names there.

    A function names a tensor "node:output:0" by the op's output, a graph "node:0" (FunctionDef.node_def, function.proto).
    """
    from tensorflow.core.framework.node_def_pb2 import NodeDef

    flat = {argument.name: f"{argument.name}:0" for argument in definition.signature.input_arg}
    for node in definition.node_def:
        outputs = functions[node.op].signature.output_arg if node.op in functions else outputs_of(node.op)
        total = 0
        for output in outputs:
            for index in range(_tensors(node, output)):
                flat[f"{node.name}:{output.name}:{index}"] = f"{node.name}:{total}"
                total += 1
    nodes = {name: NodeDef(name=name, op="Placeholder") for name in flat if ":" not in name}
    for index, argument in enumerate(definition.signature.input_arg):
        nodes[argument.name].attr["_output_shapes"].CopyFrom(definition.arg_attr[index].attr["_output_shapes"])
    for node in definition.node_def:
        nodes[node.name] = copied = NodeDef()
        copied.CopyFrom(node)
        copied.input[:] = [flat.get(name, name) for name in node.input]
    return nodes, flat


def _tensors(node: Any, output: Any) -> int:
    """How many tensors one output of a node's op stands for (OpDef.ArgDef, op_def.proto)."""
    if output.number_attr:
        return int(node.attr[output.number_attr].i)
    return len(node.attr[output.type_list_attr].list.type) if output.type_list_attr else 1


def root(graph_def: Any, known: Mapping[str, tuple[int, ...]] | None = None) -> Scope:
    """The outermost scope of a GraphDef. `known`: see Scope."""
    return Scope({node.name: node for node in graph_def.node}, graph.functions(graph_def), known or {})


@dataclass(frozen=True)
class Use:
    """A node that reads the elements of a tensor, as its input of that index. `through` are the ops they came through."""

    scope: Scope
    node: Any
    index: int
    through: frozenset[str]


def uses(scope: Scope, tensor: str) -> Iterator[Use]:
    """Every node that reads a tensor's elements, also after they were moved, cast, or handed to functions."""
    seen: set[tuple[int, str]] = set()
    waiting: list[tuple[Scope, str, frozenset[str]]] = [(scope, tensor_name(tensor), frozenset())]
    while waiting:
        scope, tensor, through = waiting.pop()
        if (id(scope), tensor) in seen:
            continue
        seen.add((id(scope), tensor))
        for node, index in scope.readers.get(tensor, ()):
            yield Use(scope, node, index, through)
            passes = _PASSES.get(node.op, {})
            output = index if node.op == "IdentityN" else passes.get(index, passes.get(None))
            if output is not None:
                waiting.append((scope, f"{node.name}:{output}", through | {node.op}))
            for body, first in scope.bodies(node):
                argument = next((name for name, i in body.arguments.items() if i == index - first), None)
                if argument is not None:
                    waiting.append((body, f"{argument}:0", through))
        if scope.caller is not None:
            outer, call, _ = scope.caller
            waiting += [(outer, f"{call.name}:{index}", through) for index in scope.returns.get(tensor, ())]
