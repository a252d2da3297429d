"""How much of a model golden exercises: measured by gradients, told in a row, and a reason to draw more or others."""

from typing import Any
from unittest import mock

import numpy as np
import pytest

from converters.contract.settings import GoldenSpec, Tolerance
from converters.contract.values import Case, Signature, Tensors, TensorSpec
from converters.processes.child import run
from converters.reference import choosing, coverage
from converters.reference.coverage import Coverage, Reached
from converters.reference.drawing import Hint

NARROW = Tolerance(error=1e-4)


def of_small_model(inputs: Tensors) -> Coverage:
    """An embedding of five rows, a rectifier of three units of which one is never on, a variable without a gradient."""
    import tensorflow as tf

    table = tf.Variable(np.ones((5, 2), np.float32), name="table")
    kernel = tf.Variable([[1.0, -1.0, 1.0], [1.0, -1.0, 1.0]], name="kernel", trainable=False)
    offset = tf.Variable([0.0, -1.0, 0.0], name="offset")
    unused = tf.Variable([1.0], name="unused")
    counter = tf.Variable([1], name="counter")

    def call(tensors: dict[str, Any]) -> dict[str, Any]:
        hidden = tf.nn.relu(tf.gather(table, tensors["index"]) @ kernel + offset)
        return {"y": hidden, "largest": tf.argmax(hidden, axis=1)}

    variables = [table, kernel, offset, unused, counter]
    whole = coverage.measure(call, variables, inputs)
    with mock.patch.object(coverage, "PASS", 1):
        assert coverage.measure(call, variables, inputs, batched=True) == whole
    return whole


def test_measure_counts_the_weights_that_change_an_output() -> None:
    found = run(of_small_model, {"index": np.int32([1, 3, 3])}).value
    assert found == Coverage(
        variables=(
            Reached(name="table", weights=10, reached=4),
            Reached(name="kernel", weights=6, reached=4),
            Reached(name="offset", weights=3, reached=2),
        )
    )
    assert found.share == pytest.approx(10 / 19)


def of_integers() -> Coverage:
    import tensorflow as tf

    kernel = tf.Variable(tf.ones((2, 2)))
    return coverage.measure(lambda t: {"y": tf.argmax(t["x"] @ kernel, axis=1)}, [kernel], {"x": np.ones((3, 2), "f")})


def test_measure_says_why_when_nothing_has_a_gradient() -> None:
    found = run(of_integers).value
    assert found.share is None
    assert "no output that has a gradient" in str(found.problem)


def told(outputs: Any, reached: Coverage | None = None) -> str:
    """What the check says of an output y [n, ...] of n samples."""
    array = np.asarray(outputs)
    spec = TensorSpec(shape=(None, *array.shape[1:]), dtype=array.dtype.name)
    signature = Signature(inputs={"x": TensorSpec(shape=(None,), dtype="float32")}, outputs={"y": spec})
    cases = [Case(inputs={"x": np.zeros(len(a), "f")}, outputs={"y": a}) for a in (array, array[:1])]
    result = coverage.check(cases, signature, reached)
    assert result.status == "passed"
    assert result.measured == (reached.share if reached else None)
    return result.detail


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (np.float32([[1, 5], [2, 5], [3, 5]]), "1 of 2 elements of 'y' are the same for every sample"),
        (np.float32([[1, 2], [2, 3], [3, 9]]), "the largest element of 'y' is always number 1"),
        (np.float32([[1, 0], [0, 1], [1, 0], [1, 0]]), "3 of 5 samples give the same 'y' as another"),
        (np.float32([[1, 0], [0, np.nan], [0, 2]]), "1 of 8 elements of 'y' are not finite"),
        (np.int32([4, 4, 4]), "'y' is the same for every sample"),
        (np.float32([[1, 0], [0, 2], [3, 1]]), "every element of every output differs"),
    ],
)
def test_check_names_what_golden_does_not_exercise(outputs: Any, words: str) -> None:
    assert words in told(outputs)


def test_check_names_the_variables_with_the_most_weights_that_change_nothing() -> None:
    counts = {"a": (10, 10), "b": (10, 9), "c": (10, 0), "d": (10, 5), "e": (10, 8)}
    found = Coverage(variables=tuple(Reached(name=n, weights=w, reached=r) for n, (w, r) in counts.items()))
    varied = np.float32([[1, 0], [0, 2], [3, 1]])
    assert told(varied, found) == (
        "32 of 50 weights change an output; not 10 of 10 in c, 5 of 10 in d, 2 of 10 in e, and in 1 more variables"
    )
    assert "is not known: no gradient" in told(varied, Coverage(problem="no gradient"))


UNARY = Signature(
    inputs={"x": TensorSpec(shape=(None, 2), dtype="float32")},
    outputs={"y": TensorSpec(shape=(None, 2), dtype="float32")},
)


def reached_if(condition: Any) -> Any:
    """A `reach` that reaches every weight if the inputs are so, else half of them."""
    return lambda inputs: Coverage(
        variables=(Reached(name="w", weights=10, reached=10 if condition(inputs["x"]) else 5),)
    )


def same(tensors: Tensors) -> Tensors:
    return {"y": tensors["x"].copy()}


def test_choose_draws_more_while_they_reach_more() -> None:
    chosen = choosing.choose(UNARY, GoldenSpec(), same, NARROW, None, reached_if(lambda x: len(x) >= 256))
    assert chosen.cases[0].inputs["x"].shape == (256, 2)
    assert chosen.coverage is not None
    assert chosen.coverage.share == 1.0


def test_choose_draws_of_another_range_when_more_do_not_reach_more() -> None:
    chosen = choosing.choose(UNARY, GoldenSpec(), same, NARROW, None, reached_if(lambda x: x.max() > 100))
    assert chosen.plan.numbers == "pixels"


def test_choose_draws_no_more_than_the_config_says() -> None:
    chosen = choosing.choose(UNARY, GoldenSpec(samples=5), same, NARROW, None, reached_if(lambda x: len(x) > 5))
    assert chosen.cases[0].inputs["x"].shape == (5, 2)


def test_choose_draws_every_word_when_a_table_knows_many() -> None:
    words = tuple(f"word{number}".encode() for number in range(500))
    signature = Signature(
        inputs={"x": TensorSpec(shape=(None,), dtype="string")},
        outputs={"y": TensorSpec(shape=(None,), dtype="float32")},
    )
    chosen = choosing.choose(
        signature,
        GoldenSpec(),
        lambda tensors: {"y": np.float32([hash(word) % 1000 for word in tensors["x"]])},
        NARROW,
        {"x": Hint(values=words, unknown=b"unheard")},
        lambda _: Coverage(problem="no gradient"),
    )
    assert set(chosen.cases[0].inputs["x"]) == {*words, b"unheard"}
