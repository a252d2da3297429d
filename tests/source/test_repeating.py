"""A model that is random, or keeps state, is refused in one sentence; what merely writes is as it was after golden."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
from samples import Sample

from converters.config import read
from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput
from converters.formats.variables import describe_variable
from converters.processes.child import run
from converters.source.builder import Builder
from converters.steps.check import check
from converters.steps.convert import convert
from converters.steps.unit import Unit

pytestmark = pytest.mark.tensorflow

Make = Callable[..., Sample]
MakeSpec = Callable[..., ModelSpec]

KINDS = """
import tensorflow as tf
import tf_keras
import keras

X = tf.TensorSpec([None, 3], tf.float32, name="x")

class Seeded(tf.Module):
    @tf.function(input_signature=[X])
    def __call__(self, x):
        return {"y": x + tf.random.normal(tf.shape(x), seed=4)}

class Clock(tf.Module):
    @tf.function(input_signature=[X])
    def __call__(self, x):
        return {"y": x, "when": tf.timestamp() % 1.0 + tf.cast(x, tf.float64)}

class Generator(tf.Module):
    def __init__(self):
        self.dice = tf.random.Generator.from_seed(3)

    @tf.function(input_signature=[X])
    def __call__(self, x):
        return {"y": x + self.dice.normal(tf.shape(x))}

class Stateless(tf.Module):
    @tf.function(input_signature=[X])
    def __call__(self, x):
        return {"y": x + tf.random.stateless_normal([3], [1, 2])}

class Smoother(tf.Module):
    def __init__(self):
        self.memory = tf.Variable(tf.zeros([3]))

    @tf.function(input_signature=[X])
    def __call__(self, x):
        return {"smooth": self.memory.assign(0.9 * self.memory + 0.1 * tf.reduce_sum(x, axis=0))}

class Largest(tf.Module):
    def __init__(self):
        self.nested = Smoother()

    @tf.function(input_signature=[X])
    def __call__(self, x):
        highest = tf.reduce_max(x)
        if highest > self.nested.memory[0]:
            self.nested.memory.assign(tf.fill([3], highest))
        return {"y": x + self.nested.memory}

class Table(tf.Module):
    def __init__(self):
        self.counts = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, 0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="k")])
    def __call__(self, k):
        seen = self.counts.lookup(k)
        self.counts.insert(k, seen + 1)
        return {"seen": seen, "twice": 2 * k}

class Both(tf.Module):
    def __init__(self):
        self.calls = tf.Variable(0.0)

    @tf.function(input_signature=[X])
    def __call__(self, x):
        return {"y": tf.tanh(x)}

    @tf.function(input_signature=[X])
    def counted(self, x):
        return {"y": x + self.calls.assign_add(1.0)}

    @tf.function(input_signature=[X])
    def logged(self, x):
        self.calls.assign_add(1.0)
        return {"y": 3.0 * x}

def dropout():
    x = tf_keras.Input((6,), name="x")
    hidden = tf_keras.layers.Dropout(0.5)(tf_keras.layers.Dense(8)(x), training=True)
    return tf_keras.Model(x, tf_keras.layers.Dense(2, name="y")(hidden))

class Noise(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x):
        return x + keras.random.normal((2,), seed=self.seeds)

def seed_generator():
    x = keras.Input((6,), name="x")
    return keras.Model(x, Noise()(keras.layers.Dense(2)(x)))

def remembering():
    x = tf_keras.Input(batch_shape=(1, 2, 3), name="x")
    return tf_keras.Model(x, tf_keras.layers.Dense(2, name="y")(tf_keras.layers.GRU(4, stateful=True)(x)))

def normalised():
    x = tf_keras.Input((6,), name="x")
    hidden = tf_keras.layers.BatchNormalization(name="norm")(tf_keras.layers.Dense(8)(x), training=True)
    return tf_keras.Model(x, tf_keras.layers.Dense(2, name="y")(hidden))
"""


def refusal(spec: ModelSpec, folder: Path) -> str:
    """What building it is refused with."""
    with Builder(spec, folder, folder) as builder, pytest.raises(BadInput) as caught:
        builder.build()
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("Seeded", "is random: each call returns another 'y' for the same inputs (RandomStandardNormal), so that"),
        ("Clock", "is random: each call returns another 'when' for the same inputs (Timestamp), so that"),
        ("Generator", "is random: each call returns another 'y' (RngReadAndSkip, StatelessRandomNormalV2, from 'dice."),
        ("dropout", "is random: each call returns another 'y' for the same inputs (RandomUniform), so that"),
        ("seed_generator", "seed_generator_state', which each call changes)"),
        ("Smoother", "keeps state: 'smooth' depends on 'memory', which each call changes"),
        ("Largest", "keeps state: 'y' depends on 'nested.memory', which each call changes"),
        ("Table", "keeps state: 'seen' depends on 'counts', which each call changes"),
        ("remembering", "keeps state: 'y' depends on 'gru/Variable', which each call changes"),
    ],
)
def test_build_refuses_when_the_model_does_not_return_the_same_again(
    make_spec: MakeSpec, tmp_path: Path, kind: str, words: str
) -> None:
    told = refusal(make_spec(KINDS, model=f"tiny.py:{kind}"), tmp_path)
    assert told.startswith(f"tiny.py:{kind}: signature 'serving_default' ")
    assert words in told
    assert ("make the numbers that it draws an input" if "random" in told else "an input and an output") in told


def save(folder: Path, name: str) -> None:
    import sys

    import tensorflow as tf

    sys.path.insert(0, str(folder))
    import tiny

    module = getattr(tiny, name)()
    methods = {"one": "__call__", "two": "counted", "three": "logged"}
    signatures = {key: getattr(module, method) for key, method in methods.items() if hasattr(module, method)}
    tf.saved_model.save(module, str(folder / "saved"), signatures=signatures)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("Seeded", "is random: each call returns another 'y' for the same inputs (RandomStandardNormal)"),
        ("Generator", "is random: each call returns another 'y' (RngReadAndSkip"),
        ("Largest", "keeps state: 'y' depends on '"),
        ("Table", "keeps state: 'seen' depends on '"),
    ],
)
def test_build_refuses_when_a_saved_model_does_not_return_the_same_again(
    make_spec: MakeSpec, tmp_path: Path, kind: str, words: str
) -> None:
    assert words in refusal(saved(make_spec(KINDS), kind), tmp_path)


def saved(spec: ModelSpec, kind: str) -> ModelSpec:
    """That of the SavedModel that such a module is written as, beside its code."""
    run(save, spec.base, kind)
    return read.find(str(spec.base / "saved"))


@pytest.mark.parametrize("given", [False, True], ids=["builder", "saved_model"])
def test_build_leaves_a_signature_out_when_others_return_the_same_again(
    make_spec: MakeSpec, tmp_path: Path, given: bool
) -> None:
    spec = make_spec(KINDS, model="tiny.py:Both")
    spec = saved(spec, "Both") if given else spec
    sample = samples.build(spec, tmp_path)
    good, bad = (["one", "three"], "two") if given else (["logged", "serving_default"], "counted")
    assert sorted(sample.source.signatures) == sorted(sample.golden.cases) == good
    assert sample.source.refused.keys() == {bad}
    assert sample.source.refused[bad].startswith("it keeps state: 'y' depends on '")
    unit = Unit(
        target="saved_model",
        variant="default",
        source=sample.source,
        spec=spec,
        release=sample.source.saved_model.parent,
    )
    rows = {row.signature: (row.status, row.reason) for row in check(unit, convert(unit))}
    assert {rows[key] for key in good} == {("passed", None)}
    assert rows[bad] == ("unsupported", sample.source.refused[bad])


def test_build_puts_back_what_calls_write_when_outputs_do_not_depend_on_it(make_sample: Make) -> None:
    sample = make_sample(KINDS, model="tiny.py:normalised")
    assert sample.source.refused == {}
    assert describe_variable("norm/moving_mean", np.zeros(8, np.float32)) in sample.golden.variables
    assert run(moving_mean, sample.source.saved_model).value == [0.0] * 8


def moving_mean(saved_model: Path) -> Any:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved_model))
    variables = loaded.signatures["serving_default"].variables
    return next(v for v in variables if "moving_mean" in v.name).numpy().tolist()


def test_build_takes_random_numbers_when_they_are_the_same_in_each_call(make_sample: Make) -> None:
    case = make_sample(KINDS, model="tiny.py:Stateless").golden.cases["serving_default"][0]
    noise = case.outputs["y"] - case.inputs["x"]
    np.testing.assert_allclose(noise, np.broadcast_to(noise[:1], noise.shape), atol=1e-6)
