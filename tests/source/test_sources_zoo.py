"""Whatever a user brings becomes a source: the live model computes golden, and TF Serving's own loader agrees."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
import zoo_sources
from samples import Sample

from converters.config import read
from converters.config.asked import Asked
from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput
from converters.processes.child import run
from converters.reference import golden
from converters.source.build import Built
from converters.source.builder import Builder

pytestmark = pytest.mark.usefixtures("kept_children")

Make = Callable[..., Sample]
MakeSpec = Callable[..., ModelSpec]


def given(tmp_path: Path, write: Callable[..., None], *arguments: Any) -> ModelSpec:
    """The spec of a SavedModel that a child process writes, named by its path."""
    run(write, tmp_path / "given", *arguments)
    return read.find(str(tmp_path / "given"))


def only_build(model: ModelSpec, folder: Path) -> Built:
    """Build without exporting."""
    with Builder(model, folder, folder) as builder:
        return builder.build().value


def assert_served(sample: Sample, *keys: str) -> None:
    """The C loader returns golden's outputs for each of these signatures, and golden's outputs vary."""
    rows = samples.converted(sample, "saved_model").check()
    assert [(row.signature, row.status, samples.not_passed([row])) for row in rows] == [
        (key, "passed", []) for key in sorted(keys)
    ]


def inputs_of(sample: Sample, key: str = "serving_default") -> dict[str, np.ndarray[Any, Any]]:
    """The inputs of golden's first call."""
    return sample.golden.cases[key][0].inputs


@pytest.mark.parametrize("scalar", [False, True], ids=["batch", "single"])
def test_build_draws_examples_when_signatures_parse_them(tmp_path: Path, given_sample: Make, scalar: bool) -> None:
    sample = given_sample(zoo_sources.estimator, *[True] * scalar)
    assert_served(sample, "serving_default", "classify", "regress")
    parsed = run(zoo_sources.features_of, [case.inputs for case in sample.golden.cases["regress"]]).value
    assert {name for features in parsed for name in features} == {"x", "scale", "colour", "ids"}
    assert {i for features in parsed for i in features["ids"]} == {0, 1, 2}
    assert {len(features["x"]) for features in parsed} == {4}
    assert {features["colour"][0] for features in parsed} <= {b"red", b"green", b"blue", b"unheard"}
    again = samples.build(sample.spec, _made(tmp_path / "again"))
    np.testing.assert_array_equal(inputs_of(again, "regress")["inputs"], inputs_of(sample, "regress")["inputs"])


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_build_draws_examples_when_the_op_is_the_first_parse_example(given_sample: Make) -> None:
    sample = given_sample(zoo_sources.old_parser)
    assert_served(sample, "serving_default")
    parsed = run(zoo_sources.features_of, [case.inputs for case in sample.golden.cases["serving_default"]]).value
    assert {name for features in parsed for name in features} == {"x", "n", "ids"}
    assert {features["n"][0] for features in parsed} == {0, 1}


PARSING = """
import tensorflow as tf

class Parsing(tf.Module):
    def __init__(self):
        super().__init__()
        self.table = tf.Variable([[1.0], [2.0], [4.0]])

    @tf.function
    def inner(self, serialized):
        return tf.io.parse_example(serialized, {
            "x": tf.io.FixedLenFeature([3], tf.float32),
            "ragged": tf.io.RaggedFeature(tf.int64),
            "flags": tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
        })

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def many(self, examples):
        parsed = self.inner(examples)
        picked = tf.reduce_sum(tf.gather(self.table, parsed["ragged"]).to_tensor(), axis=[1, 2])
        return {"y": tf.reduce_sum(parsed["x"], axis=1) + picked + tf.reduce_sum(tf.cast(parsed["flags"], tf.float32), 1)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="example")])
    def one(self, example):
        parsed = tf.io.parse_single_example(example, {"x": tf.io.FixedLenFeature([3], tf.float32)})
        return {"y": 2.0 * parsed["x"]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def mapped(self, examples):
        features = {"i": tf.io.FixedLenFeature([], tf.int64)}
        def row(text):
            return tf.gather(self.table, tf.io.parse_single_example(text, features)["i"])
        return {"y": tf.map_fn(row, examples, fn_output_signature=tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="bytes")])
    def image(self, bytes):
        def small(text):
            return tf.image.resize(tf.io.decode_jpeg(text, channels=3), [4, 4])
        return {"y": tf.reduce_mean(tf.map_fn(small, bytes, fn_output_signature=tf.float32), axis=[1, 2])}

def build():
    return Parsing()
"""


def test_build_draws_examples_when_functions_parse_them(make_sample: Make) -> None:
    sample = make_sample(PARSING)
    assert_served(sample, "many", "one", "mapped", "image")


def test_build_draws_examples_when_an_exported_function_parses_them(make_sample: Make, tmp_path: Path) -> None:
    exported = make_sample(PARSING).source.saved_model
    sample = samples.build(read.find(str(shutil.copytree(exported, tmp_path / "given"))), tmp_path)
    assert_served(sample, "many", "one", "mapped", "image")


SEQUENCES = """
import tensorflow as tf

class Sequences(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def __call__(self, examples):
        features = {"x": tf.io.FixedLenSequenceFeature([2], tf.float32)}
        return {"y": tf.io.parse_sequence_example(examples, sequence_features=features)[1]["x"]}

def build():
    return Sequences()
"""


def test_build_refuses_when_sequence_examples_are_parsed(make_spec: MakeSpec, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"tf\.SequenceExample protos, which are not drawn; give 'golden\.data'"):
        only_build(make_spec(SEQUENCES), tmp_path)


INDICES = """
import tensorflow as tf

class Indices(tf.Module):
    def __init__(self):
        super().__init__()
        self.many = tf.Variable(tf.random.stateless_normal([300, 4], [1, 2]))
        self.few = tf.Variable(tf.random.stateless_normal([3, 4], [1, 2]))
        self.words = tf.lookup.StaticVocabularyTable(
            tf.lookup.KeyValueTensorInitializer(["ant", "bee"], tf.constant([0, 1], tf.int64)), 1)
        self.numbers = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.constant([501, 777], tf.int64), tf.constant([1.5, -2.5])), 0.0)

    @tf.function
    def inner(self, i):
        return tf.gather(self.many, tf.reshape(i, [-1]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="i")])
    def large(self, i):
        return {"v": self.inner(i)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.int32, name="i")])
    def small(self, i):
        return {"v": tf.gather(self.few, tf.cast(i, tf.int64)), "again": tf.gather(self.many, i)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="i")])
    def cast(self, i):
        return {"v": tf.gather(self.few, tf.cast(i, tf.int32))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="i")])
    def hot(self, i):
        return {"v": tf.one_hot(i, 4)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="i")])
    def word(self, i):
        return {"v": tf.gather(self.few, self.words.lookup(tf.strings.lower(i)))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="i")])
    def number(self, i):
        return {"v": self.numbers.lookup(i)}

def build():
    return Indices()
"""
RANGES: dict[str, tuple[set[Any], int]] = {
    "large": (set(range(300)), 11),
    "small": ({0, 1, 2}, 3),
    "cast": ({0, 1, 2}, 3),
    "hot": ({0, 1, 2, 3}, 4),
    "word": ({b"ant", b"bee", b"unheard"}, 3),
    "number": ({501, 777, 778}, 3),
}
"""Signature -> the elements its input may have, and how many of them golden must hold at least."""


@pytest.mark.parametrize("exported", [False, True], ids=["live", "exported"])
def test_build_draws_within_tables_when_inputs_index_them(make_sample: Make, tmp_path: Path, exported: bool) -> None:
    sample = make_sample(INDICES)
    if exported:
        copied = shutil.copytree(sample.source.saved_model, tmp_path / "given")
        sample = samples.build(read.find(str(copied)), tmp_path)
    for key, (allowed, distinct) in RANGES.items():
        drawn = set(inputs_of(sample, key)["i"].ravel().tolist())
        assert drawn <= allowed, key
        assert len(drawn) >= distinct, key
    assert_served(sample, *RANGES)


def test_build_keeps_to_the_config_when_it_says_how_to_draw(make_sample: Make) -> None:
    sample = make_sample(INDICES, golden={"inputs": {"i": {"values": [1, 2]}}}, signatures={"large": "large"})
    assert set(inputs_of(sample, "large")["i"].tolist()) == {1, 2}


def test_build_draws_words_when_a_vocabulary_is_an_asset(given_sample: Make) -> None:
    sample = given_sample(zoo_sources.vocabulary_file)
    # An unknown word has no row in the embedding, so that a draw with one is given up.
    assert set(inputs_of(sample)["animal"].tolist()) == {b"cat", b"dog", b"owl", b"fox"}
    assert (sample.source.saved_model / "assets.extra" / "notes.txt").read_text() == "kept"
    assert_served(sample, "serving_default")


DIMENSIONS = """
import tensorflow as tf

class Dimensions(tf.Module):
    @tf.function(input_signature=[
        tf.TensorSpec([None, None], tf.float32, name="a"), tf.TensorSpec([None, None], tf.float32, name="b")])
    def shared(self, a, b):
        tf.debugging.assert_equal(tf.shape(a)[1], 32)
        return {"y": a * b}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, name="image")])
    def pooled(self, image):
        y = tf.nn.max_pool2d(image, 12, 12, "VALID")
        return {"y": tf.reduce_mean(y, axis=[1, 2, 3]), "rows": y}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def alone(self, x):
        return {"y": tf.ensure_shape(x, [1, 3]) + 1.0}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="u")])
    def ranks(self, u):
        return {"y": tf.ensure_shape(u, [None, None, None, 3])}

def build():
    return Dimensions()
"""


def test_build_finds_sizes_when_the_model_cannot_take_the_first(make_sample: Make) -> None:
    sample = make_sample(DIMENSIONS, golden={"samples": 16})
    shapes = {key: [[v.shape for v in case.inputs.values()] for case in c] for key, c in sample.golden.cases.items()}
    assert shapes["shared"] == [[(16, 32), (16, 32)], [(1, 32), (1, 32)]]
    assert shapes["pooled"] == [[(16, 16, 16, 1)], [(2, 91, 113, 1)], [(1, 16, 16, 1)]]
    assert shapes["alone"] == [[(1, 3)]] * 16
    assert shapes["ranks"][0] == [(8, 8, 8, 3)]
    assert_served(sample, "shared", "pooled", "alone", "ranks")


def test_build_asks_for_a_shape_when_no_size_will_do(make_spec: MakeSpec, tmp_path: Path) -> None:
    code = DIMENSIONS.replace("tf.shape(a)[1], 32", "tf.shape(a)[1], 37")
    words = r"signatures\.shared: .*\(tried sizes 1, 8, 16, 32, 64, 224\); give the shape of 'a', 'b' under 'golden\.inputs'"
    with pytest.raises(BadInput, match=words):
        only_build(make_spec(code, signatures={"shared": "shared"}), tmp_path)
    shape = {"shape": [37]}
    only_build(make_spec(code, signatures={"shared": "shared"}, golden={"inputs": {"a": shape, "b": shape}}), tmp_path)


FLAT = """
import tensorflow as tf

class Flat(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def log(self, x):
        return {"y": tf.math.log(x)}

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 3], tf.float32, name="image")])
    def dim(self, image):
        return {"y": 1.0 + tf.reduce_mean(tf.nn.relu(image - 5.0), axis=[1, 2])}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def dead(self, x):
        return {"y": 1.0 + 0.0 * x}

def build():
    return Flat()
"""


def test_build_tries_other_inputs_when_outputs_are_alike_or_not_finite(make_sample: Make) -> None:
    sample = make_sample(FLAT)
    assert all(np.isfinite(case.outputs["y"]).all() for case in sample.golden.cases["log"])
    lit = sample.golden.cases["dim"][0].outputs["y"]
    assert lit.max() / lit.min() > 1.2
    rows = {row.signature: row for row in samples.converted(sample, "saved_model").check()}
    assert {key: row.status for key, row in rows.items()} == {"log": "passed", "dim": "passed", "dead": "failed"}
    assert [check.name for check in samples.not_passed([rows["dead"]])] == ["varies"]


def test_build_writes_calibration_data_when_none_is_given(keras_sample: Sample) -> None:
    assert keras_sample.source.representative is not None
    (case,) = golden.load(keras_sample.source.representative).cases["serving_default"]
    # Golden's own, so that none of them lies beyond the calibrated ranges, and 64 others.
    drawn = {row.tobytes() for call in keras_sample.golden.cases["serving_default"] for row in call.inputs["features"]}
    calibrated = {row.tobytes() for row in case.inputs["features"]}
    assert calibrated > drawn
    assert len(calibrated) == 64 + len(drawn)


@pytest.mark.parametrize("library", ["tf_keras", "keras"])
def test_build_draws_every_index_when_keras_embeds_them(make_sample: Make, library: str) -> None:
    sample = make_sample(zoo_sources.keras_builder("recurrent", library))
    (case,) = golden.load(sample.source.representative or Path()).cases["serving_default"]
    assert set(case.inputs["tokens"].ravel().tolist()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("library", ["tf_keras", "keras"])
@pytest.mark.parametrize(("kind", "layer"), [("sparse", "Dense(2)"), ("ragged", "Activation('relu')")])
def test_build_refuses_when_a_keras_input_is_no_dense_tensor(
    make_spec: MakeSpec, tmp_path: Path, library: str, kind: str, layer: str
) -> None:
    code = f"""
import {library} as keras

def build():
    x = keras.Input((4,), name="x", {kind}=True)
    return keras.Model(x, keras.layers.{layer}(x))
"""
    with pytest.raises(BadInput, match="input layer 'x' is sparse or ragged, and signatures take dense tensors"):
        only_build(make_spec(code), tmp_path)


def test_build_refuses_when_an_output_is_no_dense_tensor(make_spec: MakeSpec, tmp_path: Path) -> None:
    code = FLAT.replace('{"y": tf.math.log(x)}', '{"y": tf.RaggedTensor.from_row_lengths(x, [1, 2])}')
    with pytest.raises(BadInput, match=r"signatures\.log: output 'y' is RaggedTensor; return dense tensors"):
        only_build(make_spec(code, signatures={"log": "log"}), tmp_path)


NAMED = """
import tensorflow as tf

class Named(tf.Module):
    @tf.function(input_signature=[
        tf.TensorSpec([None], tf.float32{first}), tf.TensorSpec([None], tf.float32, name="alpha-2.b")])
    def __call__(self, Zeta, beta):
        return {"Sum": Zeta + 2.0 * beta}

def build():
    return Named()
"""


@pytest.mark.parametrize(("name", "kept"), [("Zeta", "Zeta"), ("deep/Zeta_1", "deep/Zeta_1"), (None, "Zeta")])
def test_export_keeps_names_when_they_are_unusual(make_sample: Make, name: str | None, kept: str) -> None:
    sample = make_sample(NAMED.replace("{first}", f", name={name!r}" if name else ""))
    signature = sample.source.signatures["serving_default"]
    assert (set(signature.inputs), set(signature.outputs)) == ({kept, "alpha-2.b"}, {"Sum"})
    assert_served(sample, "serving_default")


@pytest.mark.parametrize("name", ["a b", "é", "_x", "x:0"])
def test_build_refuses_when_tensorflow_cannot_export_a_name(make_spec: MakeSpec, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=rf"signatures\.serving_default: .* input named {name!r}; use letters"):
        only_build(make_spec(NAMED.replace("{first}", f", name={name!r}")), tmp_path)


def test_build_takes_the_serving_tag_set_when_there_are_several(given_sample: Make) -> None:
    assert_served(given_sample(zoo_sources.dense, ("train",), ("serve",), ("serve", "gpu")), "serving_default")


def test_export_makes_a_plain_tag_set_when_there_is_none(given_sample: Make) -> None:
    assert_served(given_sample(zoo_sources.dense, ("train",), ("serve", "gpu")), "serving_default")


def test_build_names_the_tag_sets_when_none_serves(tmp_path: Path) -> None:
    model = given(tmp_path, zoo_sources.dense, ("train",), ("eval", "gpu"))
    with pytest.raises(BadInput, match=r"has no tag-set with 'serve'; it has \{train\}, \{eval,gpu\}; name one"):
        only_build(model, tmp_path)
    with pytest.raises(BadInput, match=r"has no tag-set \{gpu\}; it has \{train\}, \{eval,gpu\}"):
        only_build(Asked(tags="gpu").of(model), tmp_path)


def test_build_takes_the_tag_set_that_is_named(tmp_path: Path) -> None:
    model = given(tmp_path, zoo_sources.dense, ("train",), ("eval", "gpu"))
    sample = samples.build(Asked(tags="gpu, eval").of(model), _made(tmp_path / "built"))
    assert_served(sample, "serving_default")
    assert "became {serve}, which runtimes load" in "".join(sample.source.notes)


def test_export_keeps_one_name_when_a_signature_has_two_for_one_tensor(given_sample: Make) -> None:
    sample = given_sample(zoo_sources.two_names)
    signature = sample.source.signatures["serving_default"]
    assert (list(signature.inputs), sorted(signature.outputs)) == (["x"], ["y", "z"])
    assert "input 'also' of 'serving_default' is the same tensor as 'x', and was left out" in sample.source.notes
    assert_served(sample, "serving_default")
    for target, variant in (("tflite", "float32"), ("tfjs", "graph")):
        rows = samples.converted(sample, target, variant).check()
        assert [(row.status, row.reason) for row in rows] == [("passed", "; ".join(sample.source.notes))], rows


def test_build_draws_examples_whose_ids_and_weights_belong_together(given_sample: Make) -> None:
    assert_served(given_sample(zoo_sources.weighted), "serving_default")


def test_build_leaves_a_signature_out_when_it_takes_a_sparse_tensor(tmp_path: Path, given_sample: Make) -> None:
    sample = given_sample(zoo_sources.sparse)
    assert sample.source.signatures.keys() == {"dense"}
    assert sample.source.refused.keys() == {"sparse"}
    assert "'given' is a sparse or composite tensor" in sample.source.refused["sparse"]
    rows = samples.converted(sample, "saved_model").check()
    assert {row.signature: row.status for row in rows} == {"dense": "passed", "sparse": "unsupported"}
    chosen = ModelSpec.model_validate({"name": "m", "model": sample.spec.model, "signatures": {"sparse": "sparse"}})
    with pytest.raises(BadInput, match=r"signatures\.sparse: .*'given' is a sparse or composite tensor"):
        only_build(chosen, tmp_path)


@pytest.mark.parametrize(
    ("write", "more", "words"),
    [
        (zoo_sources.sparse, [True], "no signatures that can be taken; .*'sparse' is left out: 'given' is a"),
        (zoo_sources.unsigned, [], r"has no signatures; export it with tf\.saved_model\.save"),
    ],
    ids=["sparse", "none"],
)
def test_build_refuses_when_no_signature_can_be_taken(
    tmp_path: Path, write: Callable[..., None], more: list[bool], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        only_build(given(tmp_path, write, *more), tmp_path)


DAMAGES: dict[str, tuple[str, int | None, str]] = {
    "graph cut": ("saved_model.pb", 300, "cannot be read as a SavedModel|has no tag-set"),
    "graph empty": ("saved_model.pb", 0, "saved_model.pb is empty"),
    "index missing": ("variables/variables.index", None, "variables/variables.index is missing"),
    "index empty": ("variables/variables.index", 0, "variables.index is empty"),
    "index cut": ("variables/variables.index", 20, "cannot be loaded: "),
    "values missing": ("variables/variables.data-00000-of-00001", None, "cannot be loaded: "),
    "values cut": ("variables/variables.data-00000-of-00001", 8, "cannot be loaded: "),
}


@pytest.mark.parametrize("what", list(DAMAGES))
@pytest.mark.parametrize("era", ["first", "second"])
def test_build_raises_bad_input_when_a_saved_model_is_damaged(
    module_sample: Sample, tmp_path: Path, what: str, era: str
) -> None:
    if era == "first":
        run(zoo_sources.dense, tmp_path / "given")
    else:
        shutil.copytree(module_sample.source.saved_model, tmp_path / "given")
    name, size, words = DAMAGES[what]
    path = tmp_path / "given" / name
    if size is None:
        path.unlink()
    else:
        os.truncate(path, size)
    with pytest.raises(BadInput, match=words):
        only_build(read.find(str(tmp_path / "given")), tmp_path)
