"""A quantized graph model is the float one with weights rounded: right files pass, and each damage turns them red."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
from samples import Converted, Sample

from converters.contract.errors import Damaged
from converters.contract.soundness import Soundness
from converters.contract.values import Artifact, CheckResult, Prediction
from converters.processes import child
from converters.reference import golden
from converters.reference import sound as verdict
from converters.steps.judging import Judge
from converters.targets.tfjs import sound

pytestmark = [
    pytest.mark.usefixtures("kept_children"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # from TensorFlow's import
]

TWINS = """
import tf_keras

def build():
    tf_keras.utils.set_random_seed(3)
    layers = tf_keras.layers
    image = layers.Input((6, 6, 2), name="image")
    hidden = layers.Conv2D(4, 3, padding="same", activation="relu", bias_initializer="random_normal")(image)
    hidden = layers.BatchNormalization(gamma_initializer="random_normal")(hidden)
    other = layers.DepthwiseConv2D(3, padding="same", bias_initializer="random_normal")(hidden)
    rows = layers.Reshape((6, 24))(layers.Subtract()([hidden, other]))
    state = layers.GRU(4)(rows)
    state = layers.Concatenate()([state, layers.Flatten()(layers.MaxPooling2D(3)(other))])
    heads = [layers.Dense(3, bias_initializer="random_normal", name=name)(state) for name in ("left", "right")]
    return tf_keras.Model(image, heads)
"""
"""Convolutions that become one node with batch normalisation, a loop in functions, and two outputs that are alike."""
KEY = "serving_default"
VARIANTS = ("graph-uint8", "graph-float16")


@pytest.fixture(scope="module")
def twins(make_sample: Callable[..., Sample]) -> Sample:
    return make_sample(TWINS, name="twins", golden={"samples": 3}, targets={"tfjs": {"variants": VARIANTS}})


@pytest.fixture(scope="module")
def files(twins: Sample) -> dict[str, Converted]:
    return {variant: samples.converted(twins, "tfjs", variant) for variant in (*VARIANTS, "graph")}


def found(sample: Sample, path: Path) -> Soundness:
    """What the target says of a file, in a child that stays."""
    artifact = Artifact(target="tfjs", variant="graph-uint8", signature=KEY, path=path)
    inputs = sample.golden.cases[KEY][0].inputs
    return child.run(sound.soundness, artifact, sample.source.saved_model, inputs).value


def failed(soundness: Soundness) -> list[CheckResult]:
    return [finding for finding in verdict.check(soundness, "tfjs") if finding.status != "passed"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_check_passes_when_weights_are_rounded(files: dict[str, Converted], variant: str) -> None:
    (row,) = files[variant].check()
    sounded = [check for check in row.checks if check.name == "sound"]
    assert [check.status for check in sounded] == ["passed"] * (2 + len(row.runtimes())), sounded
    weights, live, *runtimes = sounded
    assert 0.3 < (weights.measured or 0) <= 0.5001
    assert "graph against the live model" in live.detail
    assert {check.runtime.partition(" ")[0] for check in runtimes} == {"node", "chromium"}
    assert all(check.measured is not None and check.measured < 1e-5 for check in (live, *runtimes))


Change = Callable[[Any], Any]


def node(model: Any, op: str, number: int = 0) -> Any:
    """A node of that op, those of functions' bodies last."""
    functions = model["modelTopology"]["library"]["function"]
    nodes = [*model["modelTopology"]["node"], *(node for each in functions for node in each["nodeDef"])]
    return [node for node in nodes if node["op"] == op][number]


def attribute(op: str, name: str, **value: Any) -> Change:
    return lambda model: node(model, op)["attr"][name].update(value)


def swap(entries: Any, one: Any, two: Any, key: str | None = None) -> None:
    if key is not None:
        entries[one][key], entries[two][key] = entries[two][key], entries[one][key]
    else:
        entries[one], entries[two] = entries[two], entries[one]


def drop(model: Any, op: str) -> None:
    """Take a node out: what read it reads its first input."""
    gone = node(model, op)
    for each in model["modelTopology"]["node"]:
        each["input"] = [gone["input"][0] if name == gone["name"] else name for name in each.get("input", [])]
    model["modelTopology"]["node"].remove(gone)


def alike(model: Any) -> list[Any]:
    """Two weights of the same shape: the heads'."""
    weights = model["weightsManifest"][0]["weights"]
    return [weight for weight in weights if weight["shape"] and weight["shape"][-1] == 3 and len(weight["shape"]) == 2]


def quantized(model: Any) -> Any:
    """The grid of the first weight that is no single number."""
    weights = model["weightsManifest"][0]["weights"]
    return next(w["quantization"] for w in weights if w["shape"] and "scale" in w.get("quantization", {}))


DAMAGE: dict[str, tuple[str, Change]] = {
    "scale": ("steps", lambda model: quantized(model).update(scale=quantized(model)["scale"] * 1.01)),
    "minimum": (
        "steps",
        lambda model: quantized(model).update(min=quantized(model)["min"] + quantized(model)["scale"]),
    ),
    "weights swapped": ("steps", lambda model: swap(alike(model), 0, 1, "name")),
    "stride": ("strides", attribute("_FusedConv2D", "strides", list={"i": ["1", "2", "2", "1"]})),
    "padding": ("padding", attribute("FusedDepthwiseConv2dNative", "padding", s="VkFMSUQ=")),
    "operands": ("node", lambda model: swap(node(model, "Sub")["input"], 0, 1)),
    "op": ("the op", lambda model: node(model, "Sub").update(op="AddV2")),
    "in a loop": ("Tanh", lambda model: node(model, "Tanh").update(op="Relu")),
    "node dropped": ("node", lambda model: drop(model, "MaxPool")),
    "input missing": ("no node", lambda model: node(model, "MaxPool")["input"].__setitem__(0, "nowhere")),
    "outputs swapped": ("steps", lambda model: swap(model["signature"]["outputs"], "left", "right")),
    "output rewired": (
        "steps",
        lambda model: model["signature"]["outputs"]["left"].update(name=model["signature"]["outputs"]["right"]["name"]),
    ),
    "input rewired": (
        "input|image",
        lambda model: model["signature"]["inputs"]["image"].update(name=node(model, "Sub")["name"] + ":0"),
    ),
    "dtype": ("'image'", lambda model: model["signature"]["inputs"]["image"].update(dtype="DT_INT32")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_soundness_fails_when_model_json_is_another(
    twins: Sample, files: dict[str, Converted], tmp_path: Path, damage: str
) -> None:
    path = files["graph-uint8"].copy(tmp_path).path
    model = json.loads(path.read_text())
    words, change = DAMAGE[damage]
    change(model)
    path.write_text(json.dumps(model))
    soundness = found(twins, path)
    details = " ".join(finding.detail for finding in failed(soundness))
    assert any(word in details for word in words.split("|")), details
    assert soundness.twin is None


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("bit", [0x01, 0x20])
def test_soundness_fails_when_a_bit_of_a_weight_is_flipped(
    twins: Sample, files: dict[str, Converted], tmp_path: Path, variant: str, bit: int
) -> None:
    path = files[variant].copy(tmp_path).path
    (shard,) = path.parent.glob("*.bin")
    content = bytearray(shard.read_bytes())
    model = json.loads(path.read_text())
    offset = 0
    for weight in model["weightsManifest"][0]["weights"]:
        dtype = np.dtype(weight.get("quantization", weight)["dtype"])
        if weight is alike(model)[0]:
            break
        offset += int(np.prod(weight["shape"], dtype=np.int64)) * dtype.itemsize
    content[offset] ^= bit
    shard.write_bytes(content)
    (finding,) = failed(found(twins, path))
    assert alike(model)[0]["name"] in finding.detail


def test_soundness_holds_when_the_float_graph_beside_is_damaged(
    twins: Sample, files: dict[str, Converted], tmp_path: Path
) -> None:
    path = files["graph-uint8"].copy(tmp_path).path
    beside = path.parents[2] / "graph" / KEY
    shutil.copytree(files["graph"].path.parent, beside)
    assert failed(found(twins, path)) == []
    shutil.copy(beside / "model.json", tmp_path / "whole.json")
    for text in ("{", '{"modelTopology": {}, "weightsManifest": [], "signature": {}}'):
        (beside / "model.json").write_text(text)
        assert failed(found(twins, path)) == []
    shutil.copy(tmp_path / "whole.json", beside / "model.json")
    (shard,) = beside.glob("*.bin")
    shard.write_bytes(shard.read_bytes()[::-1])
    soundness = found(twins, path)
    assert failed(soundness) == []
    assert soundness.model is not None


def test_soundness_raises_damaged_when_a_weight_is_not_listed(
    twins: Sample, files: dict[str, Converted], tmp_path: Path
) -> None:
    path = files["graph-uint8"].copy(tmp_path).path
    model = json.loads(path.read_text())
    model["weightsManifest"][0]["weights"].pop()
    path.write_text(json.dumps(model))
    with pytest.raises(Damaged):
        found(twins, path)


def test_judge_finds_a_runtime_that_dequantizes_wrongly(twins: Sample, files: dict[str, Converted]) -> None:
    artifact = files["graph-uint8"].conversion.artifacts[0]
    soundness = found(twins, files["graph-uint8"].path)
    assert soundness.twin is not None
    assert soundness.model is not None
    unit = samples.unit_of(twins, "tfjs", "graph-uint8", files["graph-uint8"].root)
    judge = Judge(unit, golden.load(twins.source.golden), None)

    def statuses(returned: Prediction, said: Soundness = soundness) -> list[str]:
        return [finding.status for finding in judge.lossless(artifact, said, [returned])]

    assert statuses(soundness.twin) == ["passed", "passed"]
    assert statuses(soundness.model) == ["passed", "failed"]  # as if weights had not been rounded
    wrong = soundness.model_copy(update={"model": soundness.twin})  # a float graph that is not the model
    assert statuses(soundness.twin, wrong) == ["failed", "passed"]


TABLES = """
import tensorflow as tf

class Tables(tf.Module):
    def __init__(self):
        super().__init__()
        self.weight = tf.Variable(tf.random.stateless_normal([10, 3], [1, 2]))
        words = tf.constant(["a", "b", "c"])
        self.index = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(words, tf.range(3)), 9)
        numbers = tf.constant([2.0, 3.0, 4.0])
        self.factor = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(words, numbers), 0.5)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def __call__(self, word):
        return {"scores": tf.gather(self.weight, self.index.lookup(word)) * self.factor.lookup(word)[:, None]}

def build():
    return Tables()
"""


def test_soundness_tells_tables_apart(make_sample: Callable[..., Sample], tmp_path: Path) -> None:
    fields = {"golden": {"inputs": {"word": {"values": ["a", "b", "c", "d"]}}}, "targets": {"tfjs": {}}}
    sample = make_sample(TABLES, name="tables", **fields)
    made = samples.converted(sample, "tfjs", "graph-float16")
    assert failed(found(sample, made.path)) == []
    path = made.copy(tmp_path).path
    model = json.loads(path.read_text())
    tables = model["initializerSignature"]["outputs"]
    swap(tables, *tables, "resourceId")
    path.write_text(json.dumps(model))
    assert failed(found(sample, path)) != []


MASKED = """
import tensorflow as tf

class Masked(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="signal")])
    def __call__(self, signal):
        return {"share": tf.nn.softmax(signal * 0.3 - 1e9 * tf.cast(signal < 0, tf.float32))}

def build():
    return Masked()
"""


def test_convert_leaves_a_weight_as_it_is_when_float16_cannot_hold_it(make_sample: Callable[..., Sample]) -> None:
    sample = make_sample(MASKED, name="masked", targets={"tfjs": {}})
    path = samples.converted(sample, "tfjs", "graph-float16").path
    weights = json.loads(path.read_text())["weightsManifest"][0]["weights"]
    assert sorted("quantization" in weight for weight in weights if weight["dtype"] == "float32") == [False, True, True]
    soundness = found(sample, path)
    assert failed(soundness) == []
    assert soundness.twin is not None
    assert np.isfinite(soundness.twin.outputs[0]["share"]).all()
