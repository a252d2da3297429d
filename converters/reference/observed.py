"""What golden shows of a signature to whoever gets a release: the values that inputs and outputs had, and two samples.

A file that wants numbers from 0 to 1 computes nonsense of pixels from 0 to 255, and says nothing: these are what to hold
one's own inputs against.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from converters.contract.values import Case, Frozen, Signature, TensorSpec
from converters.formats.dtypes import is_inexact

MOST_ELEMENTS = 256
"""Of one tensor of a sample; a larger one would make the manifest larger than the model."""
SAMPLES = 2


class ObservedTensor(Frozen):
    """The signature's dtype and shape of a tensor, and the least and greatest of its finite values in golden.

    There are none of strings, bools and complex numbers, and where nothing is finite.
    """

    dtype: str
    shape: tuple[int | None, ...] | None
    least: float | None = None
    greatest: float | None = None


class Sample(Frozen):
    """One sample of golden and the live model's answer: nested lists, or None for a tensor of more than MOST_ELEMENTS.

    `case` is the index of golden's call of this signature, `row` that of the sample in its batch; None where a call is one
    sample, whose lists then have all dimensions. Strings are UTF-8, complex numbers pairs; what is not finite is the text
    "NaN", "Infinity" or "-Infinity", since JSON has no number for it.
    """

    case: int
    row: int | None
    inputs: dict[str, Any]
    outputs: dict[str, Any]


class Observed(Frozen):
    """One signature: its tensors by name, and at most SAMPLES samples."""

    inputs: dict[str, ObservedTensor]
    outputs: dict[str, ObservedTensor]
    samples: tuple[Sample, ...] = ()


def observed(signatures: Mapping[str, Signature], cases: Mapping[str, Sequence[Case]]) -> dict[str, Observed]:
    """By signature key, of golden's calls; without values for a signature that golden has no call of."""
    return {key: _of_one(signature, cases.get(key, ())) for key, signature in signatures.items()}


def _of_one(signature: Signature, cases: Sequence[Case]) -> Observed:
    sides = {
        side: {
            name: _tensor(spec, [value for case in cases if (value := getattr(case, side).get(name)) is not None])
            for name, spec in getattr(signature, side).items()
        }
        for side in ("inputs", "outputs")
    }
    samples = [_sample(signature, cases, case, row) for case, row in chosen(signature, cases)]
    return Observed(**sides, samples=tuple(samples))


def extremes(arrays: Iterable[np.ndarray[Any, Any]]) -> tuple[float, float] | None:
    """The least and greatest finite value; None where there is none, or values have no order."""
    ends: list[float] = []
    for array in arrays:
        if array.dtype.kind in "Ob" or np.iscomplexobj(array):
            return None
        # float64 holds every number of the narrower kinds, and bfloat16, of which NumPy has no minimum.
        wide = array.astype(np.float64) if is_inexact(array) else array
        finite = wide[np.isfinite(wide)] if is_inexact(array) else wide.ravel()
        if finite.size:
            ends += [_short(finite.min(), array.dtype), _short(finite.max(), array.dtype)]
    return (min(ends), max(ends)) if ends else None


def _tensor(spec: TensorSpec, arrays: Sequence[np.ndarray[Any, Any]]) -> ObservedTensor:
    ends = extremes(arrays)
    least, greatest = ends if ends is not None else (None, None)
    return ObservedTensor(dtype=spec.dtype, shape=spec.shape, least=least, greatest=greatest)


def chosen(signature: Signature, cases: Sequence[Case]) -> Iterator[tuple[int, int | None]]:
    """Call and row of the samples that are shown: the first of the first call and the one in its middle.

    Or the first calls, where each is a sample.
    """
    if signature.dynamic_batch and cases and _by_sample(cases[0]):
        for row in sorted({0, cases[0].batch // 2})[:SAMPLES]:
            yield 0, row
    else:
        for index in range(min(SAMPLES, len(cases))):
            yield index, None


def _by_sample(case: Case) -> bool:
    """Whether every array has one row for each sample."""
    values = [*case.inputs.values(), *case.outputs.values()]
    return case.batch > 0 and all(value.ndim and len(value) == case.batch for value in values)


def _sample(signature: Signature, cases: Sequence[Case], case: int, row: int | None) -> Sample:
    sides = {
        side: {name: _listed(getattr(cases[case], side)[name], row) for name in getattr(signature, side)}
        for side in ("inputs", "outputs")
    }
    return Sample(case=case, row=row, **sides)


def _listed(array: np.ndarray[Any, Any], row: int | None) -> Any:
    value = array if row is None else array[row]
    return None if np.size(value) > MOST_ELEMENTS else as_json(np.asarray(value))


def as_json(array: np.ndarray[Any, Any]) -> Any:
    """Nested lists (of a scalar, its value) of what JSON has; floats in the fewest digits that their own dtype needs."""
    if array.ndim:
        return [as_json(np.asarray(part)) for part in array]
    item = array.item()
    if isinstance(item, bytes):
        return item.decode(errors="backslashreplace")
    if isinstance(item, complex):
        return [as_json(np.asarray(array.real)), as_json(np.asarray(array.imag))]
    if isinstance(item, bool | int | str):
        return item
    number = _short(float(item), array.dtype)
    return number if math.isfinite(number) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(number, "NaN")


def _short(number: Any, dtype: np.dtype[Any]) -> float:
    """A float32 of 0.1 as 0.1, not as 0.10000000149011612."""
    return float(str(np.asarray(number, dtype)[()]))
