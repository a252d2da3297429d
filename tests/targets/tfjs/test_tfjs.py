"""tensorflow.js: names, dtypes and values through convert and check, and every way a damaged model must fail."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import samples
from pydantic import ValidationError
from samples import Converted, Sample, converted, not_passed

from converters.config.read import without_config
from converters.contract.errors import Damaged
from converters.contract.values import Artifact
from converters.formats import saved_model
from converters.release.manifest import Row
from converters.steps.convert import Conversion
from converters.targets.tfjs import check, graph_model
from converters.targets.tfjs import target as tfjs

pytestmark = [
    pytest.mark.usefixtures("kept_children"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # from TensorFlow's import
]

NAMES = """
import tensorflow as tf

def spec(name, shape=(None, 3), dtype=tf.float32):
    return tf.TensorSpec(shape, dtype, name=name)

class Names(tf.Module):
    def __init__(self):
        super().__init__()
        self.weight = tf.Variable([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0], [3.0, 0.0, 1.0]])
        pairs = tf.lookup.KeyValueTensorInitializer(tf.range(10), tf.range(10) * 7)
        self.table = tf.lookup.StaticHashTable(pairs, -1)

    @tf.function(input_signature=[spec("zeta"), spec("alpha"), spec("unused")])
    def twins(self, zeta, alpha, unused):
        return {"b": zeta @ self.weight - 3 * alpha, "A": alpha - zeta / 2, "copy": alpha}

    @tf.function(input_signature=[spec("ids", [None], tf.int64), spec("addend", [None], tf.int64)])
    def counts(self, ids, addend):
        return {"next": ids + 2 * addend, "last": addend - ids, "peak": tf.argmax(self.weight)}

    @tf.function(input_signature=[spec("key", [None], tf.int32), spec("offset", [None], tf.int32)])
    def lookup(self, key, offset):
        return {"found": self.table.lookup(key) - offset}

    @tf.function(input_signature=[spec("text", [None], tf.string)])
    def text(self, text):
        return {"length": tf.strings.length(text)}

def build():
    return Names()
"""
"""Inputs and outputs alike in dtype and shape that a swap would show: names in an order that is not the tensors'."""

DAMAGED = ("truncated", "missing", "outputs_swapped", "inputs_swapped", "wrong_dtype", "renamed", "sound")


@pytest.fixture(scope="module")
def names(make_sample: Callable[..., Sample]) -> Sample:
    """The module above, each method as a signature."""
    methods = {"serving_default": "twins", "counts": "counts", "lookup": "lookup", "text": "text"}
    small = {"inputs": {name: {"low": 0, "high": 1000} for name in ("ids", "addend")}}
    return make_sample(NAMES, name="names", signatures=methods, golden=small, targets={"tfjs": {}})


@pytest.fixture(scope="module")
def graph(names: Sample) -> Converted:
    """Its graph models."""
    return converted(names, "tfjs", "graph")


@pytest.fixture(scope="module")
def rows(graph: Converted) -> dict[str | None, Row]:
    """Their rows, by signature."""
    return {row.signature: row for row in graph.check()}


def model_json(conversion: Conversion, signature: str) -> Path:
    """Where the signature's model.json is."""
    (path,) = [artifact.path for artifact in conversion.artifacts if artifact.signature == signature]
    assert path is not None, conversion
    return path


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """Rewrite a model.json."""
    model = json.loads(path.read_text())
    change(model)
    path.write_text(json.dumps(model))


@pytest.mark.parametrize("signature", ["serving_default", "counts", "lookup"])
def test_check_passes_when_tensors_are_alike_in_dtype_and_shape(
    graph: Converted, rows: dict[str | None, Row], signature: str
) -> None:
    row = rows[signature]
    assert row.status == "passed", not_passed([row])
    assert {"names", "dtypes", "shapes", "values"} <= {result.name for result in row.checks}
    declared = json.loads(model_json(graph.conversion, signature).read_text())["signature"]
    expected = graph.sample.source.signatures[signature]
    assert declared["outputs"].keys() == expected.outputs.keys()
    given = {name for name, info in declared["inputs"].items() if "resourceId" not in info}
    assert given == expected.inputs.keys()


def test_check_passes_when_names_have_capitals(tmp_path: Path) -> None:
    import tensorflow as tf

    spec = [tf.TensorSpec([None, 2], tf.float32, name=name) for name in ("Zeta", "alpha", "Beta")]

    @tf.function(input_signature=spec)
    def call(Zeta: Any, alpha: Any, Beta: Any) -> dict[str, Any]:
        return {"b": Zeta - 2 * alpha, "B": alpha + 5 * Beta, "a": Zeta * Beta}

    module = tf.Module()
    module.call = call
    tf.saved_model.save(module, str(tmp_path / "capitals"), signatures={"serving_default": call})
    sample = samples.build(without_config(tmp_path / "capitals"), tmp_path)
    assert sample.source.signatures["serving_default"].inputs.keys() == {"Zeta", "alpha", "Beta"}
    (row,) = converted(sample, "tfjs", "graph").check()
    assert row.status == "passed", not_passed([row])


@pytest.mark.parametrize("resource", [True, False])
def test_check_passes_when_tensorflow_1_wrote_the_saved_model(tmp_path: Path, resource: bool) -> None:
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default(), tf.Session() as session:
        left, right, unused = (tf.placeholder(tf.float32, [None, 3], name=name) for name in ("l", "r", "u"))
        weight = tf.get_variable("weight", [3, 3], use_resource=resource)
        difference = tf.matmul(left, weight) - 2 * right
        outputs = {"Z": difference, "alias": difference, "b": right + left * tf.matmul(right, weight)}
        session.run(tf.global_variables_initializer())
        inputs = {"Left": left, "right": right, "unused": unused}
        tf.saved_model.simple_save(session, str(tmp_path / "old"), inputs, outputs)
    sample = samples.build(without_config(tmp_path / "old"), tmp_path)
    (row,) = converted(sample, "tfjs", "graph").check()
    assert row.status == "passed", not_passed([row])


def test_convert_gives_an_unsupported_row_when_an_op_is_missing(graph: Converted, rows: dict[str | None, Row]) -> None:
    assert rows["text"].status == "unsupported"
    assert rows["text"].path is None
    assert str(rows["text"].reason).startswith("tensorflow.js has no op StringLength")
    assert "outside the model" in str(rows["text"].reason)
    assert not (graph.root / "tfjs" / "graph" / "text").exists()


@pytest.mark.parametrize("variant", [variant.name for variant in tfjs.VARIANTS])
def test_check_passes_when_a_keras_model_is_converted(keras_sample: Sample, variant: str) -> None:
    (row,) = converted(keras_sample, "tfjs", variant).check()
    assert row.status == "passed", not_passed([row])
    assert row.latency_ms() is not None
    assert {runtime.split()[0] for runtime in row.runtimes()} == {"node", "chromium"}
    worst = row.worst()
    assert worst is not None
    assert (worst.measured or 0) > 1e-5 or "-" not in variant, "a quantized model that has no error is not quantized"


def test_convert_gives_an_unsupported_row_when_the_source_has_no_layers(module_sample: Sample) -> None:
    first, second = converted(module_sample, "tfjs", "layers").check()
    assert (first.status, second.status) == ("unsupported", "unsupported")
    assert "Keras" in (first.reason or "")


@pytest.fixture(scope="module")
def damaged(make_sample: Callable[..., Sample], tmp_path_factory: pytest.TempPathFactory) -> dict[str | None, Row]:
    """Rows of one conversion in which each signature, all of one method, is damaged in the way its key says."""
    sample = make_sample(NAMES, name="damaged", signatures=dict.fromkeys(DAMAGED, "twins"), targets={"tfjs": {}})
    good = converted(sample, "tfjs", "graph")
    root = tmp_path_factory.mktemp("damaged")
    shutil.copytree(good.root / "tfjs", root / "tfjs")
    artifacts = [moved(artifact, good.root, root) for artifact in good.conversion.artifacts]
    conversion = good.conversion.model_copy(update={"artifacts": artifacts})
    path = {key: model_json(conversion, key) for key in DAMAGED}

    (shard,) = path["truncated"].parent.glob("*.bin")
    os.truncate(shard, shard.stat().st_size - 4)
    (shard,) = path["missing"].parent.glob("*.bin")
    shard.unlink()

    def swap(side: str, first: str, second: str) -> Callable[[Any], None]:
        def change(model: Any) -> None:
            tensors = model["signature"][side]
            tensors[first], tensors[second] = tensors[second], tensors[first]

        return change

    edit(path["outputs_swapped"], swap("outputs", "A", "b"))
    edit(path["inputs_swapped"], swap("inputs", "zeta", "alpha"))
    edit(path["wrong_dtype"], lambda model: model["signature"]["inputs"]["alpha"].update(dtype="DT_INT32"))
    edit(path["renamed"], lambda model: model["signature"]["inputs"].update(x=model["signature"]["inputs"].pop("zeta")))
    return {row.signature: row for row in Converted(sample, conversion, root).check()}


def moved(artifact: Artifact, old: Path, new: Path) -> Artifact:
    """The artifact at its place in another directory."""
    assert artifact.path is not None
    return artifact.model_copy(update={"path": new / artifact.path.relative_to(old)})


@pytest.mark.parametrize(
    ("signature", "check", "words"),
    [
        ("truncated", "loads", "bytes"),
        ("missing", "loads", "missing"),
        ("outputs_swapped", "values", "max |error|"),
        ("inputs_swapped", "values", "max |error|"),
        ("wrong_dtype", "dtypes", "'alpha' is int32, expected float32"),
        ("renamed", "names", "'zeta' is missing"),
    ],
)
def test_check_fails_when_the_model_is_damaged(
    damaged: dict[str | None, Row], signature: str, check: str, words: str
) -> None:
    row = damaged[signature]
    assert row.status == "failed"
    assert row.reason
    failed = not_passed([row])
    assert check in {result.name for result in failed}, failed
    assert any(words in result.detail for result in failed), failed


def test_check_passes_when_only_other_signatures_are_damaged(damaged: dict[str | None, Row]) -> None:
    assert damaged["sound"].status == "passed", not_passed([damaged["sound"]])


@pytest.mark.parametrize("content", ["{", "[]", '{"signature": {}}'])
def test_inspect_raises_damaged_when_model_json_is_another(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(Damaged, match=r"model\.json"):
        check.inspect(Artifact(target="tfjs", variant="graph", signature="s", path=tmp_path / "model.json"))


DTYPES = """
import numpy as np
import tensorflow as tf

SMALL = [tf.TensorSpec([None, 3], tf.uint8, name="small")]

class Dtypes(tf.Module):
    @tf.function(input_signature=SMALL)
    def compare(self, small):
        bound = tf.constant([1, 5, 7], tf.uint8)
        return {"above": small > bound, "larger": tf.cast(tf.maximum(small, bound), tf.int32)}

    @tf.function(input_signature=SMALL)
    def wrap(self, small):
        return {"sum": tf.cast(small + tf.constant(250, tf.uint8), tf.int32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="large")])
    def far(self, large):
        return {"below": large - tf.constant(2**40, tf.int64)}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float64, name="wide")])
    def wide(self, wide):
        return {"product": wide * np.array([1.5, -2.0, 0.25])}

def build():
    return Dtypes()
"""


def test_convert_widens_constants_only_where_that_computes_the_same(make_sample: Callable[..., Sample]) -> None:
    methods = {name: name for name in ("compare", "wrap", "far", "wide")}
    sample = make_sample(DTYPES, name="dtypes", signatures=methods, targets={"tfjs": {}})
    rows = {row.signature: row for row in converted(sample, "tfjs", "graph").check()}
    assert {key: row.status for key, row in rows.items()} == {
        "compare": "passed",
        "wide": "passed",
        "wrap": "unsupported",
        "far": "unsupported",
    }
    assert "uint8" in str(rows["wrap"].reason)
    assert "add" in str(rows["wrap"].reason).lower()
    assert str(2**40) in str(rows["far"].reason)


KERAS3 = """
import keras

def build():
    keras.utils.set_random_seed(5)
    layers = keras.layers
    {model}
"""

MODELS = {
    "sequential": """
    model = keras.Sequential([keras.Input((6,), name="x"), layers.Dense(4, "tanh"), layers.BatchNormalization(),
                              layers.Dropout(0.5), layers.Dense(2, name="y")])
    return model""",
    "convolutional": """
    image = keras.Input((8, 8, 3), name="image")
    hidden = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    hidden = layers.LeakyReLU(negative_slope=0.2)(layers.BatchNormalization()(hidden))
    hidden = layers.Add()([hidden, layers.DepthwiseConv2D(3, padding="same")(hidden)])
    hidden = layers.MaxPooling2D()(layers.SeparableConv2D(5, 3)(hidden))
    pooled = layers.Concatenate()([layers.GlobalAveragePooling2D()(hidden), layers.Flatten()(hidden)])
    return keras.Model(image, [layers.Dense(3, "tanh", name="a")(pooled), layers.Dense(2, name="b")(pooled)])""",
    "recurrent": """
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    hidden = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(layers.Embedding(12, 4)(tokens))
    return keras.Model(tokens, layers.GRU(4, reset_after=False, name="y")(hidden))""",
}


@pytest.mark.parametrize("model", MODELS)
def test_check_passes_when_a_keras_3_model_becomes_a_layers_model(
    make_sample: Callable[..., Sample], model: str
) -> None:
    golden = {"inputs": {"tokens": {"low": 0, "high": 12}}} if model == "recurrent" else {}
    code = KERAS3.replace("{model}", MODELS[model].strip())
    sample = make_sample(code, name=model, golden=golden, targets={"tfjs": {}})
    assert tfjs.chosen(sample.source, sample.spec.targets["tfjs"]) == ("graph", "layers")
    (row,) = converted(sample, "tfjs", "layers").check()
    assert row.status == "passed", (row.reason, not_passed([row]))


NORMALISED = {
    "before a hard swish": """
x = k.Input((8, 8, 4), name="x")
first = l.BatchNormalization()(l.Conv2D(6, 3)(x))
swished = first * tf.nn.relu6(first + 3.0) * (1.0 / 6.0)
return k.Model(x, l.GlobalAveragePooling2D(name="y")(swished))""",
    "by layer": """
x = k.Input((6, 8), name="x")
return k.Model(x, l.Dense(2, name="y")(l.GlobalAveragePooling1D()(l.LayerNormalization()(l.Dense(8)(x)))))""",
    "before activation": """
x = k.Input((8, 8, 4), name="x")
first = l.Activation("relu")(l.BatchNormalization()(x))
both = l.add([l.Conv2D(6, 1)(first), l.Conv2D(6, 3, padding="same")(first)])
return k.Model(x, l.GlobalAveragePooling2D(name="y")(l.Activation("relu")(l.BatchNormalization()(both))))""",
}


@pytest.mark.parametrize("which", NORMALISED)
def test_check_passes_when_normalisation_is_no_part_of_a_convolution(
    make_sample: Callable[..., Sample], which: str
) -> None:
    body = NORMALISED[which].replace("\n", "\n    ")
    code = f"""
import tensorflow as tf
import tf_keras as k
l = k.layers

def build():
    k.utils.set_random_seed(3)
    {body}
"""
    (row,) = converted(make_sample(code, targets={"tfjs": {}}), "tfjs", "graph").check()
    assert row.status == "passed", (row.reason, not_passed([row]))
    assert any("wasm" in runtime for runtime in row.runtimes())


LACKING = {
    "reset_after": ("return k.Sequential([k.Input((4, 3)), l.GRU(2)])", "reset_after"),
    "unknown": ("return k.Sequential([k.Input((4,)), l.UnitNormalization()])", "Unknown layer: UnitNormalization"),
    "renamed": ("x = k.Input((4,)); return k.Model(x, {'p': l.Dense(2, name='first')(x)})", "layer 'first'"),
    "custom": ("return k.Sequential([k.Input((4,)), Scale()])", "Scale"),
    "nested": (
        "i = k.Sequential([k.Input((4,)), l.Dense(3)], name='inner'); x = k.Input((4,)); return k.Model(x, i(x))",
        "'inner'",
    ),
    "grouped": (
        "return k.Sequential([k.Input((6, 6, 4)), l.Conv2D(4, 3, groups=2)])",
        "Conv2D with filters=4, kernel_size=[3, 3], groups=2",
    ),
    "quantized": (
        "m = k.Sequential([k.Input((8,), name='x'), l.Dense(4, name='y')]); m.quantize('int8'); return m",
        "its weights are quantized",
    ),
    "activation": ("return k.Sequential([k.Input((4,)), l.Dense(2, activation='exponential')])", "xponential"),
}


@pytest.mark.parametrize(
    ("library", "lack"),
    [
        *(("keras", lack) for lack in LACKING),
        *(("tf_keras", lack) for lack in ("renamed", "custom", "grouped")),
    ],
)
def test_convert_is_unsupported_when_tensorflow_js_lacks_what_the_layers_need(
    make_sample: Callable[..., Sample], lack: str, library: str
) -> None:
    body, words = LACKING[lack]
    code = f"""
import {library} as k
l = k.layers

@k.saving.register_keras_serializable()
class Scale(l.Layer):
    def call(self, x):
        return 2.0 * x

def build():
    {body}
"""
    made = converted(make_sample(code, name=lack, targets={"tfjs": {}}), "tfjs", "layers")
    (row,) = made.check()
    assert row.status == "unsupported", row
    assert words in str(row.reason), row.reason
    assert "graph model" in str(row.reason)
    assert not list(made.root.rglob("model.json"))


def test_check_passes_when_a_model_is_pinned_to_a_gpu(tmp_path: Path) -> None:
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default(), tf.Session(config=tf.ConfigProto(allow_soft_placement=True)) as session:
        with tf.device("/gpu:0"):
            x = tf.placeholder(tf.float32, [None, 3], name="x")
            weight = tf.get_variable("weight", [3, 3], use_resource=False)
            y = tf.tanh(tf.matmul(x, weight))
        session.run(tf.global_variables_initializer())
        builder = tf.saved_model.Builder(str(tmp_path / "pinned"))
        definition = tf.saved_model.predict_signature_def({"In": x}, {"Out": y})
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map={"serving_default": definition})
        builder.save()
    sample = samples.build(without_config(tmp_path / "pinned"), tmp_path)
    (row,) = converted(sample, "tfjs", "graph").check()
    assert row.status == "passed", (row.reason, not_passed([row]))


def test_too_large_counts_the_variables_that_a_signature_uses(module_sample: Sample) -> None:
    definition = saved_model.read(module_sample.source.saved_model)
    needed = 4 * (4 * 5 + 5)
    assert graph_model.too_large(definition, "serving_default", needed) is None
    assert "split the model" in str(graph_model.too_large(definition, "serving_default", needed - 1))
    assert graph_model.too_large(definition, "summary", needed - 1) is None


COMPLEX = """
import tensorflow as tf

class Polar(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name=name) for name in ("x", "y")])
    def __call__(self, x, y):
        return {"length": tf.abs(tf.complex(x, y)), "sum": x + y}

def build():
    return Polar()
"""
"""Of which the wasm backend has no kernel for Complex."""


@pytest.fixture(scope="module")
def polar(make_sample: Callable[..., Sample]) -> Converted:
    """Its graph model."""
    every = ["node-cpu", "node-wasm", "chromium-webgl", "chromium-wasm", "chromium-cpu"]
    return converted(make_sample(COMPLEX, name="polar", targets={"tfjs": {"runtimes": every}}), "tfjs", "graph")


def test_check_passes_on_cpu_when_wasm_lacks_a_kernel(polar: Converted) -> None:
    (row,) = polar.check()
    assert row.status == "passed", not_passed([row])
    assert row.reason is None
    ran = [runtime.split() for runtime in row.runtimes()]
    assert [(words[0], words[-1]) for words in ran] == [("node", "cpu"), ("chromium", "webgl"), ("chromium", "cpu")]
    lacking = row.left_out()
    assert {(result.runtime.split()[0], result.runtime.split()[-1]) for result in lacking} == {
        ("node", "wasm"),
        ("chromium", "wasm"),
    }
    for result in lacking:
        assert (result.name, result.status, result.required) == ("runs", "not_run", False)
        assert "Kernel 'Complex'" in result.detail
        assert f"{result.runtime.split()[0]}-cpu" in result.detail


def test_check_fails_on_cpu_when_wasm_lacks_a_kernel_and_the_model_is_wrong(polar: Converted, tmp_path: Path) -> None:
    shutil.copytree(polar.root / "tfjs", tmp_path / "tfjs")
    artifacts = [moved(artifact, polar.root, tmp_path) for artifact in polar.conversion.artifacts]
    conversion = polar.conversion.model_copy(update={"artifacts": artifacts})

    def swap(model: Any) -> None:
        outputs = model["signature"]["outputs"]
        outputs["length"], outputs["sum"] = outputs["sum"], outputs["length"]

    edit(model_json(conversion, "serving_default"), swap)
    options = {"tfjs": tfjs.TfjsOptions()}
    sample = dataclasses.replace(polar.sample, spec=polar.sample.spec.model_copy(update={"targets": options}))
    (row,) = Converted(sample, conversion, tmp_path).check()
    assert row.status == "failed"
    failed = {result.runtime.split()[0]: result for result in row.checks if result.status == "failed"}
    assert failed.keys() == {"node", "chromium"}
    assert failed["node"].runtime.endswith(" cpu")


@pytest.mark.parametrize(
    ("runtimes", "words"),
    [
        (["node-cpu"], "chromium-webgl"),
        (["chromium-webgl"], "node-wasm"),
        ([], "node-wasm"),
        (["node-webgl", "chromium-cpu"], "node-cpu"),
    ],
)
def test_options_are_refused_when_a_program_has_no_runtime(runtimes: list[str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        tfjs.TfjsOptions.model_validate({"runtimes": runtimes})


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (
            {"runtimes": {"node-wasm": {}, "chromium-webgl": "some"}},
            "runtimes.chromium-webgl: give {} or all, not 'some'",
        ),
        ({"runtimes": {"node-wasm": None, "chromium-webgl": "all"}, "whole": []}, "'whole' and a mapping"),
        ({"runtimes": {"chromium-webgl": "all"}}, "none of them is Node's"),
    ],
)
def test_options_are_refused_when_a_mapping_of_runtimes_says_what_is_not_known(told: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        tfjs.TfjsOptions.model_validate(told)


def test_options_are_the_same_when_they_are_written_and_read_again() -> None:
    options = tfjs.TfjsOptions.model_validate({"runtimes": {"node-wasm": {}, "chromium-webgl": "all"}})
    assert options.asks_all_of("chromium-webgl")
    assert not options.asks_all_of("node-wasm")
    assert tfjs.TfjsOptions.model_validate_json(options.model_dump_json()) == options


FUSED = """
import tf_keras

def build():
    tf_keras.utils.set_random_seed(5)
    layers = tf_keras.layers
    image = layers.Input((5, 5, 2), name="image")
    random = dict(bias_initializer="random_normal")
    hidden = layers.Flatten()(layers.Conv2D(3, 3, activation="tanh", **random)(image))
    hidden = layers.Dense(5, activation="tanh", **random)(layers.Dense(5, activation="sigmoid", **random)(hidden))
    return tf_keras.Model(image, layers.Dense(2, name="y", **random)(hidden))
"""


def test_check_passes_when_activations_are_fused_that_tensorflow_js_does_not_fuse(
    make_sample: Callable[..., Sample],
) -> None:
    made = converted(make_sample(FUSED, name="fused", targets={"tfjs": {}}), "tfjs", "graph")
    ops = [node["op"] for node in json.loads(made.path.read_text())["modelTopology"]["node"]]
    assert ops.count("_FusedMatMul") == 3
    assert ops.count("Tanh") == 2
    (row,) = made.check()
    assert row.status == "passed", not_passed([row])
