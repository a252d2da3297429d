"""Keras files whose classes and Lambda layers need Python that their user gives, and files of another suffix."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import samples
from samples import only_build

from converters.config import read
from converters.config.asked import Asked
from converters.contract.errors import BadInput
from converters.formats.keras_model import load_keras
from converters.processes.child import run
from converters.reference import golden

pytestmark = pytest.mark.tensorflow

MODEL = """
import {keras} as keras

{scale}

def build():
    x = keras.Input((3,), name="x")
    return keras.Model(x, {layer}(x))
"""
SCALE = """
class Scale(keras.layers.Layer):
    def __init__(self, by=2.0, **more):
        super().__init__(**more)
        self.by = by

    def call(self, x):
        return x * self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}
"""
OLD = "4wEAAAAAAAAAAQAAAAIAAABDAAAAcwgAAAB8AGQBFABTACkCTukCAAAAqQApAdoBeHICAAAA\n"
"""The beginning of `lambda x: x * 2` as Python 3.6 marshals it."""


def saved(folder: Path, library: str, suffix: str, layer: str, scale: str = "") -> Path:
    code = MODEL.format(keras=library, layer=layer, scale=scale)
    spec = samples.write_spec(folder, code, name="builder")
    run(samples.save_keras, spec, path := folder / f"given{suffix}")
    return path


def answers(path: Path, folder: Path, **asked: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Outputs by inputs of the model that was loaded."""
    (folder / "built").mkdir()
    only_build(Asked(**asked).of(read.find(str(path))), folder / "built")  # type: ignore[arg-type]
    (case, *_) = golden.load(folder / "built" / "golden.npz").cases["serving_default"]
    (value,), (given,) = case.outputs.values(), case.inputs.values()
    return np.asarray(value / given[:, : value.shape[1]])


@pytest.mark.parametrize(("library", "suffix"), [("tf_keras", ".h5"), ("keras", ".keras"), ("keras", ".h5")])
def test_build_takes_classes_from_custom_and_asks_for_them_without(library: str, suffix: str, tmp_path: Path) -> None:
    path = saved(tmp_path, library, suffix, "Scale(3.0)", SCALE)
    with pytest.raises(
        BadInput, match=r"cannot load it: .*Scale.*; give the Python that defines Scale: --custom FILE\.py"
    ):
        only_build(Asked(trust_code=True).of(read.find(str(path))), tmp_path)
    custom = tmp_path / "own.py"
    custom.write_text(f"import {library} as keras\n{SCALE}")
    np.testing.assert_allclose(answers(path, tmp_path, custom=str(custom)), 3.0, rtol=1e-6)


@pytest.mark.parametrize(("library", "suffix"), [("tf_keras", ".h5"), ("tf_keras", ".keras"), ("keras", ".keras")])
def test_build_calls_a_function_of_custom_in_place_of_a_lambda_layer(library: str, suffix: str, tmp_path: Path) -> None:
    path = saved(tmp_path, library, suffix, 'keras.layers.Lambda(lambda x: x * 2.0, name="twice")')
    with pytest.raises(BadInput, match=r"comes with code that is not run unasked: Lambda \(layer twice\)"):
        only_build(read.find(str(path)), tmp_path)
    custom = tmp_path / "own.py"
    custom.write_text("def twice(x):\n    return x * 5.0\n")  # so that it is seen which of the two runs
    np.testing.assert_allclose(answers(path, tmp_path, custom=str(custom)), 5.0, rtol=1e-6)


def test_build_says_how_to_replace_a_lambda_layer_of_another_python(tmp_path: Path) -> None:
    path = saved(tmp_path, "tf_keras", ".h5", 'keras.layers.Lambda(lambda x: x * 2.0, name="twice")')
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        (layer,) = [each for each in config["config"]["layers"] if each["class_name"] == "Lambda"]
        layer["config"]["function"][0] = OLD
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(
        BadInput, match=r"layer twice holds bytecode of another Python.*def twice\(x\).*--custom FILE\.py"
    ):
        only_build(Asked(trust_code=True).of(read.find(str(path))), tmp_path)
    custom = tmp_path / "own.py"
    custom.write_text("def twice(x):\n    return x * 2.0\n")
    np.testing.assert_allclose(answers(path, tmp_path, custom=str(custom)), 2.0, rtol=1e-6)


@pytest.mark.parametrize(("suffix", "called"), [(".h5", ".keras"), (".h5", ".hdf5"), (".keras", ".h5"), (".h5", "")])
def test_build_loads_a_keras_file_whatever_it_is_called(suffix: str, called: str, tmp_path: Path) -> None:
    path = saved(tmp_path, "tf_keras", suffix, 'keras.layers.Rescaling(3.0, name="y")')
    renamed = path.rename(tmp_path / f"renamed{called}")
    np.testing.assert_allclose(answers(renamed, tmp_path), 3.0, rtol=1e-6)


MASKED = "(lambda x: keras.layers.GRU(2)(keras.layers.Masking(0.0)(keras.layers.Reshape((3, 1))(x))))"


@pytest.mark.parametrize(
    "layer", ["(lambda x: keras.layers.Multiply()([x, x * 3.0]))", MASKED], ids=["times", "masked"]
)
def test_build_loads_hdf5_of_keras_3_when_it_calls_operations(layer: str, tmp_path: Path) -> None:
    path = saved(tmp_path, "keras", ".h5", layer)
    with pytest.raises(BadInput, match="cannot load it"):
        run(load_keras, path)
    ratios = answers(path, tmp_path)
    if layer != MASKED:
        (case, *_) = golden.load(tmp_path / "built" / "golden.npz").cases["serving_default"]
        np.testing.assert_allclose(ratios, 3 * case.inputs["x"], rtol=1e-5)
