"""Samples of golden as a person sees them: images as pictures, sounds as curves, text as text; and what each file answered."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from converters.contract.values import Case
from converters.reference import answers
from converters.reference.observed import Observed, ObservedTensor, extremes
from converters.release import figures, plots
from converters.release.manifest import Manifest

MOST = 6
"""Samples of a signature on the page."""
_LEAST_PIXELS, _MOST_PIXELS = 8, 224
_LEAST_SOUND = 256
"""Elements of a vector from which on it is drawn."""
_MOST_NUMBERS = 8
_MOST_TEXT = 400
_CLASSES = 3
Array = np.ndarray[Any, Any]


class Answered(NamedTuple):
    """One side's answer: who, what by output, and how far it is from the live model's."""

    who: str
    outputs: dict[str, str]
    error: str
    differs: bool
    """Whether its top class is another than the live model's."""


class Shown(NamedTuple):
    """One sample on the page."""

    title: str
    inputs: dict[str, Markup]
    live: dict[str, str]
    answers: list[Answered]


def shown(
    manifest: Manifest, cases: Mapping[str, Sequence[Case]], labels: Mapping[str, Sequence[str]]
) -> dict[str, list[Shown]]:
    """By signature, its samples: first those of which a file says another class, then those on which one was furthest off."""
    found = {}
    for key, observed in manifest.observed.items():
        each = [
            _shown(manifest, key, observed, cases[key], place, labels)
            for place in _places(manifest, key, cases.get(key, ()))
        ]
        if each:
            found[key] = sorted(each, key=lambda sample: not any(answer.differs for answer in sample.answers))[:MOST]
    return found


def _places(manifest: Manifest, key: str, cases: Sequence[Case]) -> list[answers.Place]:
    """The worst first, by the file that was furthest off; what no file answered is not shown."""
    worst: dict[answers.Place, float] = {}
    for row in manifest.targets:
        for answer in row.answers if row.signature == key else ():
            place = (answer.case, answer.row)
            if answer.case < len(cases) and (answer.row is None or answer.row < cases[answer.case].batch):
                error = float("inf") if answer.error is None else answer.error
                worst[place] = max(worst.get(place, 0.0), error)
    return sorted(worst, key=lambda place: -worst[place])


def _shown(
    manifest: Manifest, key: str, observed: Observed, cases: Sequence[Case], place: answers.Place,
    labels: Mapping[str, Sequence[str]],
) -> Shown:  # fmt: skip
    number, row = place
    case = cases[number]
    live = answers.live(case, row)
    title = f"call {number + 1}" if row is None else f"sample {row + 1} of {case.batch}"
    inputs = {
        name: as_seen(value if row is None else value[row], observed.inputs.get(name), f"{name}, {title}")
        for name, value in case.inputs.items()
    }
    told = []
    for each in manifest.targets:
        for answer in each.answers if each.signature == key else ():
            if (answer.case, answer.row) == place:
                outputs = {name: as_text(value, labels.get(name)) for name, value in answer.outputs.items()}
                other = any(_top(answer.outputs.get(n)) != _top(live[n]) for n in live if _is_classes(live[n]))
                told.append(Answered(each.unit.title, outputs, figures.figure(answer.error) or "not finite", other))
    return Shown(title, inputs, {name: as_text(value, labels.get(name)) for name, value in live.items()}, told)


def as_seen(value: Any, observed: ObservedTensor | None, alternative: str) -> Markup:
    """One sample of an input, as HTML: a picture, a curve, or text."""
    array = np.asarray(value)
    if _is_image(array):
        source = _png(array, observed)
        return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(source, alternative)
    flat = array.reshape(-1)
    if array.dtype.kind in "iuf" and flat.size == max(array.shape, default=0) >= _LEAST_SOUND:
        return plots.curve(flat.astype(np.float64).tolist(), alternative).svg
    return Markup("<code>{}</code>").format(as_text(answers.kept(array), None))


def _is_image(array: Array) -> bool:
    small = array.ndim == 3 and min(array.shape[:2]) >= _LEAST_PIXELS
    return small and array.shape[2] in (1, 3, 4) and array.dtype.kind in "iuf"


def _png(array: Array, observed: ObservedTensor | None) -> str:
    """The picture in base64, its darkest and brightest values those that the input had in golden."""
    from PIL import Image

    known = observed is not None and observed.least is not None and observed.greatest is not None
    ends = (observed.least, observed.greatest) if observed and known else extremes([array])
    least, greatest = (ends[0] or 0.0, ends[1] or 0.0) if ends is not None else (0.0, 1.0)
    inside = np.nan_to_num(np.clip(array.astype(np.float64), least, greatest), nan=least)
    # Halves, since the distance of the two ends may be more than there is a number for.
    share = (inside / 2 - least / 2) / ((greatest / 2 - least / 2) or 1.0)
    pixels = np.rint(255 * share).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
    content = io.BytesIO()
    image.save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def as_text(value: Any, labels: Sequence[str] | None) -> str:
    """An output of one sample, or an input: its top classes, its numbers, or how many they are."""
    if value is None:
        return "too large to show"
    if labels is not None or _is_classes(value):
        return ", ".join(f"{_label(index, labels)} {_number(score)}" for index, score in _ranked(value)[:_CLASSES])
    numbers = list(_flat(value))
    told = ", ".join(map(_number, numbers[:_MOST_NUMBERS]))
    told = told if len(told) <= _MOST_TEXT else f"{told[:_MOST_TEXT]}…"
    return told if len(numbers) <= _MOST_NUMBERS else f"{told}, … ({len(numbers)} values)"


def _is_classes(value: Any) -> bool:
    """Whether it is scores of classes: a long vector's largest, or probabilities that sum to one."""
    if isinstance(value, dict):
        return True
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(each, float) for each in value):
        return False
    return min(value) >= 0 and abs(sum(value) - 1) < 1e-2


def _ranked(value: Any) -> list[tuple[int, Any]]:
    """Index and score, the largest first."""
    if isinstance(value, dict):
        return [(index, score) for index, score in value["top"]]
    flat = list(_flat(value))
    return sorted(enumerate(flat), key=lambda each: -each[1] if isinstance(each[1], int | float) else 0.0)


def _top(value: Any) -> int | None:
    return _ranked(value)[0][0] if value is not None and _ranked(value) else None


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (score for _, score in value["top"])
    elif isinstance(value, list):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def _label(index: int, labels: Sequence[str] | None) -> str:
    return labels[index] if labels is not None and index < len(labels) else f"class {index}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
