"""What graphs say of the data their models were trained on, and inputs that are fitted to it within a budget."""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest

from converters.contract.values import TensorSpec
from converters.formats import flat
from converters.processes.child import run
from converters.reference import cost, fitting
from converters.reference import goal as goals
from converters.reference.goal import Goal

pytestmark = pytest.mark.tensorflow

MEAN, VARIANCE = np.float32([3, -2]), np.float32([4, 0.25])


def goal_of(function: Callable[[Any], Any], shape: tuple[int | None, ...], dtype: str = "float32") -> Goal | None:
    import tensorflow as tf

    concrete = tf.function(function).get_concrete_function(tf.TensorSpec(shape, dtype, name="x"))
    specs = {"x": TensorSpec(shape=shape, dtype=dtype)}
    return goals.of_graph(flat.of_concrete(concrete, {"x": concrete.inputs[0].name}), specs, [])


def fused(x: Any, training: bool = False) -> Any:
    import tensorflow as tf

    scale = tf.ones(2)
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=scale, mean=MEAN, variance=VARIANCE, epsilon=0.01, is_training=training
    )[0]


def decomposed(x: Any) -> Any:
    import tensorflow as tf

    return tf.nn.batch_normalization(x, MEAN, tf.constant(VARIANCE), tf.ones(2), None, 0.01)


def divided(x: Any) -> Any:
    import tensorflow as tf

    return (x / 255 - MEAN) / tf.maximum(tf.sqrt(VARIANCE), 1e-7)


def plain_numbers(x: Any) -> Any:
    return (x - MEAN) / np.sqrt(VARIANCE)


def statistics_of(function: Callable[[Any], Any]) -> list[tuple[list[float], list[float], float]]:
    """For a child process."""
    goal = goal_of(function, (None, 4, 4, 2))
    found = goal.statistics if goal is not None else []
    return [(s.mean.ravel().tolist(), s.variance.ravel().round(4).tolist(), round(s.epsilon, 4)) for s in found]


@pytest.mark.parametrize(
    ("function", "epsilon"), [(fused, 0.01), (decomposed, 0.01), (divided, 0.0), (plain_numbers, 0.0)]
)
def test_statistics_are_read_when_they_are_computed_with_in_any_form(function: Any, epsilon: float) -> None:
    assert run(statistics_of, function).value == [([3, -2], [4, 0.25], epsilon)]


def in_training(x: Any) -> Any:
    return fused(x, training=True) * np.float32(2)


def layer_norm(x: Any) -> Any:
    import tensorflow as tf

    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, None, None, 0.01)


@pytest.mark.parametrize("function", [in_training, layer_norm])
def test_statistics_are_none_when_they_are_the_input_s_own(function: Any) -> None:
    assert run(statistics_of, function).value == []


def limits_of(dtype: str, scale: float, offset: float) -> Any:
    """For a child process."""
    import tensorflow as tf

    goal = goal_of(lambda x: tf.cast(x, tf.float32) * scale + offset, (None, 3), dtype)
    return None if goal is None else goal.limits.get("x")


@pytest.mark.parametrize(
    ("scale", "offset", "expected"),
    [
        (1 / 255, 0, (0, 255)),
        (1 / 127.5, -1, (0, 255)),
        (1 / 255, -0.5, (0, 255)),
        (1 / 16, 0, (0, 16)),
        (1 / 32768, 0, (-32768, 32768)),
        (2, -1, (0, 1)),
        (3, 0, None),
        (0.5, 1, None),
        (0.1, 0, None),
        (1, -3, None),
    ],
)
def test_limits_are_what_scalars_map_to_the_usual_ranges(scale: float, offset: float, expected: Any) -> None:
    assert run(limits_of, "float32", scale, offset).value == expected


def test_limits_are_those_of_bytes_when_nothing_else_is_told() -> None:
    assert run(limits_of, "uint8", 3, 0).value == (0, 255)


def fitted(shape: tuple[int | None, ...], dtype: str, calls: int, seconds: float = 0.0) -> Any:
    """Fitted calls of a signal whose differences have statistics, distance, and steps; for a child process.

    The clock advances by `seconds` whenever it is read.
    """
    import tensorflow as tf

    def differences(x: Any) -> Any:
        x = tf.cast(x, tf.float32)
        return decomposed(tf.stack([x[:, 0] - x[:, 1], x[:, 1] + x[:, 2]], axis=1))

    goal = goal_of(differences, shape, dtype)
    assert goal is not None
    start = [
        {"x": np.random.default_rng(i).integers(0, 9, size=(shape[0] or 64, 3)).astype(dtype)} for i in range(calls)
    ]
    ticks = count()
    result = fitting.fit(goal, start, 100, lambda: seconds * next(ticks))
    return [call["x"] for call in result.calls], result


@pytest.mark.parametrize(("shape", "calls"), [((None, 3), 1), ((8, 3), 4)])
def test_fit_gives_inputs_the_statistics_when_all_calls_are_taken_together(shape: Any, calls: int) -> None:
    inputs, result = run(fitted, shape, "float32", calls).value
    x = np.concatenate(inputs)
    values = np.stack([x[:, 0] - x[:, 1], x[:, 1] + x[:, 2]], axis=1)
    np.testing.assert_allclose(values.mean(axis=0), MEAN, atol=0.3)
    np.testing.assert_allclose(values.std(axis=0), np.sqrt(VARIANCE), atol=0.3)
    assert result.matched
    assert result.after < result.before


def test_fit_keeps_the_dtype_when_inputs_are_integers() -> None:
    (x,), result = run(fitted, (None, 3), "int32", 1).value
    assert x.dtype == np.int32
    assert result.after < result.before


def test_fit_is_not_matched_when_there_is_no_time() -> None:
    _, result = run(fitted, (None, 3), "float32", 1, fitting.SECONDS).value
    assert result.steps == 0
    assert not result.matched


def test_fit_stops_when_its_time_is_up() -> None:
    _, result = run(fitted, (None, 3), "float32", 1, fitting.SECONDS / 12).value
    assert 0 < result.steps < 12


@pytest.mark.parametrize("work", [0, 10**5, 10**7, 3 * 10**8])
def test_budget_holds_when_a_model_is_small_or_large(work: int) -> None:
    allowed = fitting.budget(work)
    assert allowed is not None
    samples, steps = allowed
    assert 3 * work * samples * steps <= fitting.WORK
    assert (samples, steps) == (fitting.SAMPLES, fitting.STEPS) or 3 * work * (samples + 1) * (
        steps + 1
    ) > fitting.WORK / 2


def test_budget_is_none_when_a_model_is_too_large() -> None:
    assert fitting.budget(10**10) is None


def counted() -> int:
    """For a child process."""
    import tensorflow as tf

    kernels = tf.ones((3, 3, 2, 4)), tf.ones((3, 3, 4, 1)), tf.ones((4, 5))

    def network(x: Any) -> Any:
        x = tf.nn.conv2d(decomposed(x), kernels[0], 1, "SAME")
        x = tf.nn.depthwise_conv2d(x, kernels[1], [1, 1, 1, 1], "SAME")
        return tf.reduce_mean(x, [1, 2]) @ kernels[2]

    goal = goal_of(network, (None, 6, 6, 2))
    assert goal is not None
    return cost.multiply_adds(goal.graph.graph_def)


def test_multiply_adds_counts_convolutions_and_products() -> None:
    assert run(counted).value == 36 * 4 * 9 * 2 + 36 * 4 * 9 + 4 * 5
