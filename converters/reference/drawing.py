"""Drawing golden inputs with a seed, by what the config, the graph, and a plan for the rest say of them."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from converters.contract.settings import GoldenSpec, InputRange
from converters.contract.values import Signature, Tensors, TensorSpec
from converters.formats.dtypes import as_bytes, numpy_dtype, objects

SAMPLES = 16
"""Samples of golden, unless the config says how many."""


Numbers = Literal["normal", "wide", "unit", "pixels"]


@dataclass(frozen=True)
class Plan:
    """One way to draw what neither the config nor the graph decides.

    `numbers` is where numbers lie: standard normal (integers below 10), spread wider, in [0, 1) (integers below 2), or
    in [0, 255). `size` stands for every dynamic dimension but the batch, with `step` more for each dimension before it;
    `rank` is that of inputs of unknown rank.
    With `alone`, a dynamic batch holds one sample in every call. Without `unknown`, only words that a table knows.
    `times` is how many times the usual number of samples are drawn, where the config says nothing of it.
    """

    numbers: Numbers = "normal"
    size: int = 8
    step: int = 0
    rank: int = 2
    alone: bool = False
    unknown: bool = True
    seed: int = 0
    times: int = 1


@dataclass(frozen=True)
class Special:
    """Which of an input's elements make a difference to the graph.

    `equal` are constants that it looks for, such as padding, and `around` those that elements are greater or less than.
    With `missing` it looks for NaN; with `ranked` it sorts, so that ties count; with `boxes` they are the corners of
    rectangles; with `large` it only calculates with them, so that integers may be of any size.
    """

    equal: tuple[float, ...] = ()
    around: tuple[float, ...] = ()
    missing: bool = False
    ranked: bool = False
    boxes: bool = False
    large: bool = False


@dataclass(frozen=True)
class Hint:
    """What the graph does with an input, as far as it tells what the input's elements should be.

    Integers index something of `high` entries; `values` are the keys of a table, to which `unknown` is none, and with
    `sentences` several of them are joined by blanks; `make` draws one element, such as a serialized tf.Example.
    """

    high: int | None = None
    values: tuple[Any, ...] = ()
    unknown: Any = None
    sentences: bool = False
    make: Callable[[np.random.Generator, Plan], bytes] | None = None
    special: Special = Special()


Hints = Mapping[str, Hint]
"""By input name."""


def draw(signature: Signature, spec: GoldenSpec, hints: Hints | None = None, plan: Plan | None = None) -> list[Tensors]:
    """Seeded inputs for one signature, one dict per call.

    With a dynamic batch: one call of `samples_of` samples and one of another batch size, 1. Otherwise that many calls
    of the signature's own shape, since samples can then differ only between calls.
    """
    plan = plan or Plan()
    samples = samples_of(signature, spec, plan)
    if not signature.dynamic_batch:
        sizes = [0] * samples
    elif plan.alone:
        sizes = [1] * samples
    else:
        sizes = [samples, 1]
    return draw_calls(signature, spec, hints or {}, plan, sizes)


def samples_of(signature: Signature, spec: GoldenSpec, plan: Plan) -> int:
    """How many samples a plan has: the config's number of them, or the usual one some times over."""
    if not signature.dynamic_batch:
        return 4 if spec.samples is not None else 4 * plan.times
    return spec.samples or SAMPLES * plan.times


def draw_calibration(
    signature: Signature,
    spec: GoldenSpec,
    hints: Hints,
    plan: Plan,
    golden: Sequence[Tensors],
    fewer: int | None = None,
) -> list[Tensors]:
    """Inputs to calibrate on: golden's, and others of another seed; a call for each size of samples, or one per sample.

    `fewer` others, where it says how many; else CALIBRATION, or as many as CALIBRATION_BYTES hold. Golden's are among them
    because ranges that exclude the largest of some drawn numbers would say nothing of the conversion.
    """
    others = dataclasses.replace(plan, seed=plan.seed + _CALIBRATION_SEED)
    (one,) = draw_calls(signature, spec, hints, others, [1 if signature.dynamic_batch else 0])
    samples = fewer or max(
        1, min(CALIBRATION, CALIBRATION_BYTES // max(1, sum(value.nbytes for value in one.values())))
    )
    drawn = draw_calls(signature, spec, hints, others, [samples] if signature.dynamic_batch else [0] * samples)
    if not signature.dynamic_batch:
        return [*golden, *drawn]
    by_size: dict[tuple[tuple[int, ...], ...], list[Tensors]] = {}
    for call in (*drawn, *golden):
        by_size.setdefault(tuple(call[name].shape[1:] for name in signature.inputs), []).append(call)
    return [
        {name: np.concatenate([call[name] for call in calls]) for name in signature.inputs}
        for calls in by_size.values()
    ]


CALIBRATION = 64
CALIBRATION_BYTES = 64 << 20
_CALIBRATION_SEED = 7919


def draw_calls(signature: Signature, spec: GoldenSpec, hints: Hints, plan: Plan, sizes: Sequence[int]) -> list[Tensors]:
    """Seeded inputs, a call for each batch size; 0 where the batch is not dynamic."""
    rng = np.random.default_rng([spec.seed, plan.seed] if plan.seed else spec.seed)
    return [
        {
            name: _drawn(rng, tensor, size, spec.inputs.get(name, InputRange()), hints.get(name, Hint()), plan)
            for name, tensor in signature.inputs.items()
        }
        for size in sizes
    ]


def _drawn(
    rng: np.random.Generator, tensor: TensorSpec, batch: int, how: InputRange, hint: Hint, plan: Plan
) -> np.ndarray[Any, Any]:
    shape = concrete(tensor, batch, how.shape, plan)
    if how.values is not None:
        hint = Hint(values=how.values)
    elif how.low is not None or how.high is not None:
        return _within(rng, shape, tensor.dtype, how, hint)
    return elements(rng, shape, tensor.dtype, hint, plan)


def _within(
    rng: np.random.Generator, shape: tuple[int, ...], dtype_name: str, how: InputRange, hint: Hint
) -> np.ndarray[Any, Any]:
    """Numbers in the range of the config; a range means nothing to strings and bools."""
    if dtype_name in ("string", "bool"):
        return elements(rng, shape, dtype_name, Hint(), Plan())
    dtype = numpy_dtype(dtype_name)
    if dtype.kind in "iu":
        low, high = how.bounds(10)
        return np.asarray(rng.integers(math.ceil(low), math.ceil(high), size=shape)).astype(dtype)
    low, high = how.bounds(1)
    if hint.special.boxes and shape[-1:] == (4,):
        return (low + (high - low) * _boxes(rng, shape)).astype(dtype)
    return np.asarray(rng.uniform(low, high, size=shape)).astype(dtype)


def elements(
    rng: np.random.Generator, shape: tuple[int, ...], dtype_name: str, hint: Hint, plan: Plan
) -> np.ndarray[Any, Any]:
    """An array of that shape and dtype, drawn by hint and plan."""
    if hint.values:
        chosen = _each(rng, _candidates(hint, plan), math.prod(shape)).reshape(shape)
        if dtype_name != "string":
            return np.asarray(chosen).astype(numpy_dtype(dtype_name))
        if hint.sentences:
            # Of several lengths: where the graph knows as many words as a sentence has, all would hold the same ones.
            words = iter(_each(rng, _candidates(hint, plan), _LONGEST_SENTENCE * chosen.size).tolist())
            return _texts(
                shape, lambda: b" ".join(as_bytes(next(words)) for _ in range(rng.integers(1, _LONGEST_SENTENCE + 1)))
            )
        words = iter(chosen.ravel().tolist())
        return _texts(shape, lambda: as_bytes(next(words)))
    if dtype_name == "string":
        make = hint.make
        if make is not None:
            return _texts(shape, lambda: make(rng, plan))
        return _texts(shape, lambda: bytes(rng.integers(97, 123, size=rng.integers(1, 9)).astype(np.uint8)))
    dtype = numpy_dtype(dtype_name)
    if dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, size=shape)).astype(bool)
    if hint.high is not None or dtype.kind in "iu":
        high = hint.high or _INTEGERS_BELOW[plan.numbers]
        if dtype.kind in "iu":
            high = min(high, int(np.iinfo(dtype).max) + 1)
        if hint.high is not None:
            return _each(rng, np.arange(high), math.prod(shape)).reshape(shape).astype(dtype)
        return np.asarray(rng.integers(0, high, size=shape)).astype(dtype)
    if hint.special.boxes and shape[-1:] == (4,):
        return _boxes(rng, shape).astype(dtype)
    if dtype.kind == "c":
        return np.asarray(_numbers(rng, shape, plan) + 1j * _numbers(rng, shape, plan)).astype(dtype)
    return np.asarray(_numbers(rng, shape, plan)).astype(dtype)


_LONGEST_SENTENCE = 6
"""Words."""
_INTEGERS_BELOW = {"normal": 10, "wide": 100, "unit": 2, "pixels": 256}


def _numbers(rng: np.random.Generator, shape: tuple[int, ...], plan: Plan) -> Any:
    if plan.numbers in ("unit", "pixels"):
        return rng.uniform(0, 1 if plan.numbers == "unit" else 255, size=shape)
    return rng.normal(size=shape) * (4 if plan.numbers == "wide" else 1)


def _boxes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Rectangles [..., n, 4] within [0, 1): lesser corner, greater corner. They lie on each other in a few heaps."""
    boxes = math.prod(shape[:-1])
    heaps = rng.integers(2, 3 + boxes // 8)
    centres, halves = rng.uniform(0.2, 0.8, size=(heaps, 2)), rng.uniform(0.05, 0.15, size=(heaps, 2))
    which = rng.integers(0, heaps, size=boxes)
    centre, half = centres[which] + rng.normal(0, 0.005, size=(boxes, 2)), halves[which]
    return np.concatenate([centre - half, centre + half], axis=1).reshape(shape)


def _each(rng: np.random.Generator, among: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """Draws [size] in which none comes again before all have come: as many different ones as can be."""
    rounds = [rng.permutation(len(among)) for _ in range(-(-size // len(among)))]
    return np.asarray(among[np.concatenate(rounds)[:size] if rounds else np.zeros(0, int)])


def _candidates(hint: Hint, plan: Plan) -> np.ndarray[Any, Any]:
    return objects([*hint.values, *([hint.unknown] if hint.unknown is not None and plan.unknown else [])])


def _texts(shape: tuple[int, ...], make: Callable[[], bytes]) -> np.ndarray[Any, Any]:
    """A string tensor of elements made one after another."""
    return objects([make() for _ in range(math.prod(shape))]).reshape(shape)


def concrete(tensor: TensorSpec, batch: int, sample: Sequence[int] | None, plan: Plan) -> tuple[int, ...]:
    """The signature's shape with a number for every dynamic dimension: the plan's where the config says nothing."""
    if sample is not None:
        return (batch, *sample) if batch and tensor.shape is not None else tuple(sample)
    if tensor.shape is None:
        return ((batch or 8,) + (plan.size,) * (plan.rank - 2) + (plan.size if plan.rank < 4 else 3,))[: plan.rank]
    shape = tuple(plan.size + i * plan.step if known is None else known for i, known in enumerate(tensor.shape))
    return (batch, *shape[1:]) if batch else shape
