"""TF Lite files of fixed size in LiteRT.js, in a real Chromium: compared like any, and what it cannot run is no fault of theirs."""

from collections.abc import Callable
from pathlib import Path

import damage
import numpy as np
import pytest
import samples
from samples import Converted, Sample

from converters.contract.values import CheckResult, Signature, TensorSpec
from converters.javascript import programs
from converters.release.manifest import Row
from converters.targets.tflite import litert_js
from converters.targets.tflite.options import VARIANTS

pytestmark = [
    pytest.mark.usefixtures("kept_children"),
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # from TensorFlow's import
]

Make = Callable[..., Sample]

FIXED = """
import numpy as np
import tensorflow as tf

class Fixed(tf.Module):
    def __init__(self):
        make = np.random.default_rng(4)
        self.kernel = tf.Variable(make.normal(size=(3, 3, 1, 8)).astype(np.float32))
        self.weight = tf.Variable(make.normal(size=(128, 10)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 1], tf.float32, name="image")])
    def __call__(self, image):
        made = tf.nn.relu(tf.nn.conv2d(image, self.kernel, 2, "SAME"))
        return {"scores": tf.reshape(made, [1, 128]) @ self.weight}

def build():
    return Fixed()
"""
INTEGERS = """
import tensorflow as tf

class Integers(tf.Module):
    @tf.function(input_signature=[
        tf.TensorSpec([2, 3], tf.int64, name="amount"), tf.TensorSpec([2, 3], tf.bool, name="chosen")])
    def __call__(self, amount, chosen):
        return {"sum": tf.reduce_sum(tf.where(chosen, amount, tf.zeros_like(amount)), 1), "any": tf.reduce_any(chosen, 1)}

    @tf.function(input_signature=[tf.TensorSpec([4], tf.int32, name="number")])
    def double(self, number):
        return {"double": number * 2}

def build():
    return Integers()
"""
GATHERED = """
import tensorflow as tf

class Gathered(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([9], tf.float32, name="value")])
    def __call__(self, value):
        return {"positive": tf.boolean_mask(value, value > 0)}

def build():
    return Gathered()
"""
LACKING = """
import tensorflow as tf

class Spectrum(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([2, 8], tf.float32, name="wave")])
    def __call__(self, wave):
        return {"spectrum": tf.signal.rfft(wave)}

def build():
    return Spectrum()
"""
"""Whose outputs are complex numbers."""


@pytest.fixture(scope="module")
def fixed(make_sample: Make) -> Converted:
    return samples.converted(make_sample(FIXED, name="fixed"), "tflite", "float32")


def browsers(row: Row) -> list[CheckResult]:
    """The findings of LiteRT.js."""
    return [check for check in row.checks if "litert.js" in check.runtime or check.name == litert_js.NAME]


@pytest.mark.parametrize("variant", [variant.name for variant in VARIANTS if variant.name != "recipe"])
def test_check_passes_in_chromium_when_sizes_are_fixed(fixed: Converted, variant: str) -> None:
    (row,) = samples.converted(fixed.sample, "tflite", variant).check()
    assert row.status == "passed", samples.not_passed([row])
    found = browsers(row)
    assert {"outputs", "finite", "values"} <= {check.name for check in found}
    assert {check.status for check in found} == {"passed"}
    (runtime,) = {check.runtime for check in found}
    assert runtime.startswith("chromium 1")
    assert f"litert.js {programs.litert_js_version()} wasm" in runtime


def test_check_fails_in_chromium_when_a_weight_is_wrong(fixed: Converted, tmp_path: Path) -> None:
    copy = fixed.copy(tmp_path)
    generator = np.random.default_rng(4)
    generator.normal(size=(3, 3, 1, 8))
    damage.flip(copy.path, generator.normal(size=(128, 10)).astype(np.float32).T.tobytes())
    (row,) = copy.check()
    assert row.status == "failed"
    assert {check.status for check in browsers(row) if check.name == "values"} == {"failed"}


def test_check_asks_chromium_for_nothing_when_a_size_is_dynamic(keras_sample: Sample) -> None:
    (row,) = samples.converted(keras_sample, "tflite", "float32").check()
    assert row.status == "passed"
    assert browsers(row) == []


def test_check_says_how_integers_were_given_when_the_library_has_no_tensor_for_them(make_sample: Make) -> None:
    rows = samples.converted(make_sample(INTEGERS, name="integers"), "tflite", "float32").check()
    for row in rows:
        assert row.status == "passed", samples.not_passed([row])
        told, *compared = browsers(row)
        assert "its Tensor has float32, int32 and uint8 alone" in told.detail
        assert {"values"} <= {check.name for check in compared}


def test_check_asks_chromium_for_nothing_when_the_size_of_an_output_depends_on_values(make_sample: Make) -> None:
    (row,) = samples.converted(make_sample(GATHERED, name="gathered"), "tflite", "float32").check()
    assert row.status == "passed", samples.not_passed([row])
    assert browsers(row) == []


def test_check_passes_and_says_why_when_the_library_lacks_what_a_file_needs(make_sample: Make) -> None:
    (row,) = samples.converted(make_sample(LACKING, name="lacking"), "tflite", "float32").check()
    assert row.status == "passed", samples.not_passed([row])
    (found,) = browsers(row)
    assert (found.name, found.status, found.required) == ("runs", "not_run", False)
    assert "element type 8" in found.detail


def test_check_passes_and_says_what_to_do_when_there_is_no_chromium(
    fixed: Converted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FANOUT_CHROMIUM", "/nowhere/chrome")
    (row,) = fixed.check()
    assert row.status == "passed"
    (found,) = browsers(row)
    assert (found.name, found.status) == (litert_js.NAME, "not_run")
    assert "FANOUT_CHROMIUM is /nowhere/chrome" in found.detail


@pytest.mark.parametrize(("shape", "takes"), [((1, 3), True), ((), True), ((None, 3), False), (None, False)])
def test_takes_files_of_which_every_size_is_fixed(shape: tuple[int | None, ...] | None, takes: bool) -> None:
    whole = TensorSpec(shape=(2,), dtype="float32")
    open_ended = TensorSpec(shape=shape, dtype="float32")
    assert litert_js.takes({"a": Signature(inputs={"x": open_ended}, outputs={"y": whole})}) is takes
    assert litert_js.takes({"a": Signature(inputs={"x": whole}, outputs={"y": open_ended})}) is takes
