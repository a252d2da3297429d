"""The comparison itself: what it measures, and that every difference it is there for turns a check red."""

import math
import re
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from converters.contract.settings import Quality, Tolerance
from converters.contract.values import Case, CheckResult, Prediction, Signature, Tensors, TensorSpec
from converters.reference import compare as parity
from converters.reference import measure, variation
from converters.reference.bounds import Bounds

NAN, INF = math.nan, math.inf
TOLERANCE = Tolerance(error=1e-3, mismatch=0.1)
BOUNDS = Bounds(tolerance=TOLERANCE)
FINITE = st.floats(-1e6, 1e6, width=32)
VECTORS = arrays.arrays(np.float32, st.integers(1, 20), elements=FINITE)
PAIRS = st.integers(1, 20).flatmap(lambda size: st.tuples(*[arrays.arrays(np.float32, size, elements=FINITE)] * 2))


def as_is(dtype: str) -> str:
    """A target that holds every dtype as it is."""
    return dtype


def texts(*items: bytes) -> np.ndarray[Any, Any]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def signature(**dtypes: str) -> Signature:
    """Input x [n, 2] float32, and outputs [n] of these dtypes."""
    return Signature(
        inputs={"x": TensorSpec(shape=(None, 2), dtype="float32")},
        outputs={name: TensorSpec(shape=(None,), dtype=dtype) for name, dtype in dtypes.items()},
    )


def case(**outputs: Any) -> Case:
    """A call with as many samples as the outputs have."""
    values = {name: np.asarray(value) for name, value in outputs.items()}
    batch = len(next(iter(values.values())))
    return Case(inputs={"x": np.zeros((batch, 2), np.float32)}, outputs=values)


GOLDEN = [case(y=np.linspace(-1, 1, 8, dtype=np.float32)), case(y=np.float32([0.5]))]


def compare(changed: Mapping[int, Tensors], wanted: Signature | None = None) -> dict[str, CheckResult]:
    """Checks by name, where the runtime returned golden's own outputs but for the cases in `changed`."""
    outputs = [changed.get(index, known.outputs) for index, known in enumerate(GOLDEN)]
    prediction = Prediction(runtime="test", outputs=outputs, times_ms=(1.5, 9.0, 1.0))
    results = parity.compare(GOLDEN, prediction, wanted or signature(y="float32"), as_is, BOUNDS)
    assert len({result.name for result in results}) == len(results)
    return {result.name: result for result in results}


def failed(results: Mapping[str, CheckResult]) -> set[str]:
    return {name for name, result in results.items() if result.status != "passed"}


@pytest.mark.parametrize(
    ("reference", "got", "distance"),
    [
        (np.float32([0, 0]), np.float32([0, 0]), 0.0),
        (np.float32([0, 0]), np.float32([0, 0.5]), 0.5),
        (np.float32([1, -4]), np.float32([1, -3]), 0.25),
        (np.float32([1, 2]), np.float32([NAN, 2]), NAN),
        (np.float32([NAN, 2]), np.float32([1, 2]), NAN),
        (np.float32([NAN, 2]), np.float32([NAN, 1]), 0.5),
        (np.float32([INF, 2]), np.float32([INF, 2]), 0.0),
        (np.float32([INF, 2]), np.float32([-INF, 2]), NAN),
        (np.float32([INF, 2]), np.float32([NAN, 2]), NAN),
        (np.float32([NAN, INF]), np.float32([NAN, INF]), 0.0),
        (np.int64([1, 2, 3, 4]), np.int64([1, 2, 3, 5]), 0.25),
        (np.int64([2**53]), np.int64([2**53 + 1]), 1.0),
        (np.array([True, False]), np.array([True, True]), 0.5),
        (texts(b"a", b"b\0"), texts(b"a", b"b\0"), 0.0),
        (texts(b"a", b"b\0"), texts(b"a", b"b"), 0.5),
        (np.complex64([3 + 4j]), np.complex64([3 + 3j]), 0.2),
        (np.float16([60000, 1]), np.float16([-60000, 1]), 2.0),
        (np.array([1, 2], ml_dtypes.bfloat16), np.array([1, 1.5], ml_dtypes.bfloat16), 0.25),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), 0.0),
        (texts(), texts(), 0.0),
        (np.float32(2), np.float32(1), 0.5),
    ],
)
def test_measure_gives_the_distance_when_arrays_differ(
    reference: np.ndarray[Any, Any], got: np.ndarray[Any, Any], distance: float
) -> None:
    assert measure.measure(reference, got) == pytest.approx(distance, nan_ok=True)


@given(PAIRS)
def test_measure_is_zero_only_when_finite_arrays_are_equal(pair: tuple[np.ndarray[Any, Any], ...]) -> None:
    assert (measure.measure(*pair) == 0) == np.array_equal(*pair)
    assert measure.measure(pair[0], pair[0]) == 0


@given(PAIRS, st.integers(-20, 20))
def test_measure_is_unchanged_when_both_arrays_are_scaled(
    pair: tuple[np.ndarray[Any, Any], ...], exponent: int
) -> None:
    reference, got = (array.astype(np.float64) for array in pair)
    if not reference.any():  # an error against zeros has no scale of the reference's own
        return
    assert measure.measure(reference * 2.0**exponent, got * 2.0**exponent) == measure.measure(reference, got)


@given(PAIRS)
def test_measure_is_unchanged_when_elements_are_reordered(pair: tuple[np.ndarray[Any, Any], ...]) -> None:
    assert measure.measure(pair[0][::-1], pair[1][::-1]) == measure.measure(*pair)


@given(VECTORS, st.data(), st.sampled_from([NAN, INF, -INF]))
def test_measure_is_nan_when_one_element_is_lost(vector: np.ndarray[Any, Any], data: st.DataObject, odd: float) -> None:
    broken = vector.copy()
    broken[data.draw(st.integers(0, len(vector) - 1))] = odd
    assert math.isnan(measure.measure(vector, broken))
    assert math.isnan(measure.measure(broken, vector))


@given(arrays.arrays(np.int64, 10), arrays.arrays(np.int64, 10))
def test_measure_counts_unequal_elements_when_arrays_are_integer(
    reference: np.ndarray[Any, Any], got: np.ndarray[Any, Any]
) -> None:
    assert measure.measure(reference, got) == pytest.approx(
        sum(a != b for a, b in zip(reference, got, strict=True)) / 10
    )


def test_compare_passes_and_carries_latency_when_outputs_are_golden() -> None:
    results = compare({})
    assert list(results) == ["outputs", "finite", "values", "batch"]
    assert not failed(results)
    assert [result.latency_ms for result in results.values()] == [None, None, 1.5, None]
    assert results["values"].latency_range_ms == (1.0, 9.0)
    assert results["values"].measured == 0
    assert results["values"].limit == TOLERANCE.error
    assert "8 samples" in results["values"].detail
    assert "batch of 1" in results["batch"].detail


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({}, "output 'y' is missing"),
        ({"y": GOLDEN[0].outputs["y"], "z": np.float32([1])}, "output 'z' is not in the source"),
        ({"y": GOLDEN[0].outputs["y"].astype(np.float64)}, "is float64, expected float32"),
        ({"y": GOLDEN[0].outputs["y"][:-1]}, r"has shape \(7,\), the live model's \(8,\)"),
        ({"y": GOLDEN[0].outputs["y"][:, np.newaxis]}, r"has shape \(8, 1\)"),
    ],
    ids=["missing", "extra", "dtype", "shape", "rank"],
)
def test_compare_fails_outputs_alone_when_they_are_of_another_form(outputs: Tensors, words: str) -> None:
    results = compare({0: outputs})
    assert list(results) == ["outputs"]
    assert failed(results) == {"outputs"}
    assert re.search(words, results["outputs"].detail)


def test_compare_fails_outputs_when_an_answer_is_missing() -> None:
    prediction = Prediction(runtime="test", outputs=[GOLDEN[0].outputs])
    (result,) = parity.compare(GOLDEN, prediction, signature(y="float32"), as_is, BOUNDS)
    assert (result.status, result.detail) == ("failed", "1 answers for 2 calls")


@pytest.mark.parametrize("odd", [NAN, INF, -INF])
def test_compare_fails_finite_and_values_when_the_live_model_is_finite(odd: float) -> None:
    broken = GOLDEN[0].outputs["y"].copy()
    broken[3] = odd
    results = compare({0: {"y": broken}})
    assert failed(results) == {"finite", "values"}
    assert "1 non-finite elements" in results["finite"].detail
    assert results["values"].measured is None


def test_compare_fails_values_alone_when_the_error_is_above_the_limit() -> None:
    results = compare({0: {"y": GOLDEN[0].outputs["y"] + np.float32(2 * TOLERANCE.error)}})
    assert failed(results) == {"values"}
    assert results["values"].measured == pytest.approx(2 * TOLERANCE.error, rel=1e-3)


def test_compare_passes_when_the_error_is_below_the_limit() -> None:
    assert not failed(compare({0: {"y": GOLDEN[0].outputs["y"] + np.float32(TOLERANCE.error / 2)}}))


def test_compare_fails_batch_alone_when_only_the_other_batch_is_wrong() -> None:
    results = compare({1: {"y": -GOLDEN[1].outputs["y"]}})
    assert failed(results) == {"batch"}
    assert results["batch"].measured == pytest.approx(1)


def test_compare_measures_on_the_scale_of_all_calls_when_one_call_is_near_zero() -> None:
    cases = [GOLDEN[0], case(y=np.float32([1e-9]))]
    prediction = Prediction(runtime="t", outputs=[GOLDEN[0].outputs, {"y": np.float32([2e-9])}])
    results = parity.compare(cases, prediction, signature(y="float32"), as_is, BOUNDS)
    assert not failed({result.name: result for result in results})


def test_compare_compares_the_answered_calls_when_a_runtime_brings_its_own_inputs() -> None:
    for answer, expected in ((0.5, set()), (-0.5, {"values"})):
        prediction = Prediction(runtime="t", outputs=[{"y": np.float32([answer])}], answered=(1,))
        results = parity.compare(GOLDEN, prediction, signature(y="float32"), as_is, BOUNDS)
        assert failed({result.name: result for result in results}) == expected


def test_compare_fails_when_nothing_was_answered() -> None:
    prediction = Prediction(runtime="t", outputs=[], answered=())
    (result,) = parity.compare(GOLDEN, prediction, signature(y="float32"), as_is, BOUNDS)
    assert (result.name, result.status) == ("outputs", "failed")


def test_compare_fails_batch_alone_when_the_other_batch_is_nan_in_golden_only() -> None:
    cases = [GOLDEN[0], case(y=np.float32([NAN]))]
    prediction = Prediction(runtime="test", outputs=[GOLDEN[0].outputs, {"y": np.float32([0])}])
    results = parity.compare(cases, prediction, signature(y="float32"), as_is, BOUNDS)
    assert failed({result.name: result for result in results}) == {"batch"}


def test_compare_gives_each_output_its_own_values_when_there_are_several() -> None:
    cases = [case(a=np.float32([1, 2]), b=np.int64([1, 2]), c=np.array([b"x", b"y"], object))]
    wrong = {**cases[0].outputs, "b": np.int64([1, 3])}
    results = parity.compare(
        cases, Prediction(runtime="t", outputs=[wrong]), signature(a="float32", b="int64", c="string"), as_is, BOUNDS
    )
    values = [(r.status, r.measured, r.limit, r.detail.partition(":")[0]) for r in results if r.name == "values"]
    assert values == [("passed", 0, 1e-3, "a"), ("failed", 0.5, 0.1, "b"), ("passed", 0, 0.1, "c")]


def test_compare_reports_the_worst_output_when_several_are_wrong_in_the_other_batch() -> None:
    cases = [case(a=np.float32([1, 2]), b=np.float32([1, 2])), case(a=np.float32([1]), b=np.float32([1]))]
    outputs = [cases[0].outputs, {"a": np.float32([1.1]), "b": np.float32([3])}]
    results = parity.compare(
        cases, Prediction(runtime="t", outputs=outputs), signature(a="float32", b="float32"), as_is, BOUNDS
    )
    (batch,) = [result for result in results if result.name == "batch"]
    assert (batch.status, batch.measured) == ("failed", 1)
    assert "b: " in batch.detail


def test_compare_accepts_the_held_dtype_when_the_target_has_no_other() -> None:
    cases = [case(y=np.int64([1, 2]))]
    prediction = Prediction(runtime="t", outputs=[{"y": np.int32([1, 2])}])
    narrow = parity.compare(cases, prediction, signature(y="int64"), lambda dtype: "int32", BOUNDS)
    assert {result.status for result in narrow} == {"passed"}
    exact = parity.compare(cases, prediction, signature(y="int64"), as_is, BOUNDS)
    assert [result.name for result in exact if result.status == "failed"] == ["outputs"]


@given(VECTORS, st.floats(0, 1), st.floats(0, 1))
def test_compare_passes_exactly_when_the_distance_is_within_the_limit(
    vector: np.ndarray[Any, Any], limit: float, shift: float
) -> None:
    got = (vector * (1 + shift)).astype(np.float32)
    results = parity.compare(
        [case(y=vector)],
        Prediction(runtime="t", outputs=[{"y": got}]),
        signature(y="float32"),
        as_is,
        Bounds(tolerance=Tolerance(error=limit)),
    )
    (values,) = [result for result in results if result.name == "values"]
    assert (values.status == "passed") == (measure.measure(vector, got) <= limit)


WANTED = Signature(
    inputs={"x": TensorSpec(shape=(None, 2), dtype="float32")},
    outputs={"y": TensorSpec(shape=(None, 3), dtype="int64")},
)


@pytest.mark.parametrize(
    ("side", "declared", "check"),
    [
        ("inputs", {}, "names"),
        ("outputs", {}, "names"),
        ("outputs", {**WANTED.outputs, "z": WANTED.outputs["y"]}, "names"),
        ("inputs", {"X": WANTED.inputs["x"]}, "names"),
        ("inputs", {"x": TensorSpec(shape=(None, 2), dtype="float64")}, "dtypes"),
        ("outputs", {"y": TensorSpec(shape=(None, 3), dtype="int32")}, "dtypes"),
        ("inputs", {"x": TensorSpec(shape=(1, 2), dtype="float32")}, "shapes"),
        ("inputs", {"x": TensorSpec(shape=(None, None), dtype="float32")}, "shapes"),
        ("inputs", {"x": TensorSpec(shape=None, dtype="float32")}, "shapes"),
        ("outputs", {"y": TensorSpec(shape=(None, 4), dtype="int64")}, "shapes"),
        ("outputs", {"y": TensorSpec(shape=(None, 3, 1), dtype="int64")}, "shapes"),
    ],
)
def test_compare_structure_fails_one_check_when_one_thing_differs(
    side: str, declared: dict[str, TensorSpec], check: str
) -> None:
    results = parity.compare_structure(WANTED, WANTED.model_copy(update={side: declared}), "file", as_is)
    assert [result.name for result in results] == ["names", "dtypes", "shapes"]
    assert [result.name for result in results if result.status == "failed"] == [check]


@pytest.mark.parametrize("shape", [(None, 3), (None, None), (7, 3), None])
def test_compare_structure_passes_when_an_output_shape_is_less_or_more_known(
    shape: tuple[int | None, ...] | None,
) -> None:
    declared = WANTED.model_copy(update={"outputs": {"y": TensorSpec(shape=shape, dtype="int64")}})
    assert {r.status for r in parity.compare_structure(WANTED, declared, "file", as_is)} == {"passed"}


def varies(*cases: Case, constant: tuple[str, ...] = (), **dtypes: str) -> CheckResult:
    return variation.check(cases, signature(**dtypes), TOLERANCE, constant)


def test_check_variation_passes_when_outputs_differ_between_samples() -> None:
    result = varies(*GOLDEN, y="float32")
    assert result.status == "passed"
    assert result.measured is not None
    assert result.limit == measure.FAR
    assert result.measured >= measure.FAR


@pytest.mark.parametrize("value", [0.0, 0.001, 1e30])
def test_check_variation_fails_when_outputs_are_constant(value: float) -> None:
    result = varies(case(y=np.full(8, value, np.float32)), case(y=np.float32([value])), y="float32")
    assert result.status == "failed"
    assert "this comparison cannot fail" in result.detail
    assert "'y'" in result.detail


def test_check_variation_fails_when_outputs_differ_by_less_than_the_limit() -> None:
    near = 1 + np.float32(TOLERANCE.error * measure.FAR / 2) * np.float32([0, 1, 0, 1])
    assert varies(case(y=near), y="float32").status == "failed"


@pytest.mark.parametrize(
    ("dtype", "same"),
    [("int64", np.int64([4, 4])), ("bool", np.array([True, True])), ("string", texts(b"one", b"one"))],
)
def test_check_variation_passes_when_a_constant_exact_output_is_beside_a_varying_float(
    dtype: str, same: np.ndarray[Any, Any]
) -> None:
    assert varies(case(count=same, y=np.float32([1, 2])), count=dtype, y="float32").status == "passed"
    assert varies(case(count=same), count=dtype).status == "failed"


def test_check_variation_fails_when_one_of_two_floats_is_constant() -> None:
    result = varies(case(a=np.float32([1, 2]), b=np.float32([3, 3])), a="float32", b="float32")
    assert result.status == "failed"
    assert "'b'" in result.detail
    assert "'a'" not in result.detail


def test_check_variation_passes_when_the_constant_output_is_declared() -> None:
    outputs = case(a=np.float32([1, 2]), b=np.float32([3, 3]))
    assert varies(outputs, constant=("b",), a="float32", b="float32").status == "passed"


def test_check_variation_fails_when_everything_is_declared_constant() -> None:
    assert varies(case(a=np.float32([1, 1])), constant=("a",), a="float32").status == "failed"


@pytest.mark.parametrize("odd", [NAN, INF])
def test_check_variation_fails_when_every_sample_is_not_finite(odd: float) -> None:
    assert varies(case(y=np.full(4, odd, np.float32)), y="float32").status == "failed"


def test_check_variation_fails_when_some_samples_are_nan_and_the_rest_equal() -> None:
    assert varies(case(y=np.float32([1, NAN, 1, 1])), y="float32").status == "failed"


def test_check_variation_fails_when_there_is_one_sample() -> None:
    assert varies(case(y=np.float32([1])), y="float32").status == "failed"


def test_check_variation_passes_when_only_integers_vary() -> None:
    assert varies(case(n=np.int64([1, 2, 3])), n="int64").status == "passed"


def test_check_variation_compares_calls_when_the_batch_is_static() -> None:
    fixed = Signature(
        inputs={"x": TensorSpec(shape=(2,), dtype="float32")}, outputs={"y": TensorSpec(shape=(3,), dtype="float32")}
    )
    inputs = {"x": np.zeros(2, np.float32)}
    varied = [Case(inputs=inputs, outputs={"y": np.full(3, v, np.float32)}) for v in (1, 2)]
    same = [Case(inputs=inputs, outputs={"y": np.float32([1, 2, 3])})] * 2
    assert variation.check(varied, fixed, TOLERANCE).status == "passed"
    assert variation.check(same, fixed, TOLERANCE).status == "failed"


def test_compare_bounds_the_error_when_the_output_is_bfloat16() -> None:
    reference = np.array([1, 2], ml_dtypes.bfloat16)
    near, lost = np.array([1, 2.015625], ml_dtypes.bfloat16), np.array([1, NAN], ml_dtypes.bfloat16)
    wanted, tolerance = signature(y="bfloat16"), Tolerance(error=1e-2)
    for got, expected in ((near, set()), (lost, {"finite", "values"})):
        prediction = Prediction(runtime="t", outputs=[{"y": got}])
        results = parity.compare([case(y=reference)], prediction, wanted, as_is, Bounds(tolerance=tolerance))
        assert failed({result.name: result for result in results}) == expected


def test_compare_fails_with_no_figure_when_the_error_overflows() -> None:
    wanted = signature(y="float64")
    prediction = Prediction(runtime="t", outputs=[{"y": np.array([-1.5e308])}])
    results = parity.compare([case(y=np.array([1.5e308]))], prediction, wanted, as_is, BOUNDS)
    (values,) = [result for result in results if result.name == "values"]
    assert (values.status, values.measured) == ("failed", None)


LOSSY = Quality(snr_db=20, cosine=0.99, top1=0.9, top1_samples=4)
ROWS = np.float32([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.6, 0.3, 0.1]])


def judged(
    reference: Any, got: Any, quality: Quality = LOSSY, classifiers: tuple[str, ...] = (), **bounds: Any
) -> dict[str, CheckResult]:
    """Checks by name of one float output that is held to `quality`, in a tolerance that lets everything pass."""
    known = Signature(
        inputs={"x": TensorSpec(shape=(None, 2), dtype="float32")},
        outputs={"y": TensorSpec(shape=(None, None), dtype="float32")},
    )
    prediction = Prediction(runtime="test", outputs=[{"y": np.asarray(got)}])
    held = Bounds(tolerance=Tolerance(error=10), quality=quality, classifiers=classifiers, **bounds)
    results = parity.compare([case(y=reference)], prediction, known, as_is, held)
    return {result.name: result for result in results}


@pytest.mark.parametrize(
    ("reference", "got", "snr_db", "cosine"),
    [
        ([3, 4], [3, 4], measure.MOST_DB, 1),
        ([1, 0], [1.1, 0], 20, 1),
        ([1, 0], [0, 1], -3.0103, 0),
        ([1, 0], [-1, 0], -6.0206, -1),
        ([0, 0], [0, 0], measure.MOST_DB, 1),
        ([0, 0], [1, 0], -measure.MOST_DB, 0),
        ([1, 0], [0, 0], 0, 0),
        ([1e30, 0], [1.1e30, 0], 20, 1),
        ([NAN, 1], [NAN, 1], measure.MOST_DB, 1),
        ([1, 1], [INF, 1.1], 20, 1),
        ([1 + 1j, 0], [1.1 + 1.1j, 0], 20, 1),
    ],
)
def test_fidelity_gives_snr_and_cosine_when_outputs_are_inexact(
    reference: list[complex], got: list[complex], snr_db: float, cosine: float
) -> None:
    figures = measure.fidelity([_inexact(reference)], [_inexact(got)])
    assert figures == pytest.approx({"snr_db": snr_db, "cosine": cosine}, abs=1e-4)


def _inexact(values: list[complex]) -> np.ndarray[Any, Any]:
    return np.array(values, complex if any(isinstance(value, complex) for value in values) else float)


def test_fidelity_is_over_all_arrays_together() -> None:
    figures = measure.fidelity([np.float32([1, 0]), np.float32([0])], [np.float32([1, 0]), np.float32([0.1])])
    assert figures["snr_db"] == pytest.approx(20, abs=1e-4)


def test_fidelity_is_empty_when_an_output_is_compared_exactly() -> None:
    assert measure.fidelity([np.int64([1])], [np.int64([2])]) == {}
    assert measure.fidelity([texts(b"a")], [texts(b"b")]) == {}
    assert measure.fidelity([], []) == {}


@given(PAIRS)
def test_fidelity_is_finite_and_within_its_bounds(pair: tuple[np.ndarray[Any, Any], ...]) -> None:
    figures = measure.fidelity([pair[0]], [pair[1]])
    assert abs(figures["snr_db"]) <= measure.MOST_DB
    assert -1 <= figures["cosine"] <= 1
    assert (figures["snr_db"] == measure.MOST_DB) >= np.array_equal(*pair)


@pytest.mark.parametrize(
    ("got", "red"),
    [
        (ROWS, set()),
        (ROWS + np.float32([[0.3, 0, 0]]), {"snr", "cosine"}),
        (ROWS * 1.5, {"snr"}),
        (ROWS[:, [1, 0, 2]], {"snr", "cosine", "top1"}),
        (ROWS + np.float32([[-0.03, 0.03, 0], [0] * 3, [0, 0.01, -0.01], [0] * 3]), set()),
        (np.float32([[0.45, 0.46, 0.09], *ROWS[1:]]), {"snr", "cosine", "top1"}),
    ],
)
def test_compare_turns_exactly_these_red_when_a_classifier_is_held_to_quality(got: Any, red: set[str]) -> None:
    results = judged(ROWS, got)
    assert {"snr", "cosine", "top1"} <= set(results)
    assert failed(results) == red
    assert all(results[name].at_least and results[name].output == "y" for name in ("snr", "cosine", "top1"))


def test_compare_gives_figures_and_no_check_when_nothing_is_limited() -> None:
    results = judged(ROWS, ROWS[:, [1, 0, 2]], Quality())
    assert not {"snr", "cosine", "top1"} & set(results)
    assert results["values"].figures["top1"] == 0.25
    assert results["values"].output == "y"


def test_compare_takes_logits_for_classes_only_when_the_config_says_so() -> None:
    logits = np.float32([[3, -1], [-2, 2], [1, 0], [0, 4]])
    assert "top1" not in judged(logits, logits)["values"].figures
    assert judged(logits, logits[:, ::-1], classifiers=("y",))["top1"].measured == 0


def test_compare_limits_no_top1_when_there_are_too_few_samples() -> None:
    results = judged(ROWS, ROWS, LOSSY.model_copy(update={"top1_samples": 5}))
    assert "top1" not in results
    assert results["values"].figures["top1"] == 1


def test_compare_measures_what_a_lossy_variant_loses_against_what_varies() -> None:
    offset = np.float32(100)
    exact, lossy = judged(ROWS + offset, ROWS * 0.5 + offset), judged(ROWS + offset, ROWS * 0.5 + offset, lossy=True)
    assert failed(exact) == set()
    assert {"snr", "top1"} - {"top1"} <= failed(lossy)
    assert "vary between samples" in lossy["snr"].detail
    same = np.full((4, 3), 7.0, np.float32)
    assert failed(judged(same, same + np.float32(0.01), lossy=True)) == set()  # of its magnitude, where nothing varies


def test_compare_limits_nothing_but_nonsense_where_inputs_were_made_up() -> None:
    made_up = judged(ROWS, ROWS[:, [1, 0, 2]], lossy=True, limited=False)
    assert failed(made_up) == set()
    assert not {"snr", "cosine", "top1"} & set(made_up)
    assert made_up["values"].figures["top1"] == 0.25
    assert failed(judged(ROWS, ROWS * 20, lossy=True, limited=False)) == {"values"}
    assert failed(judged(ROWS, ROWS * NAN, lossy=True, limited=False)) == {"finite", "values"}
    wanted = signature(y="int64")
    bounds = Bounds(tolerance=TOLERANCE, lossy=True, limited=False)
    prediction = Prediction(runtime="t", outputs=[{"y": np.int64([1, 3])}])
    results = parity.compare([case(y=np.int64([1, 2]))], prediction, wanted, as_is, bounds)
    assert [(r.status, r.measured, r.limit) for r in results if r.name == "values"] == [("passed", 0.5, None)]


def test_compare_holds_a_lossy_variants_worst_element_to_the_configs_own_tolerance_alone() -> None:
    far, bounds = {"y": GOLDEN[0].outputs["y"] * 1.1}, Bounds(tolerance=TOLERANCE, lossy=True)
    for worst, red in ((False, set()), (True, {"values"})):
        prediction = Prediction(runtime="t", outputs=[far, GOLDEN[1].outputs])
        held = bounds.model_copy(update={"worst": worst})
        results = parity.compare(GOLDEN, prediction, signature(y="float32"), as_is, held)
        assert failed({result.name: result for result in results}) == red


@pytest.mark.parametrize(
    ("output", "classes"),
    [
        (ROWS, True),
        (ROWS.astype(np.float16), True),
        (ROWS * 1.01, False),
        (ROWS - 1 / 3, False),
        (np.float32([[1], [1]]), False),
        (np.float32([1, 0]), False),
        (np.int64([[1, 0]]), False),
    ],
)
def test_scores_classes_is_true_when_rows_are_probabilities(output: Any, classes: bool) -> None:
    assert measure.scores_classes([output]) == classes


@pytest.mark.parametrize(
    ("output", "labels", "value"),
    [
        (ROWS, [0, 1, 2, 0], 1.0),
        (ROWS, [0, 1, 2, 1], 0.75),
        (np.float32([0.9, 0.2]), [1, 1], 0.5),
        (np.float32([[0.9], [0.2]]), [1, 0], 1.0),
        (np.int64([3, 4]), [3, 5], 0.5),
        (texts(b"cat", b"dog"), texts(b"cat", b"dog"), 1.0),
        (np.float32([[NAN, NAN], [0, 1]]), [1, 1], 0.5),
    ],
)
def test_accuracy_is_the_share_of_right_answers(output: Any, labels: Any, value: float) -> None:
    assert measure.accuracy(output, np.asarray(labels)) == value


@pytest.mark.parametrize(
    ("output", "labels"),
    [(ROWS, [[0], [1], [2], [0]]), (ROWS, [0, 1]), (np.int64([[1, 2]]), [1]), (np.ones((1, 2, 2)), [1])],
)
def test_accuracy_raises_when_the_shapes_do_not_fit(output: Any, labels: Any) -> None:
    with pytest.raises(ValueError, match="accuracy"):
        measure.accuracy(output, np.asarray(labels))


@pytest.mark.parametrize(
    ("value", "live", "higher", "status"),
    [
        (0.95, 0.96, True, "passed"),
        (0.93, 0.96, True, "failed"),
        (0.99, 0.96, True, "passed"),
        (0.93, 0.96, False, "passed"),
        (0.99, 0.96, False, "failed"),
        (NAN, 0.96, True, "failed"),
        (NAN, 0.96, False, "failed"),
        (INF, 0.96, False, "failed"),
    ],
)
def test_check_metric_is_red_when_it_is_worse_than_the_live_models(
    value: float, live: float, higher: bool, status: str
) -> None:
    check = parity.check_metric("f1", "test", value, live, 0.02, higher=higher, samples=9)
    assert check.status == status
    assert "f1" in check.detail
