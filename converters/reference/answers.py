"""What a file answered to single samples, for a person to look at: those that `observed` shows, and those it was worst on.

Nothing is judged by them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from converters.contract.values import Case, Frozen, Prediction, Signature
from converters.formats.dtypes import is_inexact
from converters.reference.measure import Array, scale_of
from converters.reference.observed import MOST_ELEMENTS, as_json, chosen

WORST = 3
"""Samples on which a file was furthest from the live model, beside those of `observed`."""
MOST_CLASSES = 5
"""The largest elements that are kept of a vector that is too long to be kept."""


class Answer(Frozen):
    """What `runtime` returned for one sample: `case` and `row` are those of `observed.Sample`.

    `error` is the largest over the outputs: of floats max |error| over the output's scale in golden, of others the share of
    unequal elements; None where it is not finite. `outputs` are nested lists; of a vector of more than MOST_ELEMENTS
    {"top": [[index, value], ...]}, its largest elements; None of any other tensor of that size.
    """

    case: int
    row: int | None
    runtime: str
    error: float | None
    outputs: dict[str, Any]


def answers(signature: Signature, cases: Sequence[Case], predictions: Sequence[Prediction]) -> tuple[Answer, ...]:
    """Those of the runtime that was furthest from the live model, the worst first.

    `predictions` are of golden's calls alone, and of the names and shapes that the signature has.
    """
    shown = list(chosen(signature, cases))
    found: list[tuple[float, Answer]] = []
    for prediction in predictions:
        errors = dict(_errors(cases, prediction, by_row=bool(shown) and shown[0][1] is not None))
        worst = sorted(errors, key=lambda place: -_of(errors[place]))[:WORST]
        places = dict.fromkeys([*(place for place in worst if _of(errors[place]) > 0), *shown])
        told = [_answer(prediction, place, errors[place]) for place in places if place in errors]
        most = max((_of(error) for error in errors.values()), default=-1.0)
        if told and (not found or most > found[0][0]):
            found = [(most, answer) for answer in told]
    return tuple(answer for _, answer in found)


Place = tuple[int, int | None]


def _of(error: float) -> float:
    return float("inf") if np.isnan(error) else error


def _errors(cases: Sequence[Case], prediction: Prediction, *, by_row: bool) -> Iterator[tuple[Place, float]]:
    """Of each sample of the first call, or of each call; what was not asked for has none."""
    answered = range(len(cases)) if prediction.answered is None else prediction.answered
    scales = {name: scale_of([case.outputs[name] for case in cases]) for name in cases[0].outputs} if cases else {}
    for number, outputs in zip(answered, prediction.outputs, strict=True):
        live = cases[number].outputs
        if by_row and number == 0:
            errors = np.max([_by_row(live[name], outputs[name], scales[name]) for name in live], axis=0)
            yield from (((0, row), float(error)) for row, error in enumerate(errors))
        elif not by_row:
            flat = [_by_row(live[n][np.newaxis], outputs[n][np.newaxis], scales[n])[0] for n in live]
            yield (number, None), float(np.max(flat))


def _by_row(live: Array, got: Array, scale: float) -> Array:
    """The error of each row: [rows]. One of no elements has none."""
    rows = len(live)
    if live.size == 0:
        return np.zeros(rows)
    if not is_inexact(live):
        return np.asarray(np.mean((live != got).reshape(rows, -1), axis=1, dtype=np.float64))
    wide = np.complex128 if np.iscomplexobj(live) else np.float64
    one, other = live.astype(wide).reshape(rows, -1), got.astype(wide).reshape(rows, -1)
    with np.errstate(invalid="ignore", over="ignore"):
        # What is not finite, and the same, is no error.
        error = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0.0, np.abs(one - other))
    return np.asarray(error.max(axis=1) / scale)


def _answer(prediction: Prediction, place: Place, error: float) -> Answer:
    case, row = place
    number = case if prediction.answered is None else prediction.answered.index(case)
    outputs = {name: kept(value if row is None else value[row]) for name, value in prediction.outputs[number].items()}
    finite = float(f"{error:.3g}") if np.isfinite(error) else None
    return Answer(case=case, row=row, runtime=prediction.runtime, error=finite, outputs=outputs)


def kept(value: Any) -> Any:
    """What an answer holds of one sample's output."""
    array = np.asarray(value)
    if array.size <= MOST_ELEMENTS:
        return as_json(array)
    flat = array.reshape(-1)
    if array.shape != flat.shape or not is_inexact(flat) or np.iscomplexobj(flat):
        return None
    top = np.argsort(-flat.astype(np.float64), kind="stable")[:MOST_CLASSES]
    return {"top": [[int(index), as_json(flat[index])] for index in top]}


def live(case: Case, row: int | None) -> Mapping[str, Any]:
    """The live model's answer in the same form."""
    return {name: kept(value if row is None else value[row]) for name, value in case.outputs.items()}
