"""Whether a lossy TF Lite file's grids are made for the values that the float graph has: wide enough, and not far too wide.

A grid is that of every tensor whose values are only passed on (as by RESHAPE or CONCATENATION), and the widest of those made it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from converters.contract.soundness import GridFit
from converters.targets.tflite import flatbuffer, quantizing
from converters.targets.tflite.graph import Graph
from converters.targets.tflite.matching import Pair, said
from converters.targets.tflite.tensors import Array

_FIXED = {
    "SOFTMAX": (1 / 256, -128.0),
    "LOG_SOFTMAX": (16 / 256, 127.0),
    "LOGISTIC": (1 / 256, -128.0),
    "TANH": (1 / 128, 0.0),
    "L2_NORMALIZATION": (1 / 128, 0.0),
}
"""Scale and zero point of what they compute in int8, for which their kernels are made
(https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec)."""
_CUT = frozenset({"LOG_SOFTMAX"})
"""What lies below -16 is outside of its grid."""
_FEW = 16
"""Values below which it cannot be said what a tensor's range is."""


class Span(NamedTuple):
    """The range of a tensor's values, zero included as in every grid, and how many were seen."""

    low: float
    high: float
    seen: int


def any_in(pair: Pair) -> bool:
    """Whether the deployed graph computes on any grid."""
    return any(tensor.grid is not None and tensor.stored is None for tensor in pair.deployed.tensors)


def problems(pair: Pair) -> Iterator[str]:
    """A sentence for each operator whose output is on another grid than its kernel is made for, or that hands bytes to and from
    a loop or branch that reads them on another one."""
    for operator in pair.deployed.layers:
        tensors = [pair.deployed.tensors[index] for index in operator.outputs]
        for tensor in tensors if operator.op in _FIXED else ():
            if tensor.dtype == "INT8" and tensor.grid is not None and tensor.grid.key != _FIXED[operator.op]:
                yield f"{said(pair.deployed, operator)} has scale and zero point {tensor.grid.key}, and not {_FIXED[operator.op]}"
        for outer, graph, inner in pair.deployed.handed(operator):
            if outer.grid is not None and inner.grid is not None and not outer.grid.is_as(inner.grid):
                yield (
                    f"{said(pair.deployed, operator)} holds {outer.name!r} with scale and zero point {outer.grid.key}, and "
                    f"subgraph {graph.number} the same with {inner.grid.key}"
                )


def widen(spans: dict[int, Span], values: Mapping[int, Array]) -> None:
    """Take more values of tensors, by their numbers, into their spans."""
    for index, value in values.items():
        if value.dtype.kind == "f":
            spans[index] = _joined(spans.get(index, Span(0.0, 0.0, 0)), value)


def _joined(known: Span, value: Array) -> Span:
    finite = value[np.isfinite(value)]
    low, high = np.min(finite, initial=known.low), np.max(finite, initial=known.high)
    return Span(float(low), float(high), known.seen + finite.size)


def fits(pair: Pair, seen: Mapping[int, Span], *, partly: bool) -> Iterator[GridFit]:
    """One for each grid of the deployed graph, of those tensors whose values are known; `partly` if there are more of these."""
    graph = pair.deployed
    known = {index: seen[other] for index, other in _counterparts(pair) if other in seen}
    makers = {index: operator.op for operator in graph.operators for index in operator.outputs}
    exact = quantizing.MADE_BY in flatbuffer.metadata(graph.model)
    for (scale, zero), members in _by_grid(graph, known).items():
        by = {makers.get(index) for index in members}
        grid = graph.tensors[members[0]].grid
        assert grid is not None
        low, high = (grid.low - zero) * scale, (grid.high - zero) * scale
        beyond = min(max(known[i].high - high, low - known[i].low, 0.0) / (high - low) for i in members)
        beside = [known[i] for i in ({*members} if exact else {*members, *_made_of(graph, members)}) if i in known]
        filled = max((span.high - span.low) / (high - low) for span in beside)
        yield GridFit(
            name=graph.tensors[members[0]].name,
            beyond=0.0 if by & _CUT else beyond,
            filled=1.0 if partly or by & _FIXED.keys() or max(span.seen for span in beside) < _FEW else filled,
        )


def _counterparts(pair: Pair) -> Iterator[tuple[int, int]]:
    for index in range(len(pair.deployed.tensors)):
        other = pair.tensors.get(pair.deployed.origin(index))
        if other is not None:
            yield index, pair.reference.origin(other)


def _by_grid(graph: Graph, known: Mapping[int, Span]) -> dict[tuple[float, float], list[int]]:
    """The tensors of each grid that hold anything but zero."""
    found: dict[tuple[float, float], list[int]] = {}
    for index, span in known.items():
        grid = graph.tensors[index].grid
        if grid is not None and len(grid.scales) == 1 and span.high > span.low:
            found.setdefault(grid.key, []).append(index)
    return found


def _made_of(graph: Graph, members: Iterable[int]) -> set[int]:
    """What operators make of these: TensorFlow's calibrator takes it for their own where an operator works in place.

    The quantizer's own keeps each tensor's values apart.
    """
    inside = set(members)
    return {made for operator in graph.operators if inside & set(operator.inputs) for made in operator.outputs}
