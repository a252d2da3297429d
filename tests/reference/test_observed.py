"""What golden shows of a signature."""

import json

import numpy as np
import pytest

from converters.contract.values import Case, Signature, TensorSpec
from converters.formats.dtypes import as_strings
from converters.reference.observed import MOST_ELEMENTS, extremes, observed


def spec(dtype: str, *shape: int | None) -> TensorSpec:
    return TensorSpec(shape=shape, dtype=dtype)


SIGNATURE = Signature(
    inputs={"x": spec("float32", None, 2), "word": spec("string", None)}, outputs={"y": spec("float32", None)}
)
CALL = Case(
    inputs={"x": np.float32([[0.1, 2], [3, 4], [5, np.inf], [7, -8]]), "word": as_strings(["a", "b", "ü", "d"])},
    outputs={"y": np.float32([1, np.nan, 0.3, 4])},
)
ALONE = Case(inputs={"x": np.float32([[99, 0]]), "word": as_strings(["z"])}, outputs={"y": np.float32([-5])})


def test_observed_gives_the_ends_of_all_calls_and_two_samples_of_the_first() -> None:
    found = observed({"k": SIGNATURE}, {"k": [CALL, ALONE]})["k"]
    assert (found.inputs["x"].least, found.inputs["x"].greatest) == (-8, 99)
    assert (found.outputs["y"].least, found.outputs["y"].greatest) == (-5, 4)
    assert (found.inputs["word"].least, found.inputs["word"].dtype) == (None, "string")
    first, second = found.samples
    assert (first.case, first.row, second.row) == (0, 0, 2)
    assert first.inputs == {"x": [0.1, 2.0], "word": "a"}
    assert second.inputs == {"x": [5.0, "Infinity"], "word": "ü"}
    assert second.outputs == {"y": 0.3}
    json.dumps(found.model_dump(mode="json"), allow_nan=False)


def test_observed_shows_whole_calls_where_the_batch_is_fixed() -> None:
    fixed = Signature(inputs={"x": spec("int32", 1)}, outputs={"y": spec("bool")})
    calls = [Case(inputs={"x": np.int32([n])}, outputs={"y": np.array(n > 1)}) for n in range(5)]
    found = observed({"k": fixed}, {"k": calls})["k"]
    assert [(each.case, each.row, each.inputs["x"], each.outputs["y"]) for each in found.samples] == [
        (0, None, [0], False),
        (1, None, [1], False),
    ]
    assert (found.outputs["y"].least, found.inputs["x"].greatest) == (None, 4)


def test_observed_leaves_out_what_would_fill_the_manifest() -> None:
    wide = Signature(inputs={"x": spec("float32", None, None)}, outputs={"y": spec("float32", None)})
    calls = [Case(inputs={"x": np.ones((1, MOST_ELEMENTS + 1), "f")}, outputs={"y": np.ones(1, "f")})]
    (sample,) = observed({"k": wide}, {"k": calls})["k"].samples
    assert sample.inputs == {"x": None}
    assert sample.outputs == {"y": 1.0}


def test_observed_has_no_values_without_calls() -> None:
    found = observed({"k": SIGNATURE}, {})["k"]
    assert (found.inputs["x"].least, found.samples) == (None, ())


@pytest.mark.parametrize(
    ("array", "ends"),
    [
        (np.array([0.1, 0.5], "bfloat16"), (0.1, 0.5)), (np.float16([1, np.nan, -2]), (-2, 1)), (np.uint8([[255, 0]]), (0, 255)),
        (np.float32([np.nan]), None), (np.complex64([1j]), None), (np.array([True]), None), (np.zeros(0, "f"), None),
    ],
)  # fmt: skip
def test_extremes_are_those_of_finite_values(array: np.ndarray, ends: tuple[float, float] | None) -> None:
    found = extremes([array])
    assert found is None if ends is None else found == pytest.approx(ends, rel=1e-2)
