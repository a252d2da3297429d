"""What a float graph computes in its loops and branches, step by step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
from samples import Sample

from converters.processes import resident
from converters.steps.convert import convert
from converters.targets.tflite import flatbuffer
from converters.targets.tflite.graph import Graph
from converters.targets.tflite.running import Running

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("kept_runtimes")]

MODULE = """
import tensorflow as tf

class Loops(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def __call__(self, x):
        BODY

def build():
    return Loops()
"""

LOOP = 'return {"y": tf.while_loop(lambda i, h: i < COUNT, lambda i, h: (i + 1, h * 0.5 + x), (0, x))[1]}'
DATA = 'return {"y": tf.while_loop(lambda h: tf.reduce_sum(h) < 9.0, lambda h: (h * 2.0,), (tf.abs(x) + 1.0,))[0]}'
LISTS = """lists = tf.TensorArray(tf.float32, 4, element_shape=(None, 2))

        def step(i, h, made):
            return i + 1, h * 0.5 + x, made.write(i, h)

        _, last, made = tf.while_loop(lambda i, h, made: i < 4, step, (0, x, lists))
        return {"y": last, "all": made.stack()}"""
NESTED = """def step(i, h):
            return i + 1, tf.while_loop(lambda j, g: j < i + 1, lambda j, g: (j + 1, g * 0.5 + x), (0, h))[1]

        return {"y": tf.while_loop(lambda i, h: i < 3, step, (0, x))[1]}"""
BRANCH = 'return {"y": tf.cond(tf.reduce_sum(x) > 0.0, lambda: tf.sin(x) + x, lambda: tf.cos(x) * 2.0)}'

INPUT = np.array([[1.0, 0.5], [0.25, 2.0]], np.float32)


def computed(path: Path, given: Any) -> tuple[list[tuple[str, list[Any]]], Any, list[str]]:
    """Of each run of a subgraph its name and what it returns; what the graph returns; and what was not looked into. In a child."""
    model = flatbuffer.parse(path.read_bytes())
    graph = Graph(model, flatbuffer.definitions(model)["serving_default"].subgraphIndex)
    running = Running(graph)
    (_, known), *runs = running.values({graph.inputs[0]: given})
    made = [
        (inner.name, [values[index] for index in inner.outputs if index in values])
        for inner, values in ((Graph(model, number), values) for number, values in runs)
    ]
    return made, known[graph.outputs[0]], list(running.partly.values())


def steps(make_sample: Callable[..., Sample], folder: Path, body: str, given: Any) -> tuple[list[Any], Any, list[str]]:
    """What each run of a body or branch returns as long as the result, the result, and what was not looked into."""
    sample = make_sample(MODULE.replace("BODY", body))
    assert convert(samples.unit_of(sample, "tflite", "float32", folder)).error is None
    file = folder / "tflite" / "float32.tflite"
    made, result, partly = resident.run("computed", computed, file, given, limits=sample.spec.limits).value
    wide = [next(each for each in values if each.shape == INPUT.shape) for name, values in made if "_cond" not in name]
    return wide, result, partly


@pytest.mark.parametrize(("body", "count"), [(LOOP.replace("COUNT", "5"), 5), (LISTS, 4)], ids=["loop", "lists"])
def test_values_are_those_of_each_step(
    make_sample: Callable[..., Sample], tmp_path: Path, body: str, count: int
) -> None:
    made, _, partly = steps(make_sample, tmp_path, body, INPUT)
    np.testing.assert_allclose(made, [INPUT * (2.0 - 0.5**number) for number in range(1, count + 1)])
    assert partly == []


def test_values_stop_where_the_data_end_a_loop(make_sample: Callable[..., Sample], tmp_path: Path) -> None:
    made, _, _ = steps(make_sample, tmp_path, DATA, INPUT / 4)
    np.testing.assert_allclose(made, [(INPUT / 4 + 1) * 2])


def test_values_are_of_all_steps_when_loops_are_nested(make_sample: Callable[..., Sample], tmp_path: Path) -> None:
    made, result, partly = steps(make_sample, tmp_path, NESTED, INPUT)
    outer, inner = made[:3], made[3:]
    np.testing.assert_allclose(inner, [INPUT * (2.0 - 0.5**number) for number in range(1, 7)])
    np.testing.assert_allclose(outer, [inner[0], inner[2], inner[5]])
    np.testing.assert_allclose(result, outer[-1])
    assert partly == []


def test_values_are_of_the_first_steps_when_there_are_many(make_sample: Callable[..., Sample], tmp_path: Path) -> None:
    made, result, partly = steps(make_sample, tmp_path, LOOP.replace("COUNT", "100"), INPUT)
    assert len(made) == 64
    np.testing.assert_allclose(result, INPUT * 2)
    assert "was looked into for 64 of its 100 steps" in partly[0]


@pytest.mark.parametrize("sign", [1, -1])
def test_values_are_of_the_branch_that_is_taken(make_sample: Callable[..., Sample], tmp_path: Path, sign: int) -> None:
    made, result, _ = steps(make_sample, tmp_path, BRANCH, INPUT * sign)
    np.testing.assert_allclose(made, [result], rtol=1e-6)
