"""What each layer of a lossy TF Lite file adds to its output, given the float graph's own inputs.

Every operator that quantizing changed is run apart, on the values that the float graph has there, rounded to the operator's
own grids; and beside it the float graph's operator on the very same numbers, with the deployed constants. The two differ
by the rounding of the output alone, so that a kernel, a grid or an option that is wrong shows whatever the values are.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from converters.contract.soundness import LayerNoise
from converters.targets.tflite import apart, flatbuffer, running
from converters.targets.tflite.graph import Graph, Operator
from converters.targets.tflite.matching import Pair
from converters.targets.tflite.running import Known
from converters.targets.tflite.tensors import Array, Grid

_FLOAT = 2.0**-18
"""Noise of float32 arithmetic, as a share of the largest output: sums of a few thousand products in another order."""

BYTES = 2**26
"""Of values that operators are run on at a time, as floats."""

_UNEQUAL = 0.025
"""Share of integers and booleans that may differ: where two numbers are one on a grid, a comparison can go either way."""


_Files: TypeAlias = tuple[apart.Apart, apart.Run, apart.Apart, apart.Run]
"""Some operators of the deployed file and what runs them, and the same of the float file's."""


class Noise:
    """The noise of every operator of a pair of subgraphs, over all that the float graph has there while it runs.

    Raises:
        Damaged: an operator cannot be run apart.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._changed = [layer for layer in pair.layers if _is_changed(pair, *layer) and _can_be_apart(pair, layer[0])]
        self._rng = np.random.default_rng(0)
        self._squares: list[list[float]] = [[] for _ in self._changed]
        self._opened: dict[range, _Files] = {}

    def see(self, known: Known) -> None:
        """Run the operators on these values of the float graph's tensors, and on drawn ones where there is none.

        As many of them at a time as BYTES hold the values of.
        """
        groups = self._groups(known)
        for group in groups:
            if len(groups) > 1:
                self._opened.clear()  # an interpreter keeps the memory that its last run needed
            if group not in self._opened:
                self._opened[group] = _files(self.pair, [self._changed[place] for place in group])
            self._see(known, group, self._opened[group])

    def _groups(self, known: Known) -> list[range]:
        """Places of operators that are run together."""
        groups: list[range] = []
        size = BYTES + 1
        for place, (ours, _) in enumerate(self._changed):
            needed = sum(_bytes(self.pair, known, index) for index in (*ours.inputs, *ours.outputs) if index >= 0)
            size += needed
            if size > BYTES:
                groups.append(range(place, place + 1))
                size = needed
            else:
                groups[-1] = range(groups[-1].start, place + 1)
        return groups

    def _see(self, known: Known, group: range, files: _Files) -> None:
        deployed, run, twin, run_twin = files
        pair, rng, changed = self.pair, self._rng, [self._changed[place] for place in group]
        feeds = [_held(pair, known, index, rng) for _, index in deployed.inputs]
        numbers = [
            _real(value, pair.deployed.tensors[i].grid) for value, (_, i) in zip(feeds, deployed.inputs, strict=True)
        ]
        theirs = [
            value.astype(flatbuffer.numpy_dtype(pair.reference.tensors[index].dtype))
            if value.dtype != object
            else value
            for value, (_, index) in zip(numbers, twin.inputs, strict=True)
        ]
        del numbers
        got, want = run(feeds), run_twin(theirs)
        moved = [
            _moved(pair, changed[place][0], index, value, rng)
            for value, (place, index) in zip(theirs, deployed.inputs, strict=True)
        ]
        still = all(one is other for one, other in zip(moved, theirs, strict=True))
        hybrid = want if still else run_twin(moved)
        results = zip(deployed.outputs, got, want, hybrid, strict=True)
        for place, (ours, _) in zip(group, changed, strict=True):
            ratios = [_ratio(pair.deployed.tensors[index].grid, *next(results)[1:]) for index in ours.outputs]
            self._squares[place].append(max(ratios) ** 2)

    def layers(self) -> Iterator[LayerNoise]:
        """One for each: the root mean square over the values that were seen; none is added by what is the model's own."""
        if not any(self._squares):
            self.see({})
        measured = dict(zip((ours.number for ours, _ in self._changed), self._squares, strict=True))
        for ours, _ in self.pair.layers:
            ratio = float(np.sqrt(np.mean(measured.get(ours.number, 0.0))))
            yield LayerNoise(layer=_layer(self.pair.deployed, ours), op=ours.op, ratio=ratio)


def _files(pair: Pair, changed: Sequence[tuple[Operator, Operator]]) -> _Files:
    from ai_edge_litert.interpreter import Interpreter

    deployed = apart.apart(pair.deployed, [ours for ours, _ in changed], {})
    constants = dict(_constants(pair, changed))
    twin = apart.apart(pair.reference, [theirs for _, theirs in changed], constants)
    interpreter, options = running.plain()
    threads = options["num_threads"]
    opened = apart.opened(deployed, Interpreter, num_threads=threads)
    return deployed, opened, twin, apart.opened(twin, interpreter, **options)


def _bytes(pair: Pair, known: Known, index: int) -> int:
    """Of a deployed tensor's value as floats; those of a constant count as none."""
    if pair.deployed.constant(index) is not None:
        return 0
    reference = pair.tensors.get(pair.deployed.origin(index))
    value = known.get(reference) if reference is not None else None
    return 4 * (
        value.size if value is not None else math.prod(max(size, 1) for size in pair.deployed.tensors[index].shape)
    )


def _can_be_apart(pair: Pair, ours: Operator) -> bool:
    return apart.has_values(pair.deployed, ours) and not ours.op.startswith(flatbuffer.FLEX)


def _is_changed(pair: Pair, ours: Operator, theirs: Operator) -> bool:
    """Whether a tensor of the operator has another type or a grid, or a constant another dtype."""
    for one, other in zip((*ours.inputs, *ours.outputs), (*theirs.inputs, *theirs.outputs), strict=False):
        if one >= 0 and other >= 0 and _dtype(pair.deployed, one) != _dtype(pair.reference, other):
            return True
    return False


def _dtype(graph: Graph, index: int) -> str:
    constant = graph.constant(index)
    return constant.dtype if constant is not None else graph.tensors[index].dtype


def _constants(pair: Pair, changed: Sequence[tuple[Operator, Operator]]) -> Iterator[tuple[tuple[int, int], Array]]:
    """The deployed constants in the float graph's dtypes, where they are of another, by place of operator and input."""
    for place, (ours, theirs) in enumerate(changed):
        for position, (one, other) in enumerate(zip(ours.inputs, theirs.inputs, strict=True)):
            constant = pair.deployed.constant(one) if one >= 0 and other >= 0 else None
            if constant is not None and constant.dtype != (dtype := pair.reference.tensors[other].dtype):
                yield (place, position), constant.real.astype(flatbuffer.numpy_dtype(dtype))


def _held(pair: Pair, known: Known, index: int, rng: np.random.Generator) -> Array:
    """What the deployed operator is given for a tensor: the float graph's value, or drawn where that is not known."""
    tensor = pair.deployed.tensors[index]
    reference = pair.tensors.get(pair.deployed.origin(index))
    value = known.get(reference) if reference is not None else None
    if value is None:
        shape = tuple(max(size, 1) for size in tensor.shape)
        if tensor.grid is not None:
            return rng.integers(tensor.grid.low, tensor.grid.high, shape, endpoint=True).astype(tensor.dtype.lower())
        value = rng.normal(size=shape) if tensor.dtype.startswith("FLOAT") else np.zeros(shape)
    if tensor.grid is None:
        return value if value.dtype == object else value.astype(flatbuffer.numpy_dtype(tensor.dtype))
    scales, zeros = tensor.grid.spread(value.shape)
    number = np.where(np.isnan(value), 0.0, value.astype(np.float64))  # no grid has NaN
    rounded = np.clip(np.rint(number / scales + zeros), tensor.grid.low, tensor.grid.high)
    return np.asarray(rounded.astype(tensor.dtype.lower()))


def _real(value: Array, grid: Grid | None) -> Array:
    if grid is None:
        return value
    scales, zeros = grid.spread(value.shape)
    return np.asarray((value.astype(np.float64) - zeros) * scales)


def _moved(pair: Pair, ours: Operator, index: int, value: Array, rng: np.random.Generator) -> Array:
    """An input as a kernel has it that rounds its float inputs to 8 bits itself, where the operator has quantized weights."""
    tensors = [pair.deployed.tensors[i] for i in ours.inputs if i >= 0]
    if (
        value.dtype != np.float32
        or pair.deployed.tensors[index].grid is not None
        or not any(tensor.grid is not None and tensor.stored is not None for tensor in tensors)
    ):
        return value
    step = float(np.max(np.abs(value), initial=0.0)) / 127
    return (value + rng.uniform(-step / 2, step / 2, value.shape)).astype(np.float32)


def _ratio(grid: Grid | None, got: Array, want: Array, hybrid: Array) -> float:
    if got.shape != want.shape:
        return float("inf")
    if want.dtype.kind not in "f":
        return float(np.mean(got != want)) / _UNEQUAL if got.size else 0.0
    value, expected, moved = _real(got, grid).astype(np.float64), want.astype(np.float64), hybrid.astype(np.float64)
    explained = 0.0
    if grid is not None:
        step, zero = grid.spread(value.shape)
        low, high = (grid.low - zero) * step, (grid.high - zero) * step
        expected, moved = np.clip(expected, low, high), np.clip(moved, low, high)
        explained = float(np.max(np.abs(step))) / np.sqrt(12)
    with np.errstate(invalid="ignore"):
        equal = (value == expected) | (np.isnan(value) & np.isnan(expected))
        apart_by = np.where(equal, 0.0, value - expected)
        shaken = np.where(np.isfinite(moved) & np.isfinite(expected), moved - expected, 0.0)
    if not value.size:
        return 0.0
    largest = float(np.max(np.abs(expected), where=np.isfinite(expected), initial=0.0))
    explained = np.sqrt(explained**2 + (_FLOAT * largest) ** 2 + float(np.mean(shaken**2)))
    noise = float(np.sqrt(np.mean(apart_by**2)))
    return 0.0 if noise == 0 else float(noise / explained) if explained else float("inf")


def _layer(graph: Graph, operator: Operator) -> str:
    return graph.tensors[operator.outputs[0]].name.partition(";")[0] if operator.outputs else operator.op
