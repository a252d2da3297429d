"""TF Lite files in LiteRT and in TensorFlow's own interpreter."""

import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import damage
import pytest
import samples
import zoo_sources
from samples import Converted, Sample

from converters.config.read import without_config
from converters.contract.errors import BadInput
from converters.formats import saved_model as meta_graph
from converters.processes.child import run
from converters.reference.bounds import NONSENSE
from converters.steps.unit import plan
from converters.targets.tflite import describe, described, flatbuffer, quantizing, size
from converters.targets.tflite.options import RECIPE, VARIANTS
from converters.targets.tflite.target import TARGET
from tests.targets.tflite import harms as tflite_harms

pytestmark = [
    pytest.mark.usefixtures("kept_children"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # from TensorFlow's import
]

Make = Callable[..., Sample]
EVERY = {"serving_default", "summary"}
NAMED = [variant.name for variant in VARIANTS if variant.name != RECIPE]


@pytest.fixture(scope="module")
def sound(module_sample: Sample) -> Converted:
    """float32 of a tf.Module with two signatures."""
    return samples.converted(module_sample, "tflite", "float32")


@pytest.fixture
def copy(sound: Converted, tmp_path: Path) -> Converted:
    """A copy of it, to be damaged."""
    return sound.copy(tmp_path)


@pytest.mark.parametrize("variant", NAMED)
def test_check_passes_every_row_when_the_variant_is_sound(keras_sample: Sample, variant: str) -> None:
    made = samples.converted(keras_sample, "tflite", variant)
    (row,) = made.check()
    assert (row.status, row.reason) == ("passed", None)
    assert row.path == f"tflite/{variant}.tflite"
    values = [check for check in row.checks if check.name == "values"]
    limit = NONSENSE if TARGET.variant(variant).quality else TARGET.variant(variant).tolerance.error
    assert [(check.runtime, check.limit) for check in values] == [("litert 2.3.0", limit)]
    assert made.path.read_bytes()[4:8] == b"TFL3"


def test_quantizer_makes_files_whose_weights_lie_behind_the_flatbuffer(make_sample: Make) -> None:
    large = samples.KERAS.replace("Dense(8", "Dense(1024").replace("Dense(3", "Dense(1024")
    sample = make_sample(large)
    for variant in NAMED:
        if variant != "float32":
            made = samples.converted(sample, "tflite", variant)
            model = flatbuffer.parse(made.path.read_bytes())
            assert quantizing.MADE_BY in flatbuffer.metadata(model), variant
            assert all(buffer.offset == 0 for buffer in model.buffers)
    (row,) = samples.converted(sample, "tflite", "int4").check()
    assert (row.status, row.reason) == ("passed", None)


def test_lacks_counts_weights_and_no_biases(make_sample: Make) -> None:
    wide = samples.KERAS.replace("Dense(8", "Dense(2048")
    made = samples.converted(make_sample(wide), "tflite", "dynamic")
    assert quantizing.lacks(made.path.read_bytes(), "dynamic") == 0
    made = samples.converted(make_sample(wide), "tflite", "float32")
    assert quantizing.lacks(made.path.read_bytes(), "dynamic") >= 4 * 2048 * 3


def test_convert_quantizes_when_the_variant_is_int8(make_sample: Make) -> None:
    sample = make_sample(samples.KERAS.replace("Dense(8", "Dense(256").replace("Dense(3", "Dense(64"))
    sizes = {v: samples.converted(sample, "tflite", v).path.stat().st_size for v in NAMED}
    assert sizes["float16"] < 0.7 * sizes["float32"]
    assert sizes["dynamic"] < 0.5 * sizes["float32"]
    assert sizes["int8"] < 0.5 * sizes["float32"]
    assert sizes["int8-io"] < sizes["int8"]
    assert max(sizes["weight-only-int8"], sizes["int16x8"]) < 0.5 * sizes["float32"]
    assert sizes["int4"] < 0.3 * sizes["float32"]


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
    run(tflite_harms.edit_tflite, copy.path, change, *args)
    rows = copy.check()
    assert samples.turned(rows) == failed
    assert {row.signature for row in rows if row.status == "passed"} == EVERY - failed.keys()


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
        assert row.status == "passed", row
        assert "tensorflow lite 2.19.0 with select ops" in row.runtimes()
    reasons = {row.signature: row.reason for row in rows}
    assert reasons["serving_default"] == "uses select TF ops (MatrixInverse): the app needs the Flex delegate"
    assert reasons["plain"] == "shares its file with select TF ops (MatrixInverse): the app needs the Flex delegate"


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
    code += "def golden(): return {'features': np.random.default_rng(1).normal(size=(64, 6))}\n"
    fields = {"targets": {"tflite": {"variants": ["int8"]}}, "golden": {"data": "tiny.py:golden", "samples": 64}}
    good, narrow = (make_sample(code, **fields, **more) for more in ({}, {"representative": "tiny.py:data"}))
    assert samples.turned(samples.converted(good, "tflite", "int8").check()) == {}
    assert samples.turned(samples.converted(narrow, "tflite", "int8").check())["serving_default"] >= {"snr", "sound"}


def test_convert_names_op_and_node_when_select_ops_are_forbidden(make_sample: Make) -> None:
    code = SELECT.replace('return {"inverse"', 'with tf.name_scope("spectral"):\n            return {"inverse"')
    sample = make_sample(code, targets={"tflite": {"variants": ["float32"], "select_ops": "never"}})
    reasons = {row.signature: str(row.reason) for row in samples.converted(sample, "tflite", "float32").check()}
    assert "MatrixInverse (node spectral/MatrixInverse)" in reasons["serving_default"]
    assert "select_ops: auto" in reasons["serving_default"]


TABLES = """
import tensorflow as tf

class Tables(tf.Module):
    def __init__(self):
        super().__init__()
        pairs = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([5, 7], tf.int64))
        self.table = tf.lookup.StaticHashTable(pairs, -1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def __call__(self, word):
        return {"id": self.table.lookup(word)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def shout(self, word):
        return {"loud": tf.strings.upper(word)}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def plain(self, x):
        return {"twice": tf.matmul(x, tf.ones([3, 2]) * 0.3)}

def build():
    return Tables()
"""


def test_convert_leaves_out_only_the_signature_whose_op_has_no_kernel(make_sample: Make) -> None:
    fields = {"golden": {"inputs": {"word": {"values": ["a", "b", "c"]}}}, "targets": {"tflite": {}}}
    sample = make_sample(TABLES, name="tables", **fields)
    rows = {row.signature: row for row in samples.converted(sample, "tflite", "float32").check()}
    assert not samples.not_passed(list(rows.values()))
    assert {key: row.status for key, row in rows.items()} == {
        "serving_default": "passed",
        "shout": "unsupported",
        "plain": "passed",
    }
    assert "no kernel for StringUpper" in str(rows["shout"].reason)
    assert rows["serving_default"].runtimes() == ["litert 2.3.0"]


def test_convert_freezes_when_lookup_tables_belong_to_other_signatures(make_sample: Make) -> None:
    sample = make_sample(TABLES, name="tables", signatures={"plain": "plain"}, targets={"tflite": {}})
    (row,) = samples.converted(sample, "tflite", "float32").check()
    assert (row.status, row.runtimes()) == ("passed", ["litert 2.3.0"])
    assert row.reason is None or "lookup tables belong to other signatures" in row.reason


def save_pinned(path: Path, device: str, resource: bool, assign: bool = False) -> None:
    """A TF 1 SavedModel whose variable and computation are on the device."""
    import numpy as np
    import tensorflow.compat.v1 as tf

    value = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    config = tf.ConfigProto(allow_soft_placement=True)
    with tf.Graph().as_default(), tf.Session(config=config) as session:
        with tf.device(device):
            x = tf.placeholder(tf.float32, [None, 4], name="x")
            scale = tf.placeholder(tf.float32, [None, 1], name="scale")
            weight = tf.get_variable("weight", initializer=value, use_resource=resource)
            product = tf.matmul(x, weight)
        if assign:
            with tf.control_dependencies([tf.assign_add(weight, weight * 0.0)]):
                product = tf.identity(product)
        session.run(tf.global_variables_initializer())
        signature = tf.saved_model.predict_signature_def
        builder = tf.saved_model.Builder(str(path))
        definitions = {
            "serving_default": signature({"x-in": x}, {"y": tf.tanh(product)}),
            "scaled": signature({"x": x, "scale": scale}, {"y": tf.matmul(x, weight) * scale}),
        }
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=definitions)
        builder.save()


@pytest.mark.parametrize("variant", ["float32", "int8"])
@pytest.mark.parametrize("resource", [True, False])
def test_check_passes_when_a_graph_is_pinned_to_a_gpu(tmp_path: Path, resource: bool, variant: str) -> None:
    save_pinned(tmp_path / "pinned", "/gpu:0", resource)
    sample = samples.build(without_config(tmp_path / "pinned"), tmp_path)
    rows = samples.converted(sample, "tflite", variant).check()
    assert samples.turned(rows) == {}
    assert [row.signature for row in rows] == ["scaled", "serving_default"]
    assert all("its placement on /device:GPU:0 was cleared" in str(row.reason) for row in rows)


def test_convert_leaves_out_the_signature_that_writes_a_reference_variable(tmp_path: Path) -> None:
    save_pinned(tmp_path / "writing", "", False, True)
    sample = samples.build(without_config(tmp_path / "writing"), tmp_path)
    rows = {row.signature: row for row in samples.converted(sample, "tflite", "float32").check()}
    assert rows["scaled"].status == "passed"
    assert rows["serving_default"].status == "unsupported"
    assert "VariableV2 at node weight" in str(rows["serving_default"].reason)


KINDS = """
import numpy as np
import tensorflow as tf

INPUT = [tf.TensorSpec([None, 16], tf.float32, name="x")]
WEIGHT = np.random.default_rng(5).normal(size=(16, 16), scale=0.3).astype(np.float32)

class Kinds(tf.Module):
    @tf.function(input_signature=INPUT)
    def __call__(self, x):
        return {"y": tf.tanh(x @ WEIGHT)}

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.int32, name="n")])
    def counts(self, n):
        return {"m": 2 * n + 1}

    @tf.function(input_signature=INPUT)
    def select(self, x):
        return {"d": tf.linalg.det(tf.reshape(x, [-1, 4, 4]))}

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.complex64, name="c")])
    def spectrum(self, c):
        return {"a": tf.abs(tf.signal.fft(c))}

def build():
    return Kinds()
"""


def test_convert_calls_nothing_int8_that_is_not(make_sample: Make) -> None:
    rows = {}
    for method in ("__call__", "counts", "spectrum"):
        sample = make_sample(KINDS, name="kinds", signatures={method: method}, targets={"tflite": {}})
        rows |= {row.signature: row for row in samples.converted(sample, "tflite", "int8").check()}
    assert rows["__call__"].status == "passed"
    assert rows["counts"].status == "unsupported"
    assert "nothing to quantize" in str(rows["counts"].reason)
    assert rows["spectrum"].status == "unsupported"
    assert "int8 kernel" in str(rows["spectrum"].reason)


def test_check_fails_loads_when_a_file_called_int8_is_float(keras_sample: Sample, tmp_path: Path) -> None:
    made = samples.converted(keras_sample, "tflite", "int8").copy(tmp_path)
    made.path.write_bytes(samples.converted(keras_sample, "tflite", "float32").path.read_bytes())
    rows = made.check()
    assert samples.turned(rows) == {"serving_default": {"loads"}}
    assert "not quantized" in str(rows[0].reason)


def too_large(saved_model: Path, keys: list[str], limit: int) -> dict[str, str | None]:
    """Variant -> why it exceeds the limit."""
    graph = meta_graph.read(saved_model)
    variants = ["float32", "float16", "dynamic", "int8"]
    return {variant: size.too_large(graph, keys, variant, limit) for variant in variants}


def test_too_large_counts_the_variables_that_a_signature_uses(module_sample: Sample) -> None:
    saved_model = module_sample.source.saved_model
    used = 4 * (4 * 5 + 5)
    assert set(too_large(saved_model, ["serving_default"], used).values()) == {None}
    found = too_large(saved_model, ["serving_default"], used - 1)
    assert {variant for variant, why in found.items() if why} == {"float32", "int8"}
    assert str(found["float32"]).endswith("use float16 or dynamic")
    assert too_large(saved_model, ["summary"], 4 * 4 * 5)["float32"] is None


SIZES = """
import tf_keras

def build():
    tf_keras.utils.set_random_seed(4)
    signal = tf_keras.Input((None, 6), name="signal")
    hidden = tf_keras.layers.Conv1D(12, 3, padding="same", activation="relu")(signal)
    total = tf_keras.layers.Lambda(lambda value: __import__("tensorflow").reduce_sum(value, axis=1))(hidden)
    return tf_keras.Model(signal, tf_keras.layers.Dense(2, name="y")(total))
"""
"""What it sums grows with the length of the signal; averages of a shorter one are farther apart."""


@pytest.mark.parametrize("over", ["sum", "mean"])
def test_int8_is_calibrated_on_every_size_that_golden_has(make_sample: Make, over: str) -> None:
    sample = make_sample(SIZES.replace("reduce_sum", f"reduce_{over}"), targets={"tflite": {"variants": ["int8"]}})
    (row,) = samples.converted(sample, "tflite", "int8").check()
    assert (row.status, row.reason) == ("passed", None)
    lengths = {case.inputs["signal"].shape[1] for case in sample.golden.cases["serving_default"]}
    assert len(lengths) == 3
    (other,) = [check for check in row.checks if check.name == "batch"]
    assert (other.measured or 0) < 0.3  # ranges of 8 steps would cut off three quarters of a sum over 37
    (beyond,) = [check for check in row.checks if check.name == "sound" and "lie beyond it" in check.detail]
    assert (beyond.measured or 0) <= 0.25


TABULAR = """
import numpy as np
import LIBRARY as keras

def build():
    keras.utils.set_random_seed(4)
    layers = keras.layers
    age, job = layers.Input((1,), name="age"), layers.Input((1,), dtype="string", name="job")
    zone, plan = layers.Input((1,), dtype="string", name="zone"), layers.Input((1,), dtype="int64", name="plan")
    parts = [
        layers.Normalization(mean=40.0, variance=100.0)(age),
        layers.StringLookup(vocabulary=["a", "b", "c"], output_mode="one_hot")(job),
        layers.Hashing(8, output_mode="one_hot")(zone),
        layers.IntegerLookup(vocabulary=[1, 2, 7], output_mode="multi_hot")(plan),
        layers.Discretization(bin_boundaries=[20.0, 40.0, 60.0], output_mode="one_hot")(age),
    ]
    given = [layers.Activation("linear", name=f"part_{i}")(part) for i, part in enumerate(parts)]
    return keras.Model([age, job, zone, plan], layers.Dense(2, name="y")(layers.concatenate(WHICH)))
"""


@pytest.mark.parametrize(("library", "which"), [("keras", "given[2:3] + given[4:]"), ("tf_keras", "given")])
def test_int8_of_one_hot_features_is_right(make_sample: Make, library: str, which: str) -> None:
    code = TABULAR.replace("WHICH", which).replace("LIBRARY", library)
    sample = make_sample(code, targets={"tflite": {"variants": ["int8"]}})
    (row,) = samples.converted(sample, "tflite", "int8").check()
    assert row.status == "passed", row.reason
    assert (row.figure("snr_db") or 0) > 30  # -5 dB where the two values of a one-hot vector are on a grid of their own


def test_int8_is_unsupported_when_a_model_looks_words_up_and_calculates_nothing(make_sample: Make) -> None:
    code = """
import tensorflow as tf

class Words(tf.Module):
    def __init__(self):
        super().__init__()
        pairs = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64))
        self.table = tf.lookup.StaticHashTable(pairs, 0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def __call__(self, word):
        return {"number": self.table.lookup(word)}

def build():
    return Words()
"""
    (row,) = samples.converted(make_sample(code, targets={"tflite": {}}), "tflite", "int8").check()
    assert row.status == "unsupported", row.reason
    assert "there is nothing to quantize" in str(row.reason)


def test_convert_uses_built_in_ops_when_windows_are_larger_than_the_least_input(make_sample: Make) -> None:
    code = """
import tf_keras
l = tf_keras.layers

def build():
    tf_keras.utils.set_random_seed(4)
    image = l.Input((None, None, 3), name="image")
    hidden = l.DepthwiseConv2D(5, strides=2)(l.Conv2D(8, 3, strides=2, activation="relu")(image))
    return tf_keras.Model(image, l.Dense(2, name="y")(l.GlobalAveragePooling2D()(hidden)))
"""
    sample = make_sample(code, targets={"tflite": {"variants": ["float32"]}})
    assert all(case.inputs["image"].shape[1] >= 11 for case in sample.golden.cases["serving_default"])
    (row,) = samples.converted(sample, "tflite", "float32").check()
    assert (row.status, row.reason) == ("passed", None)


def test_check_passes_when_a_loop_collects_what_it_decodes(make_sample: Make) -> None:
    code = """
import tensorflow as tf

class Decoder(tf.Module):
    def __init__(self):
        super().__init__()
        self.next = tf.Variable(tf.random.stateless_normal([12, 12], seed=(1, 2)), name="next")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="start")])
    def __call__(self, start):
        found, token = tf.TensorArray(tf.int32, 8), start
        for step in tf.range(8):
            token = tf.argmax(tf.gather(self.next, token), -1, output_type=tf.int32)
            found = found.write(step, token)
        return {"tokens": tf.transpose(found.stack())}

def build():
    return Decoder()
"""
    sample = make_sample(code, golden={"inputs": {"start": {"low": 0, "high": 12}}}, targets={"tflite": {}})
    (row,) = samples.converted(sample, "tflite", "float32").check()
    assert row.status == "passed", row.reason


LOOPS = """
import tf_keras

def build():
    tf_keras.utils.set_random_seed(4)
    layers = tf_keras.layers
    series = layers.Input(batch_shape=(1, 8, 5), name="series")
    return tf_keras.Model(series, layers.Dense(3, name="y")(LAYERS))
"""


@pytest.mark.parametrize(
    ("layers", "float_ops"),
    [
        ("layers.LSTM(6)(layers.GRU(6, return_sequences=True)(series))", "WHILE"),
        ("layers.GRU(6)(layers.LSTM(6, return_sequences=True)(series))", "WHILE"),
        (
            "layers.GRU(6)(layers.Bidirectional(layers.LSTM(6, return_sequences=True))(layers.Masking(-10.0)(series)))",
            "CAST, WHILE, RESHAPE",
        ),
    ],
    ids=["GRU, LSTM", "LSTM, GRU", "masked"],
)
@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_check_passes_when_the_model_loops_over_a_fixed_batch(
    make_sample: Make, layers: str, float_ops: str, variant: str
) -> None:
    # As TensorFlow writes them, two compute something else, its calibrator ends the process with all of them, and its
    # quantizer changes the grid of what is reversed: see converters/targets/tflite/repairs.py.
    sample = make_sample(LOOPS.replace("LAYERS", layers))
    (row,) = samples.converted(sample, "tflite", variant).check()
    assert samples.not_passed([row]) == []
    kept = "UNIDIRECTIONAL_SEQUENCE_LSTM keeps its state from call to call: call the interpreter's reset_all_variables after each"
    reasons = [f"{float_ops} stays in float32, having no int8 kernel"] if variant == "int8" else []
    reasons += [kept] if "Masking" not in layers else []
    assert row.reason == ("; ".join(reasons) or None)


SIXTEEN = {"tflite": {"variants": ["float32", "int8-io"], "shapes": [{"batch": 1}, {"batch": 5}]}}


def test_a_file_of_fixed_sizes_is_made_and_checked_beside_the_one_of_any(make_sample: Make) -> None:
    sample = make_sample(samples.KERAS, targets=SIXTEEN)
    units = [unit.variant for unit in plan(sample.source, sample.spec) if unit.target == "tflite"]
    assert units == ["float32", "int8-io", "float32-batch1", "int8-io-batch1", "float32-batch5", "int8-io-batch5"]
    for variant, batch in (("float32-batch1", 1), ("int8-io-batch5", 5)):
        (row,) = samples.converted(sample, "tflite", variant).check()
        assert (row.status, row.path, row.shapes) == ("passed", f"tflite/{variant}.tflite", {"features": (batch, 6)})
        values = [check for check in row.checks if check.name == "values"]
        assert any("litert.js" in check.runtime for check in values)
        fewest = sample.golden.cases["serving_default"][0].batch
        assert all(int(check.detail.partition(" samples")[0].split()[-1]) >= fewest for check in values)


def test_check_fails_shapes_when_a_fixed_size_is_another(make_sample: Make, tmp_path: Path) -> None:
    made = samples.converted(make_sample(samples.KERAS, targets=SIXTEEN), "tflite", "float32-batch5").copy(tmp_path)
    run(tflite_harms.edit_tflite, made.path, "fix_tflite_batch", "serving_default", 4)
    assert samples.turned(made.check()) == {"serving_default": {"shapes"}}


BATCHED = """
import tensorflow as tf

class Centred(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x):
        return {"centred": x - tf.reduce_mean(x, 0)}

def build():
    return Centred()
"""


def test_a_file_of_fixed_sizes_is_made_of_a_model_with_tf1_variables(tmp_path: Path) -> None:
    run(zoo_sources.dense, tmp_path / "dense")
    told = {"tflite": {"variants": ["float32", "int8"], "shapes": {"batch": 1}}}
    spec = samples.write_spec(tmp_path, "", name="one", model="dense", targets=told)
    sample = samples.build(spec, tmp_path)
    for variant in ("float32-batch1", "int8-batch1"):
        (row,) = samples.converted(sample, "tflite", variant).check()
        assert (row.status, row.shapes) == ("passed", {"x": (1, 4)}), row.reason


def test_a_batch_is_not_cut_when_the_model_mixes_its_samples(make_sample: Make) -> None:
    """So golden has calls of a batch of 5, and the file is compared with these alone."""
    sample = make_sample(BATCHED, targets={"tflite": {"variants": ["float32"], "shapes": {"batch": 5}}})
    assert sample.golden.apart == {"serving_default": False}
    (row,) = samples.converted(sample, "tflite", "float32-batch5").check()
    assert row.status == "passed"
    (values,) = [check for check in row.checks if check.name == "values" and check.runtime.startswith("litert 2")]
    assert values.detail.endswith("20 samples")


def test_check_fails_when_nobody_gave_a_call_of_a_fixed_size(make_sample: Make) -> None:
    """Data of one's own are not added to."""
    told = {"tflite": {"variants": ["float32"], "shapes": {"batch": 5}}}
    code = BATCHED + "\ndef golden():\n    return {'x': tf.random.stateless_normal([8, 4], (1, 2)).numpy()}\n"
    sample = make_sample(code, targets=told, golden={"data": "tiny.py:golden"})
    (row,) = samples.converted(sample, "tflite", "float32-batch5").check()
    assert row.status == "failed"
    assert "golden has no call of the sizes x [5, 4]; give samples of them" in str(row.reason)


LENGTHS = """
import tensorflow as tf

class Mean(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.float32, name="x")])
    def __call__(self, x):
        return {"mean": tf.reduce_mean(tf.tanh(x), 1)}

    @tf.function(input_signature=[tf.TensorSpec([2, 3], tf.float32, name="y")])
    def fixed(self, y):
        return {"twice": 2.0 * y}

def build():
    return Mean()
"""


def test_whole_shapes_fix_what_a_batch_leaves_open(make_sample: Make) -> None:
    told = {"tflite": {"variants": ["float32"], "shapes": {"x": [2, 7, 3]}}}
    sample = make_sample(LENGTHS, targets=told)
    rows = {row.signature: row for row in samples.converted(sample, "tflite", "float32-2x7x3").check()}
    assert (rows["serving_default"].status, rows["serving_default"].shapes) == ("passed", {"x": (2, 7, 3)})
    assert rows["fixed"].status == "unsupported"
    assert rows["fixed"].reason == "shapes: there is no input 'x'; the inputs are y"


def test_convert_says_which_size_is_left_open(make_sample: Make) -> None:
    sample = make_sample(LENGTHS, targets={"tflite": {"variants": ["float32"], "shapes": {"batch": 1}}})
    (row, *_) = samples.converted(sample, "tflite", "float32-batch1").check()
    assert "shapes: 'x' is [1, ?, 3], and they leave a size of it open; give its whole shape" in str(row.reason)


def test_integers_of_a_files_ends_are_told_with_what_they_stand_for(make_sample: Make) -> None:
    (row,) = samples.converted(make_sample(samples.KERAS, targets=SIXTEEN), "tflite", "int8-io").check()
    assert row.quantized is not None
    (features,), (scores,) = row.quantized.inputs.values(), row.quantized.outputs.values()
    assert (features.dtype, scores.dtype) == ("int8", "int8")
    assert features.scale > 0
    written = row.model_dump(mode="json")
    assert written["quantized"]["inputs"]["features"] == features.model_dump()
    assert "shapes" not in written


def test_check_fails_dtypes_when_float_is_promised_and_the_ends_are_integers(make_sample: Make, tmp_path: Path) -> None:
    """What a file of one variant is in place of another's."""
    sample = make_sample(samples.KERAS, targets=SIXTEEN)
    promised, other = (samples.converted(sample, "tflite", variant) for variant in ("float32", "int8-io"))
    copy = promised.copy(tmp_path)
    copy.path.write_bytes(other.path.read_bytes())
    assert samples.turned(copy.check()) == {"serving_default": {"dtypes"}}


def test_a_recipe_of_ones_own_quantizes_what_it_names(make_sample: Make) -> None:
    rule, *_ = quantizing.recipe("weight-only-int8", b"")
    only_hidden = [{**rule, "regex": ".*hidden.*"}]
    told = {"tflite": {"variants": ["float32", "weight-only-int8", "recipe"], "recipe": only_hidden}}
    code = samples.KERAS.replace("Dense(8", "Dense(256").replace("Dense(3", "Dense(64")
    sizes = {}
    for variant in told["tflite"]["variants"]:
        made = samples.converted(make_sample(code, targets=told), "tflite", str(variant))
        assert samples.turned(made.check()) == {}
        sizes[variant] = made.path.stat().st_size
    assert sizes["weight-only-int8"] < sizes["recipe"] < sizes["float32"]


def test_an_int8_file_is_made_by_the_converter_of_more_kernels(make_sample: Make) -> None:
    """The quantizer leaves a transposed convolution with a bias, TensorFlow's converter does not."""
    code = """
import tf_keras

def build():
    layers = tf_keras.layers
    x = layers.Input((4, 4, 2), name="x")
    y = layers.Conv2DTranspose(4, 3, strides=2, bias_initializer="random_normal")(x)
    return tf_keras.Model(x, layers.Conv2D(1, 1)(y))
"""
    sample = make_sample(code, targets={"tflite": {"variants": ["int8", "weight-only-int8"]}})
    for variant in ("int8", "weight-only-int8"):
        (row,) = samples.converted(sample, "tflite", variant).check()
        assert (row.status, row.reason) == ("passed", None)


def test_a_file_says_what_it_is_in_the_formats_own_metadata(make_sample: Make, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("low\nmiddle\nhigh\n")
    labels = {"scores": str(tmp_path / "classes.txt")}
    sample = make_sample(samples.KERAS, labels=labels, description="sorts features")
    path = samples.converted(sample, "tflite", "int8").path
    with zipfile.ZipFile(path) as archive:
        assert archive.read("scores_labels.txt").decode().split() == ["low", "middle", "high"]
    told = run(describe.tflite, path).value["metadata"]
    values = [case.inputs["features"] for case in sample.golden.cases["serving_default"]]
    low, high = float(min(each.min() for each in values)), float(max(each.max() for each in values))
    assert (told["name"], told["description"], told["version"]) == ("tiny", "sorts features", "1")
    signature = told["signatures"]["serving_default"]
    assert signature["inputs"] == [{"name": "features", "low": low, "high": high}]
    (scores,) = signature["outputs"]
    assert (scores["name"], scores["labels"]) == ("scores", "scores_labels.txt")


def test_a_file_says_what_raw_values_become_when_the_config_does(make_sample: Callable[..., Sample]) -> None:
    told = {"description": "in metres", "mean": [1.5] * 6, "std": [2.0] * 6, "color": "grayscale"}
    sample = make_sample(samples.KERAS, preprocessing={"features": told})
    for variant in ("float32", "int8-io"):
        converted = samples.converted(sample, "tflite", variant)
        with flatbuffer.reading(converted.path) as model:
            (features,) = described.told(model)["signatures"]["serving_default"]["inputs"]
        assert features.pop("preprocessing") == told["description"]
        assert {name: features[name] for name in ("mean", "std", "color")} == {
            n: told[n] for n in ("mean", "std", "color")
        }
        (row,) = converted.check()
        assert row.status == "passed", samples.not_passed([row])


def test_labels_are_refused_when_they_are_not_as_many_as_classes(make_spec: Callable[..., Any], tmp_path: Path) -> None:
    spec = make_spec(samples.KERAS, labels={"scores": ["one", "two"]})
    with pytest.raises(BadInput, match=r"labels.scores: there are 2 names for an output whose last dimension is 3"):
        samples.only_build(spec, tmp_path)


@pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None, reason="there is no wheel of TF Lite Micro for this machine"
)
def test_a_file_of_integers_and_a_fixed_size_runs_in_the_interpreter_of_microcontrollers(
    make_sample: Make, tmp_path: Path
) -> None:
    made = samples.converted(make_sample(samples.KERAS, targets=SIXTEEN), "tflite", "int8-io-batch1")
    (row,) = made.check()
    assert row.status == "passed"
    assert any(runtime.startswith("tflite micro 0.") for runtime in row.runtimes())
    copy = made.copy(tmp_path)
    run(tflite_harms.edit_tflite, copy.path, "flip_bits")
    assert samples.turned(copy.check())["serving_default"] >= {"sound"}


LARGEST = """
import tensorflow as tf

class Largest(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32, name="x")])
    def __call__(self, x):
        return {"y": tf.math.top_k(tf.nn.relu(x @ tf.eye(4)), 2).values}

def build():
    return Largest()
"""


def test_what_the_interpreter_of_microcontrollers_lacks_is_no_fault_of_the_file(make_sample: Make) -> None:
    sample = make_sample(LARGEST, targets={"tflite": {"variants": ["int8-io"]}})
    (row,) = samples.converted(sample, "tflite", "int8-io").check()
    assert row.status == "passed"
    (left,) = [check for check in row.left_out() if "micro" in check.runtime]
    assert "serving_default" in left.detail


def test_labelled_data_are_cut_into_calls_of_a_fixed_size_too(make_sample: Make) -> None:
    """Which LiteRT.js and TF Lite Micro are not asked for."""
    code = samples.KERAS + (
        "\ndef labelled():\n    make = np.random.default_rng(1)\n"
        "    return {'features': make.normal(size=(33, 6)).astype('float32'), 'labels': make.integers(0, 3, 33)}\n"
    )
    told = {"tflite": {"variants": ["int8-io"], "shapes": {"batch": 4}}}
    sample = make_sample(
        "import numpy as np\n" + code, targets=told, evaluation={"data": "tiny.py:labelled", "max_drop": 0.5}
    )
    (row,) = samples.converted(sample, "tflite", "int8-io-batch4").check()
    assert row.status == "passed"
    (metric,) = [check for check in row.checks if check.name == "metric"]
    assert metric.figures["samples"] == 32


QUANTIZES = """
import sys
from pathlib import Path
import numpy as np
from converters.targets.tflite import quantizing
content = Path(sys.argv[1]).read_bytes()
samples = [("serving_default", {"features": np.full((1, 6), number, np.float32)}) for number in range(200)]
quantizing.quantized(content, quantizing.recipe("int8", content), samples)
"""


def test_quantizing_shows_no_progress(keras_sample: Sample) -> None:
    path = samples.converted(keras_sample, "tflite", "float32").path
    ran = subprocess.run([sys.executable, "-c", QUANTIZES, path], capture_output=True, text=True, check=True)
    assert "Calibration" not in ran.stderr
    assert "preserve_all_tensors" not in ran.stderr
