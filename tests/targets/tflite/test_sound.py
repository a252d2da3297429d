"""Is a lossy TF Lite file converted right? Untrained models on drawn inputs: nothing else could tell what is wrong with them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import samples
from samples import Sample

from converters.contract.errors import Damaged
from converters.contract.soundness import Soundness
from converters.contract.values import Artifact, CheckResult, Tensors
from converters.processes import child, resident
from converters.reference import sound
from converters.steps.convert import convert
from converters.targets.tflite import noise
from converters.targets.tflite import sound as tflite_sound
from converters.targets.tflite.quantizing import STATIC
from tests.targets.tflite import harms

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("kept_children")]

KEY = "serving_default"
LOSSY = ("float16", "dynamic", "int8", "int8-io", "int16x8", "weight-only-int8", "int4")

NET = """
import tf_keras

def build():
    tf_keras.utils.set_random_seed(3)
    layers = tf_keras.layers
    image = layers.Input((10, 10, 3), name="image")
    first = layers.Conv2D(8, 3, strides=2, padding="same", bias_initializer="random_normal")(image)
    first = layers.ReLU()(layers.BatchNormalization()(first))
    second = layers.DepthwiseConv2D(3, padding="same", bias_initializer="random_normal", activation="relu6")(first)
    second = layers.Conv2D(8, 3, padding="same", bias_initializer="random_normal")(second)
    joined = layers.MaxPooling2D(2, 1)(layers.Add()([first, second]))
    hidden = layers.Dense(16, "tanh", bias_initializer="random_normal")(layers.Flatten()(joined))
    hidden = layers.Dense(16, "relu", bias_initializer="random_normal")(hidden)
    scores = layers.Dense(4, "softmax", name="scores")(hidden)
    return tf_keras.Model(image, {"scores": scores, "hidden": hidden})
"""
"""A convolution with batch normalisation, depthwise, a residual, two outputs; weights enough for dynamic range."""

ARCHITECTURES = {
    "loops": """
    x = layers.Input((6, 4), name="x")
    y = layers.GRU(5)(layers.LSTM(6, return_sequences=True)(x))
    return tf_keras.Model(x, layers.Dense(2)(y))
""",
    "masked": """
    x = layers.Input((7,), dtype="int32", name="x")
    y = layers.LSTM(6)(layers.Embedding(9, 8, mask_zero=True)(x))
    return tf_keras.Model(x, layers.Dense(2, "softmax")(y))
""",
    "fused": """
    x = layers.Input(batch_shape=(1, 5, 8), name="x")
    return tf_keras.Model(x, layers.Dense(2)(layers.LSTM(32)(x)))
""",
    "attention": """
    x = layers.Input((6,), dtype="int32", name="x")
    y = layers.Embedding(40, 32)(x)
    y = layers.LayerNormalization()(y + layers.MultiHeadAttention(2, 16)(y, y, use_causal_mask=False))
    return tf_keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.Dense(32, "gelu")(y))))
""",
    "decoder": """
    x = layers.Input((8, 8, 2), name="x")
    y = layers.Conv2D(4, 3, dilation_rate=2, padding="same", activation="elu")(layers.Rescaling(1 / 127.5, -1.0)(x))
    y = layers.UpSampling2D(interpolation="bilinear")(layers.Conv2DTranspose(4, 3, strides=2, padding="same")(y))
    return tf_keras.Model(x, layers.Conv2D(1, 1, activation="sigmoid")(y))
""",
}


MASKED_ATTENTION = ARCHITECTURES["attention"].replace("use_causal_mask=False", "use_causal_mask=True")
"""Its mask is -1e9, which takes all of a grid that must reach as far on both sides of zero."""
FEWER = {"loops": ("int16x8",), "masked": ("int16x8",), "decoder": ("int16x8",)}
"""What no kernels or calibrators are there for."""

CELL = """
import numpy as np
import tensorflow as tf

class Cell(tf.Module):
    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(4)
        self.gate, self.next = (tf.Variable(rng.normal(0, 0.3, (12, 8)), dtype=tf.float32) for _ in range(2))

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 4], tf.float32, name="x")])
    def __call__(self, x):
        given = tf.TensorArray(tf.float32, 6).unstack(tf.transpose(x, (1, 0, 2)))

        def step(number, state):
            both = tf.concat([given.read(number), state], 1)
            gate = tf.sigmoid(both @ self.gate)
            return number + 1, gate * state + (1.0 - gate) * tf.tanh(both @ self.next)

        start = tf.zeros([tf.shape(x)[0], 8])
        return {"state": tf.while_loop(lambda number, state: number < 6, step, (0, start))[1]}

def build():
    return Cell()
"""
"""A recurrent cell in a loop of one's own."""


def builder(body: str) -> str:
    return f"import tf_keras\n\ndef build():\n    tf_keras.utils.set_random_seed(3)\n    layers = tf_keras.layers{body}"


def files(sample: Sample, folder: Path, *variants: str) -> Path:
    """Every variant of the sample, or float32 and these, in one release-like folder."""
    for variant in ("float32", *(variants or LOSSY)):
        conversion = convert(samples.unit_of(sample, "tflite", variant, folder))
        assert conversion.error is None
        refused = [artifact.reason for artifact in conversion.artifacts if artifact.path is None]
        assert variant == "int16x8" or refused == []
    return folder / "tflite"


@pytest.fixture(scope="module")
def net(make_sample: Callable[..., Sample], tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, Path]:
    """The untrained net and its files; shared, so nobody may change them."""
    sample = make_sample(NET)
    return sample, files(sample, tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def module(make_sample: Callable[..., Sample], tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, Path]:
    """A module of two signatures and its files; shared, so nobody may change them."""
    sample = make_sample(samples.MODULE)
    return sample, files(sample, tmp_path_factory.mktemp("module"))


def judged(sample: Sample, path: Path, key: str = KEY) -> list[CheckResult]:
    """The findings for one signature of a file."""
    artifact = Artifact(target="tflite", variant=path.stem, signature=key, path=path)
    given = artifact, sample.source.saved_model, sample.golden.cases[key][0].inputs
    found = resident.run("soundness of tflite", tflite_sound.soundness, *given, limits=sample.spec.limits).value
    return sound.check(found, "tflite", calibrated=True)


def reasons(sample: Sample, path: Path, key: str = KEY) -> list[str]:
    """What speaks against a file."""
    try:
        return [finding.detail for finding in judged(sample, path, key) if finding.status == "failed"]
    except Damaged as error:
        return [str(error)]


def harmed(files: Path, variant: str, folder: Path, change: str, *arguments: Any) -> Path:
    """A harmed copy of the variant, beside the float32 file."""
    place = Path(shutil.copytree(files, folder / "tflite", dirs_exist_ok=True))
    child.run(harms.edit_tflite, place / f"{variant}.tflite", change, *arguments)
    return place / f"{variant}.tflite"


@pytest.mark.parametrize("variant", LOSSY)
def test_soundness_passes_when_the_file_is_right(net: tuple[Sample, Path], variant: str) -> None:
    findings = judged(net[0], net[1] / f"{variant}.tflite")
    assert {finding.status for finding in findings} == {"passed"}
    assert len(findings) == (4 if variant in STATIC else 2)


@pytest.mark.parametrize("variant", LOSSY)
def test_soundness_is_the_same_when_operators_are_run_a_few_at_a_time(net: tuple[Sample, Path], variant: str) -> None:
    sample, made = net
    artifact = Artifact(target="tflite", variant=variant, signature=KEY, path=made / f"{variant}.tflite")
    given = artifact, sample.source.saved_model, sample.golden.cases[KEY][0].inputs
    assert child.run(one_at_a_time, *given).value == child.run(tflite_sound.soundness, *given).value


def one_at_a_time(artifact: Artifact, saved_model: Path, inputs: Tensors) -> Soundness:
    with mock.patch.object(noise, "BYTES", 1):
        return tflite_sound.soundness(artifact, saved_model, inputs)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_soundness_passes_when_the_architecture_is_another(
    make_sample: Callable[..., Sample], tmp_path: Path, name: str
) -> None:
    sample = make_sample(builder(ARCHITECTURES[name]))
    made = files(sample, tmp_path)
    found = {
        variant: reasons(sample, made / f"{variant}.tflite") for variant in LOSSY if variant not in FEWER.get(name, ())
    }
    assert {variant: why for variant, why in found.items() if why} == {}
    assert all(not (made / f"{variant}.tflite").exists() for variant in FEWER.get(name, ()))


def test_soundness_fails_when_a_mask_leaves_nothing_of_a_grid(
    make_sample: Callable[..., Sample], tmp_path: Path
) -> None:
    sample = make_sample(builder(MASKED_ATTENTION))
    (reason,) = reasons(sample, files(sample, tmp_path, "int16x8") / "int16x8.tflite")
    assert "Softmax (SOFTMAX)" in reason


@pytest.mark.parametrize("variant", LOSSY)
def test_soundness_fails_wherever_the_file_is_harmed(net: tuple[Sample, Path], tmp_path: Path, variant: str) -> None:
    sample, made = net
    inputs = sample.golden.cases[KEY][0].inputs
    given = made, variant, sample.source.saved_model, inputs, tmp_path / "tflite"
    number, unseen = resident.run("soundness of tflite", harms.unseen, *given, limits=sample.spec.limits).value
    assert number > 50
    assert unseen == []


RECURRENT = {
    name: f"""
    x = layers.Input((5, 4), name="x")
    return tf_keras.Model(x, layers.Dense(2)(layers.{name}(6)(x)))
"""
    for name in ("GRU", "LSTM")
}


@pytest.mark.parametrize("name", ["GRU", "LSTM", "module"])
def test_soundness_fails_wherever_a_loop_is_harmed(
    make_sample: Callable[..., Sample], tmp_path: Path, name: str
) -> None:
    sample = make_sample(CELL if name == "module" else builder(RECURRENT[name]))
    made = files(sample, tmp_path, "int8")
    inputs = {name: value[:8] for name, value in sample.golden.cases[KEY][0].inputs.items()}
    assert reasons(sample, made / "int8.tflite") == []
    given = made, "int8", sample.source.saved_model, inputs, tmp_path / "harmed", "each_grid_in_loops"
    number, unseen = resident.run("soundness of tflite", harms.unseen, *given, limits=sample.spec.limits).value
    assert number > 30
    assert unseen == []


def test_soundness_says_which_steps_of_a_loop_it_saw(make_sample: Callable[..., Sample], tmp_path: Path) -> None:
    sample = make_sample(CELL.replace("number < 6", "number < 100").replace("read(number)", "read(number % 6)"))
    made = files(sample, tmp_path, "dynamic")
    details = [finding.detail for finding in judged(sample, made / "dynamic.tflite")]
    assert any("was looked into for 64 of its 100 steps" in detail for detail in details)


@pytest.mark.parametrize("variant", LOSSY)
def test_soundness_fails_when_a_signature_is_another(module: tuple[Sample, Path], tmp_path: Path, variant: str) -> None:
    sample, made = module
    if variant == "int16x8":
        pytest.skip("ARG_MAX has no kernel for int16, so there is one signature")
    assert [reasons(sample, made / f"{variant}.tflite", key) for key in sample.source.signatures] == [[], []]
    damaged = harmed(made, variant, tmp_path, "swap_tflite_outputs", "summary")
    assert "is another layer's than the model's" in reasons(sample, damaged, "summary")[0]
    assert reasons(sample, damaged) == []


def test_soundness_passes_when_the_float32_file_is_damaged_instead(net: tuple[Sample, Path], tmp_path: Path) -> None:
    harmed(net[1], "float32", tmp_path, "flip_bits")
    assert reasons(net[0], tmp_path / "tflite" / "int8.tflite") == []
    (tmp_path / "tflite" / "float32.tflite").unlink()
    assert reasons(net[0], tmp_path / "tflite" / "int8.tflite") == []


def test_soundness_says_what_is_wrong_when_it_is(net: tuple[Sample, Path], tmp_path: Path) -> None:
    def said(variant: str, change: str, *arguments: Any) -> str:
        return reasons(net[0], harmed(net[1], variant, tmp_path, change, *arguments))[0]

    assert "has strideH 3, and the model 2" in said("dynamic", "set_option", 0, 0, "strideH", 3)
    assert "in the place of the model's" in said("dynamic", "drop_operator", 0, 1)
    assert "in steps of the file's own grid" in said("dynamic", "flip_bits")


def test_check_fails_the_row_when_its_file_is_not_sound(make_sample: Callable[..., Sample], tmp_path: Path) -> None:
    made = samples.converted(make_sample(NET), "tflite", "int8")
    (row,) = made.check()
    assert {check.status for check in row.checks if check.name == "sound"} == {"passed"}
    copy = made.copy(tmp_path)
    child.run(harms.edit_tflite, copy.path, "flip_bits")
    assert "sound" in samples.turned(copy.check())[KEY]
