"""Which of an input's elements make a difference to the graph: what it compares them with, sorts, or looks for.

A mask of an Embedding(mask_zero) or of Masking is a comparison with a constant, as is an `if`; what is drawn by chance
meets no such constant. Ops: tensorflow/core/ops/{math,nn,image}_ops.cc.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from converters.formats.dtypes import name_of
from converters.formats.graph import tensor_name
from converters.reference import dataflow
from converters.reference.dataflow import Scope
from converters.reference.drawing import Special

_EQUAL = frozenset(("Equal", "NotEqual", "ApproximateEqual"))
_ORDER = frozenset(("Greater", "GreaterEqual", "Less", "LessEqual", "Maximum", "Minimum", "ClipByValue"))
_MISSING = frozenset(("IsNan", "IsFinite", "IsInf"))
_RANKED = {
    **dict.fromkeys(("TopK", "TopKV2", "ArgMax", "ArgMin", "InTopKV2"), 0),
    **dict.fromkeys(("NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5", "NonMaxSuppressionV2"), 1),
    **dict.fromkeys(("NonMaxSuppression", "CombinedNonMaxSuppression", "NonMaxSuppressionWithOverlaps"), 1),
}
"""Op -> its input whose order counts."""
_BOXES = {
    **dict.fromkeys((op for op in _RANKED if op.startswith("NonMax") and not op.endswith("Overlaps")), 0),
    "CombinedNonMaxSuppression": 0,
    "CropAndResize": 1,
}
"""Op -> its input that holds corners of rectangles."""
_ARITHMETIC = frozenset(
    (
        *(
            "Add",
            "AddV2",
            "AddN",
            "Sub",
            "Mul",
            "Neg",
            "Abs",
            "Square",
            "SquaredDifference",
            "Sign",
            "Maximum",
            "Minimum",
        ),
        *(
            "Sum",
            "Max",
            "Min",
            "Prod",
            "Mean",
            "Cumsum",
            "BitwiseAnd",
            "BitwiseOr",
            "BitwiseXor",
            "Invert",
            "ClipByValue",
        ),
        *(
            "LeftShift",
            "RightShift",
            "Identity",
            "IdentityN",
            "StopGradient",
            "PreventGradient",
            "Snapshot",
            "EnsureShape",
        ),
        *(
            "Reshape",
            "ExpandDims",
            "Squeeze",
            "Transpose",
            "StridedSlice",
            "Slice",
            "Tile",
            "BroadcastTo",
            "Pack",
            "Unpack",
        ),
        *("Concat", "ConcatV2", "Split", "SplitV", "Select", "SelectV2", "Reverse", "ReverseV2", "Pad", "PadV2"),
    )
)
"""Ops that return integers as large as they are given, as their first output."""
_SETTLES = frozenset(
    (
        *(
            "Mod",
            "FloorMod",
            "TruncateMod",
            "FloorDiv",
            "TruncateDiv",
            "Div",
            "RealDiv",
            "Equal",
            "NotEqual",
            "Greater",
        ),
        *(
            "GreaterEqual",
            "Less",
            "LessEqual",
            "Bucketize",
            "AsString",
            "StringFormat",
            "ZerosLike",
            "OnesLike",
            "Shape",
        ),
        *("ArgMax", "ArgMin", "TopKV2", "MatMul", "BatchMatMulV2", "Size", "Rank"),
    )
)
"""Ops that take integers of any size, and after which they are no longer what was given."""
_SHAPING = frozenset(("Reshape", "StridedSlice", "Slice", "Tile", "BroadcastTo", "ExpandDims", "Squeeze", "Transpose"))
"""Of those, the ones whose inputs but the first are no elements."""
_MOST = 4
"""Constants of either kind."""


def of(scope: Scope, tensor: str) -> Special:
    """What the graph makes of the elements of a tensor, also after they were moved or cast."""
    equal: set[float] = set()
    around: set[float] = set()
    missing = ranked = boxes = False
    for use in dataflow.uses(scope, tensor):
        op, inputs = use.node.op, [name for name in use.node.input if not name.startswith("^")]
        if op in _EQUAL and tensor_name(inputs[0]) == tensor_name(inputs[1]):
            missing = True  # nothing else differs from itself
        elif op in _EQUAL or (op in _ORDER and (use.index == 0 or op != "ClipByValue")):
            others = (name for index, name in enumerate(inputs) if index != use.index)
            found = [value for name in others for value in _constants(use.scope, name)]
            (equal if op in _EQUAL else around).update(found)
        missing = missing or op in _MISSING
        ranked = ranked or _RANKED.get(op) == use.index
        boxes = boxes or _BOXES.get(op) == use.index
    return Special(
        equal=tuple(sorted(equal, key=abs)[:_MOST]),
        around=tuple(sorted(around, key=abs)[:_MOST]),
        missing=missing,
        ranked=ranked,
        boxes=boxes,
        large=_only_calculated(scope, tensor),
    )


def _constants(scope: Scope, name: str) -> list[float]:
    """The numbers in a constant that a tensor is, or is cast from; none where it is another, or holds very many."""
    inner, node, _ = scope.origin(name)
    if node.op == "Cast":
        return _constants(inner, node.input[0])
    value = inner.constant(f"{node.name}:0")
    if value is None or value.dtype.kind not in "iufb":
        return []
    numbers = np.unique(value.astype(np.float64))
    return [float(number) for number in numbers[np.isfinite(numbers)]] if len(numbers) <= _MOST else []


def _only_calculated(scope: Scope, tensor: str) -> bool:
    """Whether integers are nothing to the graph but numbers: no indices, sizes, shapes, or counts of a loop."""
    seen: set[tuple[int, str]] = set()
    waiting = [(scope, tensor_name(tensor))]
    used = False
    while waiting:
        here, name = waiting.pop()
        if (id(here), name) in seen:
            continue
        seen.add((id(here), name))
        for node, index in here.readers.get(name, ()):
            followed = list(_followed(here, node, index))
            if followed == [None]:
                return False
            used = used or node.op != "Identity"
            waiting += [item for item in followed if item is not None]
        if here.caller is not None:
            outer, call, _ = here.caller
            waiting += [(outer, f"{call.name}:{index}") for index in here.returns.get(name, ())]
    return used


def _followed(scope: Scope, node: Any, index: int) -> "Iterator[tuple[Scope, str] | None]":
    """Where integers are as large, after an op that takes them as its input of that index; None: they must not be."""
    if node.op in _SETTLES or (node.op == "Cast" and name_of(node.attr["DstT"].type) in _NO_INTEGERS):
        return
    if node.op in ("Cast", *_ARITHMETIC) and not (node.op in _SHAPING and index > 0):
        outputs = node.attr["num"].i or node.attr["num_split"].i or 1 if node.op in ("Unpack", "Split", "SplitV") else 1
        output = index if node.op == "IdentityN" else 0
        yield from ((scope, f"{node.name}:{output + i}") for i in range(outputs))
        return
    bodies = scope.bodies(node) if node.op in ("PartitionedCall", "StatefulPartitionedCall") else []
    if not bodies:
        yield None
    for body, first in bodies:
        yield from ((body, f"{name}:0") for name, i in body.arguments.items() if i == index - first)


_NO_INTEGERS = frozenset(("float16", "bfloat16", "float32", "float64", "string", "bool"))
