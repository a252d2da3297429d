"""How exact the live model itself is: one that computes in half precision is a reference to half precision only."""

from collections.abc import Iterable
from typing import Any

from converters.contract.settings import Tolerance
from converters.formats.dtypes import name_of
from converters.formats.graph import nodes

_ERRORS = {
    "float16": Tolerance(error=1e-2, mismatch=0.02, reason="the model itself computes in float16, of 11 bits"),
    "bfloat16": Tolerance(error=5e-2, mismatch=0.05, reason="the model itself computes in bfloat16, of 8 bits"),
}
"""What a model that computes in so few bits leaves open, as the weights of a file of so few bits do."""
_MOVES = """
    Const Identity IdentityN Placeholder PlaceholderWithDefault ReadVariableOp VarHandleOp AssignVariableOp Variable
    VariableV2 Assign Reshape Squeeze ExpandDims Transpose Gather GatherV2 GatherNd ResourceGather Pack Unpack Concat
    ConcatV2 Split SplitV Slice StridedSlice Tile Fill Shape RestoreV2 SaveV2
"""
_MOVING = frozenset(_MOVES.split())
"""Ops that round nothing: what they return is as exact as what they were given."""


def of_graphs(graph_defs: Iterable[Any]) -> str:
    """The narrowest floating-point dtype that any of the GraphDefs computes in: bfloat16, float16 or float32."""
    rounding = {
        name_of(node.attr[dtype].type)
        for graph_def in graph_defs
        for node in nodes(graph_def)
        if node.op not in _MOVING and (dtype := "DstT" if node.op == "Cast" else "T") in node.attr
    }
    return next((dtype for dtype in ("bfloat16", "float16") if dtype in rounding), "float32")


def allowing(tolerance: Tolerance, precision: str) -> Tolerance:
    """The tolerance, or what a reference of this precision makes of it where that is wider.

    One of zero is of what is stored and not computed, and stays.
    """
    least = _ERRORS.get(precision)
    if least is None or tolerance.error == 0 or least.error <= tolerance.error:
        return tolerance
    return least
