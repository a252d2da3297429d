"""Making a graph's constants ones that tensorflow.js can hold: float32, int32, bool, string or complex64.

A constant of a narrow integer type becomes int32. That computes the same only where no op computes in the narrow
type, since int32 does not wrap around where the narrow type does; such an op is refused.
"""

from typing import Any

import numpy as np

from converters.contract.errors import Unsupported
from converters.formats.graph import nodes
from converters.javascript.dtypes import NARROW, holds

_VALUE_KEEPING = """
    Const Identity IdentityN Placeholder PlaceholderWithDefault StopGradient Snapshot NoOp EnsureShape
    Reshape ExpandDims Squeeze Transpose Pack Unpack Concat ConcatV2 Split SplitV Slice StridedSlice Tile BroadcastTo
    Gather GatherV2 GatherNd Pad PadV2 MirrorPad Reverse ReverseV2 Select SelectV2 Where Shape Size Rank Fill ZerosLike
    OnesLike OneHot Max Min Maximum Minimum ArgMax ArgMin TopKV2 Unique UniqueV2 Equal NotEqual Greater GreaterEqual Less
    LessEqual LookupTableFind LookupTableFindV2 LookupTableImport LookupTableImportV2 If StatelessIf While StatelessWhile
    Switch Merge Enter Exit NextIteration DepthToSpace SpaceToDepth SpaceToBatchND BatchToSpaceND ResizeNearestNeighbor
    ResizeBilinear
"""
_KEEP_VALUES = frozenset(_VALUE_KEEPING.split())
"""Ops whose results are among their operands' values, or of another type."""
_COMPLEX = """
    Complex Real Imag ComplexAbs FFT IFFT RFFT IRFFT Identity IdentityN Reshape ExpandDims Squeeze Add AddV2 Sub Mul ConcatV2
    ZerosLike Cast
"""
_OF_COMPLEX = frozenset(_COMPLEX.split())
"""Ops that take or return complex numbers on some backend; other kernels refuse them (assertNotComplex in
tfjs-backend-cpu/src/kernels), or take their real parts for them."""

EXACT_IN_WEBGL = 2**24
"""Largest integer up to which float32 has all of them, in which WebGL's textures keep integers
(tfjs-backend-webgl/src/tex_util.ts)."""


def inexact_in_webgl(graph: Any) -> list[str]:
    """The GraphDef's integer constants, by node, of which an element is beyond that; ends of slices are no such."""
    import tensorflow as tf

    found = []
    for node in nodes(graph):
        if node.op == "Const" and node.attr["dtype"].type in (tf.int32.as_datatype_enum, tf.int64.as_datatype_enum):
            value = np.abs(tf.make_ndarray(node.attr["value"].tensor).astype(np.float64))
            if np.any((value > EXACT_IN_WEBGL) & (value < 2.0**31 - 1)):
                found.append(str(node.name))
    return found


def nodes_by_op(graph: Any) -> dict[str, str]:
    """Op -> the name of the first node of it, functions' bodies included."""
    found: dict[str, str] = {}
    for node in nodes(graph):
        found.setdefault(node.op, node.name)
    return found


def hold(graph: Any) -> None:
    """Rewrite the GraphDef's constants in place.

    Raises:
        Unsupported: an op computes in a narrow integer type, or a constant holds a value that int32 or float32 cannot; names
            the node and the dtype.
    """
    for node in nodes(graph):
        _require_no_wrapping(node)
        if node.op == "Const":
            _hold_constant(node)


def _require_no_wrapping(node: Any) -> None:
    import tensorflow as tf

    if node.op in _KEEP_VALUES:
        return
    if node.op == "Cast":
        source, result = (tf.as_dtype(node.attr[side].type).name for side in ("SrcT", "DstT"))
        # A float outside of the narrow type's range has no defined result in TensorFlow either.
        computed = result if result in NARROW and source != "bool" and "float" not in source else ""
    else:
        named = [node.attr[name].type for name in ("T", "dtype") if name in node.attr]
        computed = next((name for kind in named if kind and (name := tf.as_dtype(kind).name) in NARROW), "")
    if computed:
        raise Unsupported(
            f"tensorflow.js holds {computed} as int32, which does not wrap around as {computed} does in node "
            f"{node.name} ({node.op}); cast to int32 before it"
        )


def _hold_constant(node: Any) -> None:
    import tensorflow as tf

    name = tf.as_dtype(node.attr["dtype"].type).name
    held = holds(name)
    if held == name or name == "float16":
        return
    value = tf.make_ndarray(node.attr["value"].tensor)
    with np.errstate(over="ignore", invalid="ignore"):
        converted = value.astype(held)
        wide = value.astype(np.float64) if held == "float32" else value
        lost = np.isinf(converted) & ~np.isinf(wide) if held == "float32" else converted != value
    if np.any(lost):
        raise Unsupported(
            f"node {node.name} holds {value[lost].flat[0]} as {name}, which {held}, all that tensorflow.js has, cannot hold"
        )
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(converted))
    node.attr["dtype"].type = tf.as_dtype(held).as_datatype_enum


def require_real(graph: Any) -> None:
    """Raises Unsupported where an op of the GraphDef is of complex numbers that tensorflow.js does not take there."""
    import tensorflow as tf

    kinds = {kind.as_datatype_enum: kind.name for kind in (tf.complex64, tf.complex128)}
    for node in nodes(graph):
        types = [kind for value in node.attr.values() for kind in (value.type, *value.list.type)]
        names = [kinds[kind] for kind in types if kind in kinds]
        if "complex128" in names or (names and node.op not in _OF_COMPLEX):
            raise Unsupported(
                f"tensorflow.js has complex numbers between Fourier transforms alone, and none in {node.op} (node {node.name}, "
                f"{max(names, key=len)}); do this part outside the model"
            )
