"""What each layer of a lossy TF Lite file adds to its output, given the float graph's own inputs.

Every operator that quantizing changed is run apart, on the values that the float graph has there, rounded to the operator's
own grids; and beside it the float graph's operator on the very same numbers, with the deployed constants. The two differ
by the rounding of the output alone, so that a kernel, a grid or an option that is wrong shows whatever the values are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.contract.values import LayerNoise
from converters.targets.tflite import apart, flatbuffer
from converters.targets.tflite.graph import Array, Graph, Grid, Operator
from converters.targets.tflite.matching import Pair

_FLOAT = 2.0**-18
"""Noise of float32 arithmetic, as a share of the largest output: sums of a few thousand products in another order."""

_UNEQUAL = 0.025
"""Share of integers and booleans that may differ: where two numbers are one on a grid, a comparison can go either way."""


@dataclass(frozen=True)
class Values:
    """Of a pair's subgraphs: what the float graph has, by its tensors."""

    pair: Pair
    known: Mapping[int, Array]


Teller = Callable[[Mapping[int, Array]], dict[int, Array]]
"""The values of a float graph's tensors by those of its inputs."""


def teller(graph: Graph) -> Teller:
    """Raises Damaged where the graph cannot be run, as it does when it is called."""
    interpreter, options = _reference(graph.model)
    file = apart.told(graph)
    run = apart.opened(file, interpreter, **options)

    def tell(inputs: Mapping[int, Array]) -> dict[int, Array]:
        return {**inputs, **dict(zip(file.outputs, run(inputs[index] for index in graph.inputs), strict=True))}

    return tell


def observed(pairs: Sequence[Pair], tell: Teller, inputs: Mapping[int, Array]) -> list[Values]:
    """The float graph's values in every subgraph; those of a loop or branch are of what it is given first.

    `tell` is the first pair's. Of a subgraph that is given what is no array (a list of tensors) nothing is known.
    """
    feeds: dict[int, Mapping[int, Array]] = {pairs[0].reference.number: inputs}
    found = []
    for pair in pairs:
        graph, given = pair.reference, feeds.get(pair.reference.number, {})
        whole = all(index in given for index in graph.inputs)
        known = (tell if pair is pairs[0] else teller(graph))(given) if whole else {}
        found.append(Values(pair, known))
        for operator in graph.layers:
            entering, _, inner = graph.flow(operator)
            for each in inner:
                outer = entering[-len(each.inputs) :] if each.inputs else ()
                feeds.setdefault(each.number, dict(_entering(graph, known, each, outer)))
    return found


def _entering(
    graph: Graph, known: Mapping[int, Array], inner: Graph, outer: Sequence[int]
) -> Iterator[tuple[int, Array]]:
    for index, origin in zip(inner.inputs, outer, strict=True):
        constant = graph.constant(origin)
        if constant is not None and constant.stored is not None:
            yield index, constant.stored
        elif origin in known:
            yield index, known[origin]


def _reference(model: Any) -> tuple[type[Any], dict[str, Any]]:
    """The interpreter that runs the float file: TensorFlow's where it has select TF ops."""
    if any(name.startswith(flatbuffer.FLEX) for name in flatbuffer.op_names(model)):
        import tensorflow as tf

        return tf.lite.Interpreter, {}
    return _plain()


def _plain() -> tuple[type[Any], dict[str, Any]]:
    """LiteRT's interpreter without delegates, whose kernels are others than those that files are deployed with."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    return Interpreter, {"experimental_op_resolver_type": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}


def added(values: Values) -> Iterator[LayerNoise]:
    """The noise of every operator; none is added by one that is the model's own."""
    pair = values.pair
    changed = []
    for ours, theirs in pair.layers:
        if _is_changed(pair, ours, theirs) and apart.has_values(pair.deployed, ours) and not _flex(ours):
            changed.append((ours, theirs))
        else:
            yield LayerNoise(layer=_layer(pair.deployed, ours), op=ours.op, ratio=0.0)
    if changed:
        yield from _measured(values, changed)


def _flex(operator: Operator) -> bool:
    return operator.op.startswith(flatbuffer.FLEX)


def _is_changed(pair: Pair, ours: Operator, theirs: Operator) -> bool:
    """Whether a tensor of the operator has another type or a grid, or a constant another dtype."""
    for one, other in zip((*ours.inputs, *ours.outputs), (*theirs.inputs, *theirs.outputs), strict=False):
        if one >= 0 and other >= 0 and _dtype(pair.deployed, one) != _dtype(pair.reference, other):
            return True
    return False


def _dtype(graph: Graph, index: int) -> str:
    constant = graph.constant(index)
    return constant.dtype if constant is not None else graph.tensors[index].dtype


def _measured(values: Values, changed: Sequence[tuple[Operator, Operator]]) -> Iterator[LayerNoise]:
    from ai_edge_litert.interpreter import Interpreter

    pair, rng = values.pair, np.random.default_rng(0)
    deployed = apart.apart(pair.deployed, [ours for ours, _ in changed], {})
    twin = apart.apart(pair.reference, [theirs for _, theirs in changed], dict(_constants(pair, changed)))
    feeds = [_held(values, index, rng) for _, index in deployed.inputs]
    numbers = [
        _real(value, pair.deployed.tensors[i].grid) for value, (_, i) in zip(feeds, deployed.inputs, strict=True)
    ]
    theirs = [
        value.astype(flatbuffer.numpy_dtype(pair.reference.tensors[index].dtype)) if value.dtype != object else value
        for value, (_, index) in zip(numbers, twin.inputs, strict=True)
    ]
    interpreter, options = _plain()
    got, run = apart.opened(deployed, Interpreter)(feeds), apart.opened(twin, interpreter, **options)
    want = run(theirs)
    moved = [
        _moved(pair, changed, place, index, value, rng)
        for value, (place, index) in zip(theirs, deployed.inputs, strict=True)
    ]
    still = all(one is other for one, other in zip(moved, theirs, strict=True))
    hybrid = want if still else run(moved)
    results = zip(deployed.outputs, got, want, hybrid, strict=True)
    for ours, _ in changed:
        ratios = [_ratio(pair.deployed.tensors[index].grid, *next(results)[1:]) for index in ours.outputs]
        yield LayerNoise(layer=_layer(pair.deployed, ours), op=ours.op, ratio=max(ratios))


def _constants(pair: Pair, changed: Sequence[tuple[Operator, Operator]]) -> Iterator[tuple[tuple[int, int], Array]]:
    """The deployed constants in the float graph's dtypes, where they are of another, by place of operator and input."""
    for place, (ours, theirs) in enumerate(changed):
        for position, (one, other) in enumerate(zip(ours.inputs, theirs.inputs, strict=True)):
            constant = pair.deployed.constant(one) if one >= 0 and other >= 0 else None
            if constant is not None and constant.dtype != (dtype := pair.reference.tensors[other].dtype):
                yield (place, position), constant.real.astype(flatbuffer.numpy_dtype(dtype))


def _held(values: Values, index: int, rng: np.random.Generator) -> Array:
    """What the deployed operator is given for a tensor: the float graph's value, or drawn where that is not known."""
    pair = values.pair
    tensor = pair.deployed.tensors[index]
    reference = pair.tensors.get(pair.deployed.origin(index))
    value = values.known.get(reference) if reference is not None else None
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


def _moved(
    pair: Pair,
    changed: Sequence[tuple[Operator, Operator]],
    place: int,
    index: int,
    value: Array,
    rng: np.random.Generator,
) -> Array:
    """An input as a kernel has it that rounds its float inputs to 8 bits itself, where the operator has quantized weights."""
    ours, _ = changed[place]
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
