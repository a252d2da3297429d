"""TF Lite files in LiteRT and in TensorFlow's own interpreter."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import damage
import pytest
import samples
from samples import Converted, Sample

from converters.isolate import run
from converters.tflite import TOLERANCES

Make = Callable[..., Sample]
EVERY = {"serving_default", "summary"}


@pytest.fixture(scope="module")
def sound(module_sample: Sample) -> Converted:
    """float32 of a tf.Module with two signatures."""
    return samples.converted(module_sample, "tflite", "float32")


@pytest.fixture
def copy(sound: Converted, tmp_path: Path) -> Converted:
    """A copy of it, to be damaged."""
    return sound.copy(tmp_path)


@pytest.mark.parametrize("variant", list(TOLERANCES))
def test_check_passes_every_row_when_the_variant_is_sound(keras_sample: Sample, variant: str) -> None:
    made = samples.converted(keras_sample, "tflite", variant)
    (row,) = made.check()
    assert (row.status, row.reason) == ("passed", None)
    assert row.path == f"tflite/{variant}.tflite"
    values = [check for check in row.checks if check.name == "values"]
    assert [(check.runtime, check.limit) for check in values] == [("litert 2.3.0", TOLERANCES[variant].error)]
    assert made.path.read_bytes()[4:8] == b"TFL3"


def test_convert_quantizes_when_the_variant_is_int8(make_sample: Make) -> None:
    sample = make_sample(samples.KERAS.replace("Dense(8", "Dense(256").replace("Dense(3", "Dense(64"))
    sizes = {v: samples.converted(sample, "tflite", v).path.stat().st_size for v in TOLERANCES}
    assert sizes["float16"] < 0.7 * sizes["float32"]
    assert sizes["dynamic"] < 0.5 * sizes["float32"]
    assert sizes["int8"] < 0.5 * sizes["float32"]


def test_check_passes_every_signature_when_there_are_several(sound: Converted) -> None:
    rows = sound.check()
    assert {row.signature for row in rows} == EVERY
    assert samples.turned(rows) == {}
    assert all(check.runtime for row in rows for check in row.checks)


def test_check_fails_values_when_a_weight_byte_is_flipped(copy: Converted) -> None:
    damage.flip(copy.path, samples.OFFSET.tobytes())
    assert samples.turned(copy.check()) == {"serving_default": {"values", "batch"}}


@pytest.mark.parametrize(
    ("change", "args", "failed"),
    [
        ("rename_tflite_signature", ("summary", "digest"), {"summary": {"names"}}),
        ("rename_tflite_input", ("summary", "sound"), {"summary": {"names"}}),
        ("swap_tflite_outputs", ("serving_default",), {"serving_default": {"values", "batch"}}),
        ("set_tflite_dtype", ("summary", 2), {"summary": {"dtypes"}}),
        ("fix_tflite_batch", ("summary", 1), {"summary": {"shapes"}}),
    ],
)
def test_check_fails_one_check_when_the_flatbuffer_is_edited(
    copy: Converted, change: str, args: tuple[Any, ...], failed: dict[str, set[str]]
) -> None:
    run(damage.edit_tflite, copy.path, change, *args)
    rows = copy.check()
    assert samples.turned(rows) == failed
    assert {row.signature for row in rows if row.status == "passed"} == EVERY - failed.keys()


def test_check_fails_when_the_file_is_truncated(copy: Converted) -> None:
    damage.truncate(copy.path)
    failed = samples.turned(copy.check())
    assert failed.keys() == EVERY
    assert set.union(*failed.values()) <= {"loads", "runs"}


@pytest.mark.parametrize(
    "harm", [os.remove, lambda path: path.write_bytes(b"x" * 100), lambda path: path.write_bytes(b"")],
    ids=["missing", "foreign", "empty"],
)  # fmt: skip
def test_check_fails_loads_when_the_file_is_none(copy: Converted, harm: Callable[[Path], Any]) -> None:
    harm(copy.path)
    assert samples.turned(copy.check()) == {key: {"loads"} for key in EVERY}


SELECT = """
import tensorflow as tf

INPUT = [tf.TensorSpec([None, 4, 4], tf.float32, name="x")]

class Spectrum(tf.Module):
    @tf.function(input_signature=INPUT)
    def __call__(self, x):
        return {"inverse": tf.linalg.inv(x + 9.0 * tf.eye(4))}

    @tf.function(input_signature=INPUT)
    def plain(self, x):
        return {"twice": 2.0 * x}

def build():
    return Spectrum()
"""


def test_check_passes_in_tensorflows_interpreter_when_select_ops_are_needed(make_sample: Make) -> None:
    sample = make_sample(SELECT, targets={"tflite": {"variants": ["float32"]}})
    rows = samples.converted(sample, "tflite", "float32").check()
    assert {row.signature for row in rows} == {"serving_default", "plain"}
    for row in rows:
        assert (row.status, row.reason) == ("passed", None)
        assert "tensorflow lite 2.19.0 with select ops" in row.runtimes()


def test_convert_leaves_out_one_signature_when_it_needs_select_ops_and_they_are_forbidden(make_sample: Make) -> None:
    sample = make_sample(SELECT, targets={"tflite": {"variants": ["float32"], "select_ops": "never"}})
    rows = {row.signature: row for row in samples.converted(sample, "tflite", "float32").check()}
    assert rows["plain"].status == "passed"
    assert rows["serving_default"].status == "unsupported"
    assert "MatrixInverse" in str(rows["serving_default"].reason)
    assert rows["serving_default"].path is None


def test_convert_is_unsupported_when_no_signature_can_be_converted(make_sample: Make) -> None:
    code = (
        SELECT.partition("    @tf.function(input_signature=INPUT)\n    def plain")[0]
        + "\ndef build():\n    return Spectrum()\n"
    )
    sample = make_sample(code, targets={"tflite": {"select_ops": "never"}})
    made = samples.converted(sample, "tflite", "float32")
    (row,) = made.check()
    assert made.conversion.error is None
    assert (row.status, row.path, row.checks) == ("unsupported", None, [])
    assert "MatrixInverse" in str(row.reason)


STRINGS = """
import tensorflow as tf

class Words(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def __call__(self, word):
        return {"lower": tf.strings.lower(word), "length": tf.strings.length(word)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def first(self, word):
        return {"first": tf.gather(word, [0, 0])}

def build():
    return Words()
"""


def test_check_passes_when_inputs_and_outputs_are_strings(make_sample: Make) -> None:
    sample = make_sample(STRINGS, golden={"inputs": {"word": {"values": ["Ab", "CDE", "f\0", ""]}}})
    assert samples.turned(samples.converted(sample, "tflite", "float32").check()) == {}
    builtin = make_sample(STRINGS, golden=sample.spec.golden.model_dump(), signatures={"first": "first"})
    (row,) = samples.converted(builtin, "tflite", "float32").check()
    assert (row.status, row.reason, row.runtimes()) == ("passed", None, ["litert 2.3.0"])


def test_check_uses_the_configs_tolerance_when_it_is_given(make_sample: Make) -> None:
    tight = {"variants": ["int8"], "tolerance": {"int8": {"error": 1e-6}}}
    (row,) = samples.converted(make_sample(samples.KERAS, targets={"tflite": tight}), "tflite", "int8").check()
    assert samples.turned([row]) == {"serving_default": {"values", "batch"}}
    assert {check.limit for check in row.checks if check.name == "values"} == {1e-6}


def test_convert_calibrates_on_representative_data_when_it_is_given(make_sample: Make) -> None:
    code = samples.KERAS + "\nimport numpy as np\ndef data(): return {'features': np.full((8, 6), 1e-3)}\n"
    fields = {"targets": {"tflite": {"variants": ["int8"]}}}
    good, narrow = (make_sample(code, **fields, **more) for more in ({}, {"representative": "tiny.py:data"}))
    assert samples.turned(samples.converted(good, "tflite", "int8").check()) == {}
    assert "values" in samples.turned(samples.converted(narrow, "tflite", "int8").check())["serving_default"]
