"""Small changes that make of drawn samples what a draw by chance does not hold, one input at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from converters.contract.settings import InputRange
from converters.contract.values import TensorSpec
from converters.formats.dtypes import as_bytes, is_inexact, numpy_dtype, objects
from converters.reference.drawing import Hint, Plan
from converters.reference.measure import Array

_LENGTHS = ((1.0, False), (0.7, False), (0.0, False), (0.5, True))
"""Of padded samples: the share that is no padding (an element at least), and whether padding comes before it."""
_LARGE = (2**24 + 1, -(2**24) - 3, 2**25 + 1, 2**31 + 5, -(2**31) - 7, 2**40 + 1)
"""Integers that a float32 (of 24 bits) does not hold, and that an int32 does not."""
_TEXTS = ("", "naïve Straße 東京 🎈", "x" * 300, "  two   words\t", "UPPER Case, and punctuation!", "-0.5")


@dataclass(frozen=True)
class Given:
    """One input's drawn samples, and what is known of it."""

    samples: list[Array]
    tensor: TensorSpec
    how: InputRange
    hint: Hint
    plan: Plan
    rng: np.random.Generator

    @property
    def kind(self) -> str:
        """That of the dtype, as NumPy has it; "O" of strings."""
        return "O" if self.tensor.dtype == "string" else numpy_dtype(self.tensor.dtype).kind

    def allowed(self, values: Sequence[float]) -> list[float]:
        """Those of the values that the input's dtype, the config and the graph let it have."""
        if self.kind == "O" or self.how.values is not None:
            return []
        low = self.how.low if self.how.low is not None else -np.inf
        high = self.how.high if self.how.high is not None else np.inf
        if self.kind in "iu":
            dtype = numpy_dtype(self.tensor.dtype)
            low, high = max(low, np.iinfo(dtype).min), min(high, int(np.iinfo(dtype).max))
            values = [value for value in values if value == int(value)]
        if self.hint.high is not None:
            low, high = max(low, 0), min(high, self.hint.high - 1)
        return [value for value in values if low <= value <= high]


Change = Callable[[Given], list[Array] | None]
"""New samples of an input in place of some; None where the change does not concern it."""


@dataclass(frozen=True)
class Limits:
    """Of a change: whether to calibrate on it too (on what users send, and not on what only shows a limit), and whether
    outputs may be NaN for it."""

    calibrates: bool = True
    missing: bool = False


def _padded(given: Given) -> list[Array] | None:
    """Samples of several lengths, filled up at either end with what the graph looks for."""
    values = given.allowed(given.hint.special.equal)[:1]
    return (
        [_filled(s, *length, values[0]) for s, length in zip(given.samples, _LENGTHS, strict=False)] if values else None
    )


def _filled(sample: Array, share: float, before: bool, value: float) -> Array:
    """The sample with that share of its first longer axis left, at least an element, and the value in place of the rest."""
    axis = next((i for i, size in enumerate(sample.shape) if size > 1), None)
    filled = sample.copy()
    if axis is None:
        filled[...] = value if share < 0.7 else sample
        return filled
    size = sample.shape[axis]
    left = max(1, round(share * size))
    np.moveaxis(filled, axis, 0)[slice(0, size - left) if before else slice(left, size)] = value
    return filled


def _empty(given: Given) -> list[Array] | None:
    """Samples of which the first is nothing but padding."""
    values = given.allowed(given.hint.special.equal)[:1]
    return [np.full_like(given.samples[0], values[0]), *given.samples[1:2]] if values else None


def _compared(given: Given) -> list[Array] | None:
    """Samples of which half of the elements are what the graph compares with, or a little more or less."""
    step = 1 if given.kind in "iu" else 1e-3
    constants = [*given.hint.special.around, *given.hint.special.equal]
    near = [
        number
        for c in constants
        for d in (-1, 0, 1)
        for number in (c + d * step * (1 if step == 1 else max(1, abs(c))),)
    ]
    values = given.allowed(near)
    return [_scattered(given.rng, sample, values, 0.5) for sample in given.samples[:2]] if values else None


def _scattered(rng: np.random.Generator, sample: Array, values: Sequence[float], share: float) -> Array:
    """The sample with about that share of its elements, one at least, replaced."""
    places = np.asarray(rng.random(size=sample.shape) < share)
    if not places.any() and places.size:
        places.flat[0] = True
    return np.where(places, rng.choice(np.asarray(values), size=sample.shape), sample).astype(sample.dtype)


def _missing(given: Given) -> list[Array] | None:
    """A sample with NaN in some places, and one of nothing else."""
    if not given.hint.special.missing or given.kind not in "fV":
        return None
    some = [_scattered(given.rng, sample, [np.nan], 0.3) for sample in given.samples[:1]]
    return [*some, *(np.full_like(sample, np.nan) for sample in given.samples[1:2])]


def _large(given: Given) -> list[Array] | None:
    """Integers that narrower types do not hold, where they are only calculated with."""
    if not given.hint.special.large or given.kind not in "iu":
        return None
    values = given.allowed(_LARGE)
    return [_scattered(given.rng, sample, values, 0.7) for sample in given.samples[:2]] if values else None


def _ends(given: Given) -> list[Array] | None:
    """A sample of the least an input can be, one of the most, and one of both, where its range is known."""
    ends = _range(given)
    if ends is None:
        return None
    samples = [np.full_like(sample, end) for sample, end in zip(given.samples, ends, strict=False)]
    return [*samples, *(_scattered(given.rng, sample, ends, 1.0) for sample in given.samples[2:3])]


def _range(given: Given) -> tuple[float, float] | None:
    how, hint, dtype = given.how, given.hint, given.tensor.dtype
    if how.values is not None or given.kind == "O" or hint.special.boxes:
        return None
    if how.low is not None or how.high is not None:
        low, high = how.bounds(1)
        return (np.ceil(low), np.ceil(high) - 1) if numpy_dtype(dtype).kind in "iu" else (low, high)
    if hint.values or hint.high is not None:
        return None
    if dtype in ("bool", "uint8"):
        return (0, 1 if dtype == "bool" else 255)
    ends = {"unit": 1.0, "pixels": 255.0}.get(given.plan.numbers)
    return (0.0, ends) if ends is not None and is_inexact(given.samples[0]) else None


def _texts(given: Given) -> list[Array] | None:
    """Strings that are empty, long, of several words, or not in English."""
    if given.kind != "O" or given.how.values is not None or given.hint.make is not None:
        return None
    texts = [text.encode() for text in _TEXTS] + [as_bytes(word).upper() for word in given.hint.values[:1]]
    return [
        objects([texts[(i + j) % len(texts)] for j in range(sample.size)]).reshape(sample.shape)
        for i, sample in zip(range(len(texts)), given.samples, strict=False)
    ]


def _ties(given: Given) -> list[Array] | None:
    """Samples whose neighbours are equal, where the graph sorts."""
    if not given.hint.special.ranked or given.samples[0].ndim == 0 or given.kind == "O":
        return None
    return [np.repeat(sample[..., ::2], 2, axis=-1)[..., : sample.shape[-1]] for sample in given.samples[:2]]


CHANGES: tuple[tuple[Change, Limits], ...] = (
    (_padded, Limits()),
    (_empty, Limits()),
    (_compared, Limits()),
    (_ends, Limits()),
    (_texts, Limits()),
    (_ties, Limits()),
    (_missing, Limits(calibrates=False, missing=True)),
    (_large, Limits(calibrates=False)),
)
