"""Where a tensor of a GraphDef comes from: through identities, variables, and functions' arguments to every caller.

What cannot be told for certain is `Unknown`: this decides whether a file that a graph reads is its own.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from converters.formats.graph import node_of

_PASSES = frozenset({"Identity", "StopGradient", "Snapshot", "EnsureShape", "Reshape"})
_FIRST = {"PartitionedCall": 0, "StatefulPartitionedCall": 0, "If": 1, "StatelessIf": 1, "Case": 1, "StatelessCase": 1}
"""Input of a calling op that is its function's first argument. A loop's are also what the last turn returned."""
_HARMLESS = frozenset({"ReadVariableOp", "VarIsInitializedOp", "AssignVariableOp"})


class Place(NamedTuple):
    """A node, and the function that it is in; None for the graph itself."""

    function: str | None
    node: Any


class Unknown(Exception):
    """Where a tensor comes from cannot be told."""


class Tracing:
    """Of one GraphDef."""

    def __init__(self, graph_def: Any) -> None:
        self.functions: dict[str, Any] = {each.signature.name: each for each in graph_def.library.function}
        bodies: dict[str | None, Any] = {name: each.node_def for name, each in self.functions.items()}
        bodies[None] = graph_def.node
        self._nodes = {name: {node.name: node for node in nodes} for name, nodes in bodies.items()}
        self._callers: dict[str, list[Place]] = defaultdict(list)
        self._readers: dict[str, list[Any]] = defaultdict(list)
        self._variables: dict[str, int] = defaultdict(int)
        for place in self.places():
            for name in called_by(place.node) & self.functions.keys():
                self._callers[name].append(place)
            if place.node.op == "VarHandleOp":
                self._variables[_shared_name(place.node)] += 1
        for node in graph_def.node:
            for tensor in node.input:
                self._readers[node_of(tensor)].append(node)

    def places(self) -> Iterator[Place]:
        """All nodes, those of functions' bodies included."""
        for function, nodes in self._nodes.items():
            yield from (Place(function, node) for node in nodes.values())

    def origins(self, place: Place, index: int) -> list[Place]:
        """The nodes that an input of a node comes from in the end. Raises Unknown."""
        inputs = _data(place.node)
        if index >= len(inputs):
            raise Unknown
        return self._origins(place.function, inputs[index], frozenset())

    def _origins(self, function: str | None, tensor: str, seen: frozenset[tuple[str | None, str]]) -> list[Place]:
        name = node_of(tensor)
        if (function, name) in seen:
            raise Unknown
        seen |= {(function, name)}
        node = self._nodes[function].get(name)
        if node is None:
            return self._of_argument(function, name, seen)
        if node.op in _PASSES and node.input:
            return self._origins(function, node.input[0], seen)
        if node.op == "ReadVariableOp":
            return self._of_variable(function, node, seen)
        return [Place(function, node)]

    def _of_variable(self, function: str | None, node: Any, seen: frozenset[tuple[str | None, str]]) -> list[Place]:
        """A variable's value is what the graph itself assigns, if nothing else gets hold of the variable."""
        name = node_of(node.input[0])
        handle = self._nodes[None].get(name) if function is None else None
        if handle is None or handle.op != "VarHandleOp" or self._variables[_shared_name(handle)] != 1:
            raise Unknown
        readers = [each for each in self._readers[name] if name in map(node_of, _data(each))]
        assigning = [each for each in readers if each.op == "AssignVariableOp"]
        if not assigning or any(each.op not in _HARMLESS for each in readers):
            raise Unknown
        return [origin for each in assigning for origin in self._origins(None, each.input[1], seen)]

    def _of_argument(self, function: str | None, name: str, seen: frozenset[tuple[str | None, str]]) -> list[Place]:
        if function is None or not self._callers[function]:
            raise Unknown
        arguments = self.functions[function].signature.input_arg
        position = next((at for at, each in enumerate(arguments) if each.name == name), None)
        if position is None or any(each.number_attr or each.type_list_attr for each in arguments):
            raise Unknown
        found: list[Place] = []
        for caller in self._callers[function]:
            first = 0 if caller.node.op == function else _FIRST.get(caller.node.op)
            inputs = _data(caller.node)
            if first is None or first + position >= len(inputs):
                raise Unknown
            found += self._origins(caller.function, inputs[first + position], seen)
        return found


def called_by(node: Any) -> set[str]:
    """The names of functions that a node may call: its op's, and those in its attributes."""
    attributes = (each.name for value in node.attr.values() for each in (value.func, *value.list.func))
    return {node.op, *attributes}


def _data(node: Any) -> list[str]:
    return [tensor for tensor in node.input if not tensor.startswith("^")]


def _shared_name(node: Any) -> str:
    return node.attr["shared_name"].s.decode(errors="replace") or str(node.name)
