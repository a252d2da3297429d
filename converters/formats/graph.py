"""Walking a GraphDef: names of nodes and tensors, functions' bodies, shapes."""

from collections.abc import Iterable, Mapping
from typing import Any


def tensor_name(name: str) -> str:
    """ "node" and "node:0" are the same tensor, and here the latter."""
    return name if ":" in name else f"{name}:0"


def split(name: str) -> tuple[str, int]:
    node, _, index = name.partition(":")
    return node, int(index or 0)


def dimensions(shape: Any) -> tuple[int | None, ...] | None:
    return None if shape.unknown_rank else tuple(None if d.size < 0 else d.size for d in shape.dim)


def named_ops(ops: Iterable[str], nodes: Mapping[str, str]) -> str:
    """`OP (node NODE)`, joined; the node only where it is known and says more than the op does."""
    return ", ".join(f"{op} (node {nodes[op]})" if nodes.get(op, op) != op else op for op in ops)
