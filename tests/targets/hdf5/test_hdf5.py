"""HDF5: a whole Keras model run by a fresh Keras, or the variables of any other model, byte for byte."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import damage
import h5py
import numpy as np
import pytest
import samples
from samples import Converted, Sample

from converters.steps.unit import plan

pytestmark = pytest.mark.usefixtures("kept_children")

Make = Callable[..., Sample]


@pytest.fixture(scope="module")
def sound_model(keras_sample: Sample) -> Converted:
    """model.h5 of a tf_keras model."""
    return samples.converted(keras_sample, "hdf5", "model")


@pytest.fixture(scope="module")
def sound_weights(module_sample: Sample) -> Converted:
    """weights.h5 of a tf.Module."""
    return samples.converted(module_sample, "hdf5", "weights")


@pytest.fixture
def model(sound_model: Converted, tmp_path: Path) -> Converted:
    """A copy of model.h5, to be damaged."""
    return sound_model.copy(tmp_path)


@pytest.fixture
def weights(sound_weights: Converted, tmp_path: Path) -> Converted:
    """A copy of weights.h5, to be damaged."""
    return sound_weights.copy(tmp_path)


@pytest.mark.parametrize("library", ["tf_keras", "keras"])
def test_check_passes_when_a_keras_model_is_reloaded(make_sample: Make, library: str) -> None:
    made = samples.converted(make_sample(samples.KERAS.replace("tf_keras", library)), "hdf5", "model")
    (row,) = made.check()
    assert (row.status, row.reason) == ("passed", None)
    assert row.path == "hdf5/model.h5"
    assert any(check.runtime.startswith(f"{library} ") for check in row.checks if check.name == "values")
    with h5py.File(made.path) as file:
        assert "model_config" in file.attrs


@pytest.mark.parametrize("library", ["tf_keras", "keras"])
@pytest.mark.parametrize(
    "model",
    [
        "keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])",
        "keras.Model(many, keras.layers.Dense(2)(keras.layers.concatenate(many)))",
    ],
    ids=["sequential", "functional"],
)
def test_check_passes_when_inputs_have_no_names(make_sample: Make, library: str, model: str) -> None:
    code = f"""
import {library} as keras

def build():
    many = [keras.Input((3,)), keras.Input((2,))]
    return {model}
"""
    sample = make_sample(code)
    for target, variant in (("hdf5", "model"), ("tfjs", "layers")):
        (row,) = samples.converted(sample, target, variant).check()
        assert (row.status, row.reason) == ("passed", None)


def test_check_passes_when_variables_are_read_back(sound_weights: Converted) -> None:
    (row,) = sound_weights.check()
    assert (row.status, row.reason, row.signature) == ("passed", None, None)
    with h5py.File(sound_weights.path) as file:
        assert set(file["variables"]) == {"weight", "offset"}
        np.testing.assert_array_equal(file["variables/offset"][()], samples.OFFSET)


def test_check_passes_when_variables_are_of_every_kind(make_sample: Make) -> None:
    code = """
import tensorflow as tf

class Kinds(tf.Module):
    def __init__(self):
        super().__init__()
        kinds = ["float16", "bfloat16", "float64", "int8", "uint8", "int64", "bool", "complex64"]
        self.all = [tf.Variable(tf.cast([0, 1, 2], kind), name=f"deep/{kind}") for kind in kinds]
        self.text = tf.Variable(["a", "bc", ""], name="deep")
        self.scalar, self.empty = tf.Variable(2.5, name="same"), tf.Variable(tf.zeros([0, 2]), name="same")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def __call__(self, x):
        return {"y": self.scalar * x + tf.reduce_sum(self.empty)}

def build():
    return Kinds()
"""
    (row,) = samples.converted(make_sample(code), "hdf5", "weights").check()
    assert (row.status, row.reason) == ("passed", None)


def test_check_fails_values_when_a_weight_byte_of_the_model_is_flipped(model: Converted) -> None:
    with h5py.File(model.path) as file:
        kernels: list[np.ndarray[Any, Any]] = []
        file.visititems(lambda name, item: kernels.append(item[()]) if name.endswith("scores/kernel:0") else None)
    damage.flip(model.path, kernels[0].tobytes())
    assert samples.turned(model.check())["serving_default"] - {"batch"} == {"values"}


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ('"features"', '"feature"', "names"),
        ('"tanh"', '"relu"', "values"),
        ("[null, 6]", "[null, 7]", "shapes"),
    ],
)
def test_check_fails_one_check_when_the_models_config_is_edited(
    model: Converted, old: str, new: str, check: str
) -> None:
    with h5py.File(model.path, "r+") as file:
        config = file.attrs["model_config"]
        assert old in config
        file.attrs["model_config"] = config.replace(old, new)
    assert samples.turned(model.check())["serving_default"] - {"batch"} == {check}


def test_check_fails_loads_when_the_model_has_no_config(model: Converted) -> None:
    with h5py.File(model.path, "r+") as file:
        del file.attrs["model_config"]
    assert samples.turned(model.check()) == {"serving_default": {"loads"}}


def test_check_fails_runs_when_a_layers_weights_are_missing(model: Converted) -> None:
    with h5py.File(model.path, "r+") as file:
        del file["model_weights/scores"]
    assert samples.turned(model.check()) == {"serving_default": {"runs"}}


def change_value(file: Any) -> None:
    file["variables/offset"][2] = np.nextafter(file["variables/offset"][2], np.float32(9))


def change_dtype(file: Any) -> None:
    value, attributes = file["variables/offset"][()], dict(file["variables/offset"].attrs)
    del file["variables/offset"]
    file.create_dataset("variables/offset", data=value.astype(np.float64)).attrs.update(attributes)


def change_shape(file: Any) -> None:
    value, attributes = file["variables/weight"][()], dict(file["variables/weight"].attrs)
    del file["variables/weight"]
    file.create_dataset("variables/weight", data=value.reshape(5, 4)).attrs.update(attributes)


@pytest.mark.parametrize(
    "harm",
    [
        change_value,
        change_dtype,
        change_shape,
        lambda file: file["variables/offset"].attrs.update(name="other"),
        lambda file: file.move("variables/offset", "variables/other"),
    ],
    ids=["value", "dtype", "shape", "attribute", "dataset"],
)
def test_check_fails_values_when_one_variable_differs(weights: Converted, harm: Callable[[Any], None]) -> None:
    with h5py.File(weights.path, "r+") as file:
        harm(file)
    assert samples.turned(weights.check()) == {None: {"values"}}


def test_check_fails_outputs_when_a_variable_is_missing(weights: Converted) -> None:
    with h5py.File(weights.path, "r+") as file:
        del file["variables/weight"]
    assert samples.turned(weights.check()) == {None: {"outputs"}}


def test_check_fails_runs_when_an_attribute_is_missing(weights: Converted) -> None:
    with h5py.File(weights.path, "r+") as file:
        del file["variables/weight"].attrs["dtype"]
    assert samples.turned(weights.check()) == {None: {"runs"}}


def test_convert_is_unsupported_when_the_source_is_no_keras_model(module_sample: Sample) -> None:
    rows = samples.converted(module_sample, "hdf5", "model").check()
    assert {row.status for row in rows} == {"unsupported"}
    assert "ask for variant 'weights'" in str(rows[0].reason)


def test_convert_is_unsupported_when_a_keras_3_model_calls_operations(make_sample: Make) -> None:
    code = """
import keras

def build():
    x = keras.Input((5,), name="x")
    return keras.Model(x, keras.layers.Dense(2, name="y")(keras.ops.top_k(x, 3)[0]))
"""
    (row,) = samples.converted(make_sample(code), "hdf5", "model").check()
    assert row.status == "unsupported"
    assert "TopK is an operation and no layer, and Keras 3 finds operations in .keras files alone; " in str(row.reason)
    assert "--custom" not in str(row.reason)


@pytest.mark.parametrize("library", ["tf_keras", "keras"])
def test_weights_hold_variables_and_no_tables(make_sample: Make, library: str) -> None:
    code = f"""
import {library} as keras

def build():
    text = keras.Input((1,), dtype="string", name="text")
    split = keras.layers.TextVectorization(output_sequence_length=4)
    split.adapt(["a cat", "a dog"])
    words = keras.layers.Embedding(9, 3, name="words")(split(text))
    return keras.Model(text, keras.layers.Dense(2, name="y")(keras.layers.Flatten()(words)))
"""
    made = samples.converted(make_sample(code), "hdf5", "weights")
    (row,) = made.check()
    assert (row.status, row.reason) == ("passed", None)
    with h5py.File(made.path) as file:
        assert len(file["variables"]) == 3


SUBCLASSED = """
import tensorflow as tf
import tf_keras

{register}
class Net(tf_keras.Model):
    def __init__(self, **given):
        super().__init__(**given)
        self.top = tf_keras.layers.Dense(2)

    def call(self, x):
        return self.top(x)

def build():
    model = Net()
    model(tf.zeros([1, 3]))
    return model
"""


@pytest.mark.parametrize("register", ["", "@tf_keras.saving.register_keras_serializable()"])
def test_convert_is_unsupported_when_the_model_is_subclassed(make_sample: Make, register: str) -> None:
    inputs = {"x": {"shape": [None, 3], "dtype": "float32"}}
    sample = make_sample(SUBCLASSED.replace("{register}", register), inputs=inputs)
    (row,) = samples.converted(sample, "hdf5", "model").check()
    assert row.status == "unsupported"
    assert "this one is subclassed" in str(row.reason)


@pytest.mark.parametrize("library", ["tf_keras", "keras"])
def test_check_passes_when_the_model_returns_a_dict_of_its_own_keys(make_sample: Make, library: str) -> None:
    code = """
import {library} as keras

def build():
    left, right = keras.Input((3,), name="zeta"), keras.Input((2,), name="alpha")
    joined = keras.layers.Concatenate()([left, right])
    kind, size = keras.layers.Dense(3, name="kind")(joined), keras.layers.Dense(1, name="size")(left)
    return keras.Model({"zeta": left, "alpha": right}, {"b": kind, "a": size})
"""
    sample = make_sample(code.replace("{library}", library))
    assert sample.source.signatures["serving_default"].outputs.keys() == {"a", "b"}
    (row,) = samples.converted(sample, "hdf5", "model").check()
    assert (row.status, row.reason) == ("passed", None)


def test_convert_is_unsupported_for_other_signatures_when_the_model_has_a_further_method(make_sample: Make) -> None:
    code = (
        samples.KERAS
        + """
import tensorflow as tf

class Both(tf_keras.Sequential):
    @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name="features")])
    def hidden(self, features):
        return {"hidden": self.layers[0](features)}

def both():
    return Both([tf_keras.layers.Input((6,), name="features"), *build().layers])
"""
    )
    sample = make_sample(code, model="tiny.py:both", signatures={"serving_default": "call", "hidden": "hidden"})
    rows = {row.signature: row for row in samples.converted(sample, "hdf5", "model").check()}
    assert rows["hidden"].status == "unsupported"
    assert "model's call alone" in str(rows["hidden"].reason)


def test_variants_follow_the_source_when_the_config_names_none(keras_sample: Sample, module_sample: Sample) -> None:
    for sample, variant in ((keras_sample, "model"), (module_sample, "weights")):
        assert ("hdf5", variant) in plan(sample.source, sample.spec)


CUSTOM = """
import tf_keras

{register}
class Scale(tf_keras.layers.Layer):
    def call(self, x):
        return 2.0 * x

def build():
    return tf_keras.Sequential([tf_keras.layers.Input((3,)), Scale(name="scale"), tf_keras.layers.Dense(2)])
"""


@pytest.mark.parametrize("register", ["", "@tf_keras.saving.register_keras_serializable()"])
@pytest.mark.parametrize("library", ["tf_keras", "keras"])
def test_convert_is_unsupported_when_a_layer_is_custom(make_sample: Make, register: str, library: str) -> None:
    sample = make_sample(CUSTOM.replace("{register}", register).replace("tf_keras", library))
    made = samples.converted(sample, "hdf5", "model")
    (row,) = made.check()
    assert row.status == "unsupported", row
    assert "Scale" in str(row.reason)
    assert not list(made.root.rglob("*.h5"))


def test_check_passes_when_a_keras_models_variables_are_asked_for(keras_sample: Sample) -> None:
    (row,) = samples.converted(keras_sample, "hdf5", "weights").check()
    assert (row.status, row.reason) == ("passed", None)


@pytest.mark.parametrize("library", ["tf_keras", "keras"])
def test_check_passes_when_variables_are_more_than_weights_or_not_all_used(make_sample: Make, library: str) -> None:
    code = f"""
import numpy as np
import tensorflow as tf
import {library} as keras
from {library} import layers

class Odd(layers.Layer):
    def build(self, shape):
        self.used = self.add_weight(name="used", shape=(3,), initializer="ones")
        self.unused = self.add_weight(name="unused", shape=(3,), initializer="ones")
        self.plain = tf.Variable([1.0, 2.0, 3.0], name="plain")

    def call(self, x):
        return x * self.used + self.plain

def build():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([
        layers.Input((5, 2), name="x"), layers.Bidirectional(layers.LSTM(4, dropout=0.2), name="both"), layers.Dropout(0.5),
        layers.Dense(3, name="y"), Odd(name="odd"),
    ])
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((4, 5, 2), "float32"), np.ones((4, 3), "float32"), verbose=0)
    return model
"""
    made = samples.converted(make_sample(code), "hdf5", "weights")
    (row,) = made.check()
    assert (row.status, row.reason) == ("passed", None)
    with h5py.File(made.path) as file:
        names = {str(held.attrs["name"]).rpartition("/")[2] for held in file["variables"].values()}
    assert names >= {"kernel", "recurrent_kernel", "bias", "used", "unused", "plain"}


@pytest.mark.parametrize("strings", [["a", "b\0c", ""], "\0"])
def test_check_passes_when_a_string_variable_holds_nul_bytes(make_sample: Make, strings: object) -> None:
    code = f"""
import tensorflow as tf

class Words(tf.Module):
    def __init__(self):
        super().__init__()
        self.words = tf.Variable({strings!r}, name="words")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def __call__(self, x):
        return {{"y": x + tf.cast(tf.size(self.words), tf.float32)}}

def build():
    return Words()
"""
    made = samples.converted(make_sample(code), "hdf5", "weights")
    (row,) = made.check()
    assert (row.status, row.reason) == ("passed", None)
    with h5py.File(made.path) as file:
        expected = [strings] if isinstance(strings, str) else strings
        items = np.atleast_1d(np.asarray(file["variables/words"][()], dtype=object))
        stored = [file["variables/words"][()]] if isinstance(strings, str) else list(items)
        assert [item.tobytes().decode() for item in stored] == expected
