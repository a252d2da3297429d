"""Walking a GraphDef: names of nodes and tensors, functions' bodies, and what outputs depend on."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

VARIABLES = frozenset({"VarHandleOp", "Variable", "VariableV2"})
"""Ops that are a variable; the latter two are TF 1's reference kind."""


def node_of(tensor: str) -> str:
    """The node of a tensor "node", "node:0", "node:output:0", or of a control input "^node"."""
    return tensor.removeprefix("^").partition(":")[0]


def tensor_name(name: str) -> str:
    """ "node" and "node:0" are the same tensor, and here the latter."""
    return name if ":" in name else f"{name}:0"


def split(name: str) -> tuple[str, int]:
    """The node of a graph's tensor, and which of the node's outputs it is."""
    node, _, index = name.partition(":")
    return node, int(index or 0)


def nodes(graph_def: Any) -> Iterator[Any]:
    """All nodes, those of functions' bodies included."""
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def functions(graph_def: Any) -> dict[str, Any]:
    """The library's functions (FunctionDef), by name."""
    return {function.signature.name: function for function in graph_def.library.function}


def called(callers: Iterable[Any], library: Mapping[str, Any]) -> list[Any]:
    """The functions that nodes call, by their op or in an attribute, and those that these call in turn."""
    waiting = list(callers)
    bodies: dict[str, Any] = {}
    while waiting:
        node = waiting.pop()
        attributes = [function for value in node.attr.values() for function in (value.func, *value.list.func)]
        for name in (node.op, *(function.name for function in attributes)):
            if name in library and name not in bodies:
                bodies[name] = library[name]
                waiting += library[name].node_def
    return list(bodies.values())


def drop_unused_functions(graph_def: Any) -> None:
    """Leave only the functions that the graph calls, directly or not; others save and restore what may be frozen now."""
    kept = called(graph_def.node, functions(graph_def))
    del graph_def.library.function[:]
    graph_def.library.function.extend(kept)


def reached(meta_graph: Any, keys: Iterable[str]) -> list[Any]:
    """The nodes that the signatures' outputs depend on. Functions get their variables and tables as arguments."""
    by_name = {node.name: node for node in meta_graph.graph_def.node}
    outputs = (info.name for key in keys for info in meta_graph.signature_def[key].outputs.values())
    return list(leading_to(outputs, by_name).values())


def leading_to(tensors: Iterable[str], by_name: Mapping[str, Any]) -> dict[str, Any]:
    """The nodes that tensors depend on, of a graph whose nodes are given by name; by name too."""
    waiting = list(map(node_of, tensors))
    reachable: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        if name not in reachable and name in by_name:
            reachable[name] = by_name[name]
            waiting += map(node_of, by_name[name].input)
    return reachable


def named_ops(ops: Iterable[str], nodes: Mapping[str, str]) -> str:
    """`OP (node NODE)`, joined; the node only where it is known and says more than the op does."""
    return ", ".join(f"{op} (node {nodes[op]})" if nodes.get(op, op) != op else op for op in ops)
