"""Samples as a person sees them, whatever is in them."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from converters.reference.observed import ObservedTensor
from converters.release import samples

SPECIAL = [np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324, 0.0]
SEEN = ObservedTensor(dtype="float64", shape=(None, 8, 8, 1), least=0.0, greatest=2.0)


def pixels(shown: str) -> np.ndarray[Any, Any]:
    """Those of a picture in a page."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.partition("base64,")[2].partition('"')[0]))))


@pytest.mark.parametrize("value", SPECIAL)
@pytest.mark.parametrize("others", [*SPECIAL, 1.0])
def test_as_seen_draws_numbers_of_any_kind(value: float, others: float) -> None:
    sound = np.full(300, others)
    sound[:100] = value
    assert samples.as_seen(sound, None, "sound").startswith("<svg")
    image = np.full((8, 8, 1), others)
    image[0] = value
    for observed in (None, SEEN):
        assert pixels(samples.as_seen(image, observed, "image")).shape == (8, 8)


def test_as_seen_shows_a_picture_in_the_range_that_the_input_had() -> None:
    image = np.zeros((8, 8, 1))
    image[0], image[1], image[2] = 1.0, 2.0, 7.0
    assert pixels(samples.as_seen(image, SEEN, "image"))[:4, 0].tolist() == [128, 255, 255, 0]
    assert pixels(samples.as_seen(image, None, "image"))[:4, 0].tolist() == [36, 73, 255, 0]


@pytest.mark.parametrize(
    ("value", "labels", "text"),
    [
        (["NaN", 0.5], None, "NaN, 0.5"), ([0.25, 0.75], None, "class 1 0.75, class 0 0.25"), (True, None, "True"), ([], None, ""),
        ([0.25, 0.75], ("a", "b"), "b 0.75, a 0.25"), ({"top": [[9, "Infinity"], [1, 5.0]]}, None, "class 9 Infinity, class 1 5"),
        (None, None, "too large to show"), (list(range(20)), None, "0, 1, 2, 3, 4, 5, 6, 7, … (20 values)"), ("<b>", None, "<b>"),
    ],
)  # fmt: skip
def test_as_text_says_classes_or_numbers(value: Any, labels: tuple[str, ...] | None, text: str) -> None:
    assert samples.as_text(value, labels) == text
