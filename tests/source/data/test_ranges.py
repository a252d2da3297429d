"""The range that a model expects images in is found by what its graph does with them, or said to be unknown."""

from collections.abc import Callable
from pathlib import Path

import given_data
import numpy as np
import pytest
import samples
from samples import Sample

from converters.config.read import find
from converters.config.spec import ModelSpec
from converters.processes.child import run

pytestmark = pytest.mark.tensorflow

CODE = """
import numpy as np
import tensorflow as tf
import {library} as keras

def pictures():
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (64, 3, 3, 3)) * rng.uniform(0.5, 1, (64, 1, 1, 1))
    return np.asarray(tf.image.resize(small.astype(np.float32), (12, 12)))

def trained(model, images):
    '''Its batch normalisations have seen these.'''
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    return model

def build():
    keras.utils.set_random_seed(2)
    layers = keras.layers
    image = layers.Input((12, 12, 3), name="image")
    x = image
    {first}
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(x))
    model = keras.Model(image, layers.Dense(3, name="scores")(x))
    {last}
    return model
"""

NORMS = "x = layers.BatchNormalization()(layers.Conv2D(6, 3, use_bias=False)(x)); x = layers.ReLU()(x)"
CAFFE = "trained(model, pictures()[..., ::-1] - np.float32([103.939, 116.779, 123.68]))"
TELLING = {
    "rescaled to 0..1": ("x = layers.Rescaling(1 / 255)(x)", "", "0..255", "as the model scales them"),
    "rescaled to -1..1": ("x = layers.Rescaling(1 / 127.5, -1)(x)", "", "0..255", "as the model scales them"),
    "shifted": ("x = layers.Rescaling(2.0, -1)(x)", "", "0..1", "as the model scales them"),
    "normalised": (
        "x = layers.Normalization(mean=[120., 115, 110], variance=[3600., 3500, 3400])(x)", "", "0..255",
        "as the model scales them",
    ),
    "seen 0..255": (NORMS, "trained(model, pictures())", "0..255", "as its batch normalisation has seen them"),
    "seen 0..1": (NORMS, "trained(model, pictures() / 255)", "0..1", "as its batch normalisation has seen them"),
    "seen -1..1": (NORMS, "trained(model, pictures() / 127.5 - 1)", "-1..1", "as its batch normalisation has seen them"),
    "seen caffe": (NORMS, CAFFE, "caffe", "as its batch normalisation has seen them"),
    "seen at once": (
        "x = layers.BatchNormalization()(x)", "trained(model, pictures() / 127.5 - 1)", "-1..1",
        "as its batch normalisation has seen them",
    ),
    "seen without a scale": (
        NORMS.replace("n()", "n(scale=False)"), "trained(model, pictures() / 127.5 - 1)", "-1..1",
        "as its batch normalisation has seen them",
    ),
    "untrained": (NORMS, "", "0..1", "since nothing in the model tells"),
    "plain": ("", "", "0..1", "since nothing in the model tells"),
}  # fmt: skip


def with_pictures(folder: Path) -> Path:
    """A folder of natural enough images, other than those that the models have seen."""
    rng = np.random.default_rng(7)
    images = {folder / f"{n}.png": rng.integers(0, 256, (3, 3, 3)).repeat(4, 0).repeat(4, 1) for n in range(20)}
    run(given_data.write_images, images)
    return folder


@pytest.fixture(scope="module", name="pictures")
def _pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.mark.parametrize("library", ["tf_keras", "keras"])
@pytest.mark.parametrize("what", list(TELLING))
def test_build_finds_the_range_of_images_that_a_keras_model_tells(
    make_spec: Callable[..., ModelSpec], tmp_path: Path, pictures: Path, library: str, what: str
) -> None:
    first, last, values, why = TELLING[what]
    code = CODE.replace("{library}", library).replace("{first}", first).replace("{last}", last)
    built = samples.only_build(make_spec(code, golden={"data": str(pictures)}), tmp_path)
    (sentence,) = built.said
    form = f"the range {values}, " if ".." in values else f"the form that is called {values} (keras.applications), "
    assert sentence.startswith(f"images are given to input 'image' in {form}{why}")


def test_build_finds_the_range_of_images_when_the_model_is_a_saved_model(
    make_sample: Callable[..., Sample], tmp_path: Path, pictures: Path
) -> None:
    code = CODE.replace("{library}", "tf_keras").replace("{first}", NORMS)
    saved = make_sample(code.replace("{last}", "trained(model, pictures() / 127.5 - 1)")).source.saved_model
    built = samples.only_build(find(str(saved)).with_data(str(pictures)), tmp_path)
    assert built.said == (
        "images are given to input 'image' in the range -1..1, as its batch normalisation has seen them",
    )


MODULE = """
import tensorflow as tf

class Halves(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([2, 12, 12, 3], tf.float32, name="image")])
    def __call__(self, image):
        return {"mean": tf.nn.avg_pool2d((image - 128.0) / 64.0, 4, 4, "VALID")}

def build():
    return Halves()
"""


def test_build_finds_the_range_of_images_when_a_module_of_fixed_batch_scales_them(
    make_spec: Callable[..., ModelSpec], tmp_path: Path, pictures: Path
) -> None:
    built = samples.only_build(make_spec(MODULE, golden={"data": str(pictures)}), tmp_path)
    assert built.said == ("images are given to input 'image' in the range 0..255, as the model scales them",)
