"""What single samples were answered."""

import json
from typing import Any

import numpy as np

from converters.contract.values import Case, Prediction, Signature, TensorSpec
from converters.reference.answers import MOST_CLASSES, answers, live
from converters.reference.observed import MOST_ELEMENTS

SIGNATURE = Signature(
    inputs={"x": TensorSpec(shape=(None, 1), dtype="float32")},
    outputs={"y": TensorSpec(shape=(None, 2), dtype="float32"), "n": TensorSpec(shape=(None,), dtype="int32")},
)


def call(samples: int) -> Case:
    y = np.arange(2 * samples, dtype=np.float32).reshape(samples, 2)
    return Case(inputs={"x": np.zeros((samples, 1), "f")}, outputs={"y": y, "n": np.arange(samples, dtype=np.int32)})


CASES = [call(6), call(1)]


def prediction(runtime: str, **changed: Any) -> Prediction:
    outputs = [{name: value.copy() for name, value in case.outputs.items()} for case in CASES]
    for place, value in changed.items():
        name, row = place.split("_")
        outputs[0][name][int(row)] = value
    return Prediction(runtime=runtime, outputs=outputs)


def test_answers_are_of_the_worst_samples_first_and_then_of_those_that_are_shown() -> None:
    found = answers(SIGNATURE, CASES, [prediction("a", y_4=[8, 9 + 1.1], y_2=[4, 5 + 5.5], n_5=7)])
    assert [(each.case, each.row) for each in found] == [(0, 5), (0, 2), (0, 4), (0, 0), (0, 3)]
    assert [each.error for each in found] == [1.0, 0.5, 0.1, 0.0, 0.0]
    assert found[1].outputs == {"y": [4.0, 10.5], "n": 2}
    assert live(CASES[0], 2) == {"y": [4.0, 5.0], "n": 2}


def test_answers_are_those_of_the_runtime_that_was_furthest_off() -> None:
    close, far = prediction("close", y_1=[2, 3.01]), prediction("far", y_1=[np.nan, 3])
    assert {each.runtime for each in answers(SIGNATURE, CASES, [close, far])} == {"far"}
    first = answers(SIGNATURE, CASES, [far, close])[0]
    assert (first.row, first.error, first.outputs["y"]) == (1, None, ["NaN", 3.0])
    json.dumps(first.model_dump(mode="json"), allow_nan=False)


def test_answers_leave_out_what_a_runtime_was_not_asked_for() -> None:
    spared = Prediction(runtime="spared", outputs=[CASES[1].outputs], answered=(1,))
    assert answers(SIGNATURE, CASES, [spared]) == ()
    assert len(answers(SIGNATURE, CASES, [spared, prediction("all")])) == 2
    assert answers(SIGNATURE, [], []) == ()


def test_answers_are_of_whole_calls_where_the_batch_is_fixed() -> None:
    fixed = Signature(
        inputs={"x": TensorSpec(shape=(2,), dtype="float32")}, outputs={"y": TensorSpec(shape=(), dtype="float32")}
    )
    cases = [Case(inputs={"x": np.zeros(2, "f")}, outputs={"y": np.array(n, "f")}) for n in range(4)]
    outputs = [{"y": np.array(n + (n == 3), "f")} for n in range(4)]
    found = answers(fixed, cases, [Prediction(runtime="a", outputs=outputs)])
    assert [(each.case, each.row, each.outputs["y"]) for each in found] == [
        (3, None, 4.0),
        (0, None, 0.0),
        (1, None, 1.0),
    ]


def test_answers_hold_the_largest_elements_of_a_long_vector_and_nothing_of_a_large_image() -> None:
    long = Case(
        inputs={},
        outputs={"classes": np.linspace(0, 1, 1000, dtype="f")[np.newaxis], "mask": np.zeros((1, 99, 99), "f")},
    )
    told = live(long, 0)
    assert told["mask"] is None
    assert len(told["classes"]["top"]) == MOST_CLASSES
    assert told["classes"]["top"][0] == [999, 1.0]
    assert MOST_ELEMENTS < 1000
