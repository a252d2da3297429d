"""Builders of every kind become sources: weights initialised, golden recorded from the live model, one export."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
from samples import Sample, only_build

from converters.config import read
from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput, BuilderFailed, FanoutError
from converters.contract.values import Tensors, TensorSpec
from converters.processes.child import run

pytestmark = pytest.mark.tensorflow

Make = Callable[..., Sample]
MakeSpec = Callable[..., ModelSpec]

UNBUILT = """
import tf_keras

class Net(tf_keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = tf_keras.layers.Dense(4, activation="tanh")
        self.top = tf_keras.layers.Dense(2)

    def call(self, features):
        return self.top(self.hidden(features))

def build():
    return Net()
"""
FEATURES = {"features": {"shape": [None, 3], "dtype": "float32"}}

GENERIC = """
import tensorflow as tf

class Generic(tf.Module):
    def __init__(self):
        super().__init__()
        self.factor = tf.Variable(3.0)

    @tf.function
    def scale(self, x):
        return {"scaled": self.factor * x}

    def plain(self, x):
        return self.factor + x

def build():
    return Generic()
"""


def served(sample: Sample, key: str = "serving_default") -> list[Tensors]:
    """What the export returns in TensorFlow's own Python loader for golden's inputs."""
    inputs = [case.inputs for case in sample.golden.cases[key]]
    return run(samples.serve, sample.source.saved_model, key, inputs).value


def assert_exported(sample: Sample) -> None:
    """The export computes golden's outputs from golden's inputs, for every signature."""
    assert sample.golden.cases.keys() == sample.source.signatures.keys()
    for key, cases in sample.golden.cases.items():
        for case, outputs in zip(cases, served(sample, key), strict=True):
            assert outputs.keys() == case.outputs.keys() == sample.source.signatures[key].outputs.keys()
            for name, wanted in case.outputs.items():
                assert outputs[name].dtype == wanted.dtype
                if wanted.dtype == object:
                    np.testing.assert_array_equal(outputs[name], wanted)
                else:
                    np.testing.assert_allclose(outputs[name], wanted, rtol=1e-5, atol=1e-6, err_msg=f"{key} {name}")


@pytest.mark.parametrize("initialize", ["call", "shape"])
def test_build_initialises_weights_when_a_subclassed_model_has_none(make_sample: Make, initialize: str) -> None:
    sample = make_sample(UNBUILT, inputs=FEATURES, initialize=initialize)
    assert sample.built.parameters == 3 * 4 + 4 + 4 * 2 + 2
    assert len(sample.golden.variables) == 4
    assert sample.source.signatures["serving_default"].inputs == {
        "features": TensorSpec(shape=(None, 3), dtype="float32")
    }
    assert_exported(sample)


def test_build_refuses_when_an_unbuilt_model_has_no_inputs(make_spec: MakeSpec, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"not built, so it has no weights.*'inputs:' in the config"):
        only_build(make_spec(UNBUILT), tmp_path)


def test_build_refuses_when_initialising_fails(make_spec: MakeSpec, tmp_path: Path) -> None:
    code = UNBUILT.replace("return self.top(", "raise KeyError('lost') or (")
    with pytest.raises(BadInput, match=r"^tiny.*initialising its weights by call failed: KeyError: .*lost"):
        only_build(make_spec(code, inputs=FEATURES), tmp_path)


def test_build_refuses_when_inputs_are_not_the_models(make_spec: MakeSpec, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"'inputs:' names \['image'\], but the model's input layers are \['features'\]"):
        only_build(make_spec(samples.KERAS, inputs={"image": FEATURES["features"]}), tmp_path)


@pytest.mark.parametrize("signatures", [{}, {"scale": "scale"}], ids=["unnamed", "named"])
def test_build_refuses_when_a_generic_method_has_no_input_signature(
    make_spec: MakeSpec, tmp_path: Path, signatures: dict[str, str]
) -> None:
    with pytest.raises(BadInput, match=r"tiny\.py:build.*@tf\.function\(input_signature=.*scale|scale.*generic"):
        only_build(make_spec(GENERIC, signatures=signatures), tmp_path)


def test_build_takes_generic_and_plain_methods_when_the_config_gives_inputs(make_sample: Make) -> None:
    inputs = {"x": {"shape": [None, 2], "dtype": "float32"}}
    methods = {name: {"method": name, "inputs": inputs} for name in ("scale", "plain")}
    sample = make_sample(GENERIC, signatures=methods)
    assert sample.source.signatures.keys() == {"scale", "plain"}
    case = sample.golden.cases["scale"][0]
    np.testing.assert_array_equal(case.outputs["scaled"], 3 * case.inputs["x"])
    assert sample.source.signatures["plain"].outputs.keys() == {"output_0"}
    assert_exported(sample)


def test_build_refuses_when_the_method_is_missing(make_spec: MakeSpec, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"signatures\.other: Tiny has no method 'absent'"):
        only_build(make_spec(samples.MODULE, signatures={"other": "absent"}), tmp_path)


def test_build_exports_every_decorated_method_when_the_config_names_none(module_sample: Sample) -> None:
    source = module_sample.source
    assert source.kind == "module"
    assert {key: set(signature.outputs) for key, signature in source.signatures.items()} == {
        "serving_default": {"projected", "squashed"},
        "summary": {"energy", "peak"},
    }
    assert source.signatures["summary"].outputs["peak"] == TensorSpec(shape=(None,), dtype="int64")
    assert (source.keras_file, source.keras_signature) == (None, None)
    assert module_sample.built.signatures == source.signatures
    assert_exported(module_sample)


def test_build_keeps_the_config_s_keys_when_signatures_are_named(make_sample: Make) -> None:
    sample = make_sample(samples.MODULE, signatures={"first": "__call__"})
    assert sample.source.signatures.keys() == {"first"}


EMBEDDING = """
import tensorflow as tf
import tf_keras

class Encoder(tf_keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = tf_keras.layers.Dense(4)
        self.top = tf_keras.layers.Dense(2)

    def call(self, x, training=False):
        return {"score": self.top(self.hidden(x)) if not training else tf.zeros([1, 2]), "twice": 2 * x}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def embed(self, x):
        return self.hidden(x)

def build():
    model = Encoder()
    model(tf.zeros([1, 3]))
    return model
"""


def test_build_exports_a_further_method_when_the_config_names_it(make_sample: Make) -> None:
    inputs = {"x": {"shape": [None, 3], "dtype": "float32"}}
    sample = make_sample(EMBEDDING, inputs=inputs, signatures={"serving_default": "call", "embed": "embed"})
    signatures = sample.source.signatures
    assert set(signatures["serving_default"].outputs) == {"score", "twice"}
    assert signatures["embed"].outputs == {"output_0": TensorSpec(shape=(None, 4), dtype="float32")}
    assert sample.source.keras_signature == "serving_default"
    assert_exported(sample)


FUNCTIONAL = """
import {library} as keras

def build():
    keras.utils.set_random_seed(1)
    left, right = keras.Input((3,), name="zeta"), keras.Input((2,), name="alpha")
    joined = keras.layers.Concatenate()([left, right])
    kind = keras.layers.Dense(3, activation="softmax", name="kind")(joined)
    size = keras.layers.Dense(1, name="size")(left)
    return keras.Model({inputs}, {outputs})
"""


@pytest.mark.parametrize("library", ["tf_keras", "keras"])
@pytest.mark.parametrize(
    ("inputs", "outputs", "names"),
    [
        ("[left, right]", "[kind, size]", {"kind", "size"}),
        ('{"zeta": left, "alpha": right}', '{"kind": kind, "size": size}', {"kind", "size"}),
    ],
    ids=["lists", "dicts"],
)
def test_build_keeps_names_when_a_functional_model_has_several_inputs(
    make_sample: Make, library: str, inputs: str, outputs: str, names: set[str]
) -> None:
    code = FUNCTIONAL.replace("{library}", library).replace("{inputs}", inputs).replace("{outputs}", outputs)
    sample = make_sample(code)
    signature = sample.source.signatures["serving_default"]
    assert sample.source.kind == library
    assert {name: tensor.shape for name, tensor in signature.inputs.items()} == {"zeta": (None, 3), "alpha": (None, 2)}
    assert set(signature.outputs) == names
    assert {tensor.shape for tensor in signature.outputs.values()} == {(None, 3), (None, 1)}
    assert sample.source.keras_file is not None
    assert_exported(sample)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("library", ["tf_keras", "keras"])
def test_build_loads_the_model_when_it_is_a_keras_file(
    make_spec: MakeSpec, tmp_path: Path, library: str, suffix: str
) -> None:
    code = samples.KERAS.replace("tf_keras", library)
    saved = tmp_path / f"saved{suffix}"
    run(samples.save_keras, make_spec(code), saved)
    from_file = samples.build(read.find(str(saved)), _made(tmp_path / "from_file"))
    from_builder = samples.build(make_spec(code), _made(tmp_path / "from_builder"))
    assert from_file.source.kind == library
    assert from_file.source.keras_file is not None
    assert from_file.source.signatures == from_builder.source.signatures
    np.testing.assert_array_equal(_scores(from_file), _scores(from_builder))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _scores(sample: Sample) -> np.ndarray[Any, Any]:
    return sample.golden.cases["serving_default"][0].outputs["scores"]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_build_raises_bad_input_when_the_keras_file_is_damaged(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes({".keras": b"PK\x03\x04", ".h5": b"\x89HDF\r\n\x1a\n"}[suffix] + bytes(3000))
    spec = ModelSpec(name="broken", model=str(path))
    with pytest.raises(BadInput, match=rf"broken\{suffix} begins like .* and is cut off or damaged .*; copy it again"):
        only_build(spec, tmp_path)


def test_build_reads_signatures_when_the_source_is_a_saved_model(module_sample: Sample, tmp_path: Path) -> None:
    copied = shutil.copytree(module_sample.source.saved_model, tmp_path / "given")
    sample = samples.build(read.find(str(copied)), tmp_path)
    assert sample.source.kind == "saved_model"
    assert sample.source.signatures == module_sample.source.signatures
    assert sample.source.digest == module_sample.source.digest
    for key, cases in module_sample.golden.cases.items():
        for one, two in zip(cases, sample.golden.cases[key], strict=True):
            for name, value in one.outputs.items():
                np.testing.assert_allclose(two.outputs[name], value, rtol=1e-5)
    assert_exported(sample)


def test_build_takes_the_named_signatures_when_the_source_is_a_saved_model(
    module_sample: Sample, tmp_path: Path
) -> None:
    given = {"name": "given", "model": str(module_sample.source.saved_model)}
    chosen = ModelSpec.model_validate({**given, "signatures": {"summary": "summary"}})
    assert only_build(chosen, tmp_path).signatures.keys() == {"summary"}
    missing = ModelSpec.model_validate({**given, "signatures": {"sum": "sum"}})
    with pytest.raises(BadInput, match=r"signatures\.sum: .* no such signature; it has serving_default, summary"):
        only_build(missing, tmp_path)


def test_build_raises_when_the_saved_model_is_damaged(module_sample: Sample, tmp_path: Path) -> None:
    copied = shutil.copytree(module_sample.source.saved_model, tmp_path / "given")
    shutil.rmtree(copied / "variables")
    with pytest.raises(BadInput, match="given cannot be loaded"):
        only_build(read.find(str(copied)), tmp_path)
    (copied / "saved_model.pb").write_bytes(b"\xff" * 100)
    with pytest.raises(FanoutError, match="cannot be read as a SavedModel"):
        only_build(read.find(str(copied)), tmp_path)


FAULTY = {
    "raises": ("def build():\n    x = 1\n    return x / 0\n", r"line 3, in build: ZeroDivisionError: division by zero"),
    "raises at import": ("import nowhere_to_be_found\n", r"line 1, in <module>: ModuleNotFoundError"),
    "exits": ("import sys\ndef build():\n    sys.exit('enough')\n", r"line 3, in build: SystemExit: enough"),
    "syntax": ("def build():\n    return (\n", r"line 2: SyntaxError"),
}


@pytest.mark.parametrize("what", list(FAULTY))
def test_build_raises_builder_failed_naming_the_line_when_the_builder_fails(
    make_spec: MakeSpec, tmp_path: Path, what: str
) -> None:
    code, words = FAULTY[what]
    with pytest.raises(BuilderFailed, match=rf"faulty\.py, {words}"):
        only_build(make_spec(code, name="faulty"), tmp_path)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def build(): return 3\n", "returned int; return a tf_keras or Keras model, or a tf.Module"),
        ("def build(): return None\n", "returned NoneType"),
        ("import tf_keras\ndef build(): return tf_keras.layers.Dense\n", "returned ABCMeta|returned type"),
        ("def builds(): return 3\n", "has no function 'build'; it has builds"),
        ("build = 3\n", "has no function 'build'; it has none"),
        ("import tensorflow as tf\ndef build(): return tf.Module()\n", "no method decorated with"),
    ],
)
def test_build_raises_bad_input_when_the_builder_returns_the_wrong_thing(
    make_spec: MakeSpec, tmp_path: Path, code: str, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        only_build(make_spec(code), tmp_path)


DATA = """
import numpy as np

def data():
    rng = np.random.default_rng(8)
    return {"features": rng.normal(size=(20, 6)), "left over": 3}

def wrong_names():
    return {"feature": np.zeros((4, 6))}

def wrong_shape():
    return {"features": np.zeros((4, 5))}

def by_signature():
    return {"serving_default": {"features": np.ones((4, 6))}}

def wrong_kind():
    return [1, 2]

def raises():
    raise LookupError("no data today")
"""


def test_build_records_what_the_live_model_returns_when_data_is_given(make_spec: MakeSpec, tmp_path: Path) -> None:
    model = make_spec(samples.KERAS + DATA, golden={"data": "tiny.py:data", "samples": 10})
    sample = samples.build(model, tmp_path)
    large, one = sample.golden.cases["serving_default"]
    assert [case.inputs["features"].shape for case in (large, one)] == [(10, 6), (1, 6)]
    np.testing.assert_array_equal(one.inputs["features"], large.inputs["features"][:1])
    live = run(samples.call_live, model, [case.inputs for case in (large, one)]).value
    for case, outputs in zip((large, one), live, strict=True):
        np.testing.assert_array_equal(case.outputs["scores"], outputs)


def test_build_takes_data_by_signature_when_it_is_nested(make_spec: MakeSpec, tmp_path: Path) -> None:
    sample = samples.build(make_spec(samples.KERAS + DATA, golden={"data": "tiny.py:by_signature"}), tmp_path)
    assert sample.golden.cases["serving_default"][0].inputs["features"].tolist() == np.ones((4, 6)).tolist()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("wrong_names", r"golden\.data \(tiny\.py:wrong_names\) gives \['feature'\], but .*\['features'\]"),
        ("wrong_shape", r"golden\.data \(tiny\.py:wrong_shape\): input 'features' has shape \[4, 5\]"),
        ("wrong_kind", r"golden\.data \(tiny\.py:wrong_kind\) returned list; return \{input name: array\}"),
        ("raises", r"tiny\.py, line \d+, in raises: LookupError: no data today"),
        ("absent", r"golden\.data: .*tiny\.py has no function 'absent'; it has build, by_signature, data"),
    ],
)
@pytest.mark.parametrize("field", ["golden.data", "representative"])
def test_build_names_what_is_wrong_when_data_does_not_fit(
    make_spec: MakeSpec, tmp_path: Path, field: str, function: str, words: str
) -> None:
    reference = f"tiny.py:{function}"
    fields = {"golden": {"data": reference}} if field == "golden.data" else {"representative": reference}
    with pytest.raises(BadInput, match=words.replace(r"golden\.data", re.escape(field))):
        only_build(make_spec(samples.KERAS + DATA, **fields), tmp_path)


@pytest.mark.parametrize(
    ("golden", "words"),
    [
        ({"inputs": {"feature": {"low": 0}}}, r"golden\.inputs.*'feature'.*features"),
        ({"constant": ["score"]}, r"golden\.constant.*'score'.*scores"),
        ({"inputs": {"features": {"shape": [5]}}}, r"golden\.inputs"),
    ],
    ids=["input", "output", "shape"],
)
def test_build_raises_bad_input_when_the_config_names_no_tensor_of_the_model(
    make_spec: MakeSpec, tmp_path: Path, golden: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        only_build(make_spec(samples.KERAS, golden=golden), tmp_path)


def test_build_writes_representative_data_when_the_config_names_it(make_spec: MakeSpec, tmp_path: Path) -> None:
    model = make_spec(samples.KERAS + DATA, representative="tiny.py:data", golden={"samples": 3})
    sample = samples.build(model, tmp_path)
    assert sample.source.representative is not None
    (case,) = samples.golden.load(sample.source.representative).cases["serving_default"]
    assert case.inputs["features"].shape == (20, 6)


STATIC = """
import numpy as np
import tensorflow as tf

class Static(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([2], tf.float32, name="x"), tf.TensorSpec([], tf.int64, name="n")])
    def __call__(self, x, n):
        return {"sum": tf.reduce_sum(x) * tf.cast(n, tf.float32)}

def build():
    return Static()

def data():
    return {"x": np.arange(10).reshape(5, 2), "n": np.arange(5)}
"""


def test_build_keeps_every_sample_when_the_batch_is_static(make_spec: MakeSpec, tmp_path: Path) -> None:
    model = make_spec(STATIC, golden={"data": "tiny.py:data", "samples": 3}, representative="tiny.py:data")
    sample = samples.build(model, tmp_path)
    assert [float(case.outputs["sum"]) for case in sample.golden.cases["serving_default"]] == [0, 5, 18]
    assert sample.source.representative is not None
    calibration = samples.golden.load(sample.source.representative).cases["serving_default"]
    assert [int(case.inputs["n"]) for case in calibration] == [0, 1, 2, 3, 4]


def test_export_gives_the_same_digest_when_the_model_is_the_same(
    keras_sample: Sample, module_sample: Sample, make_sample: Make, tmp_path: Path
) -> None:
    keras3_sample = make_sample(samples.KERAS.replace("tf_keras", "keras"))
    for index, sample in enumerate((keras_sample, module_sample, keras3_sample)):
        again = samples.build(sample.spec, _made(tmp_path / str(index)))
        assert again.source.digest == sample.source.digest
    assert re.fullmatch("sha256:[0-9a-f]{64}", keras_sample.source.digest)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return Tiny()", "tiny = Tiny(); tiny.offset[2].assign(tiny.offset[2] + 1e-6); return tiny"),
        ("tf.tanh(projected)", "tf.sigmoid(projected)"),
        ("axis=1), ", "axis=-1), "),
        ('"squashed"', '"pressed"'),
        ("projected**2", "projected * 2"),
        (
            '"projected": projected, "squashed": tf.tanh(projected)',
            '"squashed": projected, "projected": tf.tanh(projected)',
        ),
        ("projected = signal @ self.weight + self.offset", "projected = self.offset - signal @ self.weight"),
        ("tf.argmax(projected, axis=1)", "tf.argmax(signal, axis=1)"),
    ],
    ids=["weight", "op", "constant", "name", "other-signature", "outputs", "other-op", "wiring"],
)
def test_export_gives_another_digest_when_one_thing_differs(
    make_sample: Make, module_sample: Sample, old: str, new: str
) -> None:
    assert old in samples.MODULE
    assert make_sample(samples.MODULE.replace(old, new)).source.digest != module_sample.source.digest


LOOKUP = """
import tensorflow as tf
import tf_keras

def build():
    word = tf_keras.Input((1,), dtype=tf.string, name="word")
    lookup = tf_keras.layers.StringLookup(vocabulary=["red", "green", "blue"])
    one_hot = tf_keras.layers.CategoryEncoding(num_tokens=4)(lookup(word))
    return tf_keras.Model(word, {"index": lookup(word), "score": tf_keras.layers.Dense(2, name="score")(one_hot)})
"""


def test_export_saves_lookup_tables_when_a_keras_model_has_them(make_sample: Make) -> None:
    sample = make_sample(LOOKUP, golden={"inputs": {"word": {"values": ["red", "green", "blue", "mauve"]}}})
    (row,) = samples.converted(sample, "saved_model").check()
    assert (row.status, row.reason) == ("passed", None)
    assert any("C API" in runtime for runtime in row.runtimes())
    words = sample.golden.cases["serving_default"][0]
    known = {b"red": 1, b"green": 2, b"blue": 3, b"mauve": 0}
    assert words.outputs["index"].ravel().tolist() == [known[word] for word in words.inputs["word"].ravel()]


def test_export_says_why_when_keras_cannot_save_the_model(make_sample: Make) -> None:
    code = UNBUILT.replace("def __init__(self):", "def __init__(self, unknown=lambda: 1, *given):").replace(
        "def build", "    def get_config(self):\n        raise NotImplementedError('no config')\n\ndef build"
    )
    sample = make_sample(code, inputs=FEATURES)
    assert sample.source.keras_file is None
    assert sample.source.keras_problem is not None
    assert "Keras cannot save the model: NotImplementedError: no config" in sample.source.keras_problem


def test_builder_kills_the_model_when_building_takes_too_long(make_spec: MakeSpec, tmp_path: Path) -> None:
    model = make_spec("import time\ndef build(): time.sleep(60)\n", limits={"seconds": 1})
    with pytest.raises(FanoutError, match="did not finish in 1 s"):
        only_build(model, tmp_path)
