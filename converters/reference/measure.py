"""How far outputs are from the live model's, as numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converters.formats.dtypes import is_inexact

FAR = 4.0
"""How many times the tolerance golden outputs must differ between samples before a comparison counts.

Below about 1 a model that ignores its input would pass; 4 leaves room for the tolerance itself on both samples."""
MOST_DB = 200.0
"""Signal-to-noise ratios are cut to +- this, so that no error at all has a figure too: float32 alone ends near 150 dB."""
PROBABILITIES = 1e-3
"""How far from 1 the rows of a softmax may sum, computed in float16."""
Array = np.ndarray[Any, Any]


def measure(reference: Array, got: Array, scale: float | None = None) -> float:
    """Distance of two arrays of one shape; NaN where they are non-finite in different places.

    `scale` is what the error of float arrays is relative to: unless given, max |reference|, or 1 where that is 0.
    """
    if reference.size == 0:
        return 0.0
    if not is_inexact(reference):
        return float(np.mean(reference != got))
    wide = np.complex128 if np.iscomplexobj(reference) else np.float64
    reference, got = reference.astype(wide), got.astype(wide)
    finite = np.isfinite(reference)
    if not np.array_equal(finite, np.isfinite(got)) or not np.array_equal(
        reference[~finite], got[~finite], equal_nan=True
    ):
        return float("nan")
    if not finite.any():
        return 0.0
    with np.errstate(over="ignore"):  # infinite, and so above every limit
        error = float(np.abs(reference[finite] - got[finite]).max())
    return error / (scale or scale_of([reference]))


def scale_of(references: Sequence[Array]) -> float:
    """The largest finite magnitude in any of the arrays; 1 where all are zero, empty, or compared exactly."""
    largest = 0.0
    for reference in references:
        if is_inexact(reference):
            wide = reference.astype(np.complex128 if np.iscomplexobj(reference) else np.float64)
            largest = max(largest, float(np.abs(wide[np.isfinite(wide)]).max(initial=0.0)))
    return largest or 1.0


def fidelity(
    references: Sequence[Array],
    got: Sequence[Array],
    *,
    classes: bool = False,
    centres: Mapping[int, Array] | None = None,
) -> dict[str, float]:
    """How much of a float output is left, over all arrays together; nothing for outputs that are compared exactly.

    `snr_db`: 10 log10(sum |reference|^2 / sum |error|^2), cut to +-MOST_DB. `cosine`: of the two as vectors. Both are of what
    differs from `centres`, of one sample's shape by the index of its array, and of no other arrays, where there are any: the
    part of an output that is the same whatever goes in then counts for nothing (as in the explained variance of statistics).
    With `classes`, `top1`: the share of rows (along the last axis) whose largest element is at the same place. Elements that
    are not finite on either side are left out of the first two; `measure` judges those.
    """
    if not references or not is_inexact(references[0]):
        return {}
    scale = scale_of(references)
    signal = noise = power = product = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for index, (reference, other) in enumerate(zip(references, got, strict=True)):
            if centres and index not in centres:
                continue
            middle = centres[index] if centres else 0.0
            wide = np.complex128 if np.iscomplexobj(reference) else np.float64
            here, there = (reference.astype(wide) - middle) / scale, (other.astype(wide) - middle) / scale
            both = np.isfinite(here) & np.isfinite(there)
            here, there = here[both], there[both]
            signal += float(np.sum(np.abs(here) ** 2))
            noise += float(np.sum(np.abs(here - there) ** 2))
            power += float(np.sum(np.abs(there) ** 2))
            product += float(np.sum(np.real(np.conj(here) * there)))
        figures = {"snr_db": _decibels(signal, noise)}
        lengths = float(np.sqrt(signal) * np.sqrt(power))
    figures["cosine"] = 1.0 if noise == 0 else max(-1.0, min(1.0, product / lengths)) if 0 < lengths < np.inf else 0.0
    if classes:
        agree = [r.argmax(axis=-1) == g.argmax(axis=-1) for r, g in zip(references, got, strict=True) if r.size]
        figures["top1"] = float(np.mean(np.concatenate([np.atleast_1d(a) for a in agree]))) if agree else 1.0
    return figures


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return MOST_DB
    if signal == 0 or not np.isfinite(noise):
        return -MOST_DB
    return float(np.clip(10 * np.log10(signal / noise), -MOST_DB, MOST_DB))


def scores_classes(references: Sequence[Array]) -> bool:
    """Whether a float output is a classifier's beyond doubt: [n, classes], each row none negative and summing to 1.

    Logits look like any other vectors, and so are a classifier's only where the config says so.
    """
    for reference in references:
        if reference.ndim != 2 or reference.shape[1] < 2 or "float" not in reference.dtype.name:
            return False
        rows = reference.astype(np.float64)
        if not (np.all(rows >= 0) and np.all(np.abs(rows.sum(axis=1) - 1) <= PROBABILITIES)):
            return False
    return bool(references)


def accuracy(output: Array, labels: Array) -> float:
    """The share of samples that an output gets right; labels are [n].

    A float output of [n, classes] answers with the index of its largest element, one of [n] or [n, 1] with whether it is
    above 0.5 (a sigmoid), and any other dtype with its value.

    Raises:
        ValueError: the shapes do not fit; says how.
    """
    if labels.ndim != 1 or output.ndim not in (1, 2) or len(output) != len(labels):
        raise ValueError(
            f"accuracy takes labels of [n] and an output of [n] or [n, classes], not {list(labels.shape)} and "
            f"{list(output.shape)}; give a metric of your own"
        )
    if output.ndim == 2 and output.shape[1] > 1:
        if not is_inexact(output):
            raise ValueError(f"accuracy cannot read {output.dtype.name} of {list(output.shape)} as classes")
        answers = output.astype(np.float64).argmax(axis=1)
    else:
        answers = output.reshape(-1)
        if is_inexact(output):
            answers = (answers.astype(np.float64) > 0.5).astype(np.int64)
    return float(np.mean(answers == labels))
