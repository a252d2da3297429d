"""Models of many kinds for the tests of sources: builders as text, and TF 1 SavedModels written by child processes."""

from pathlib import Path
from typing import Any

import numpy as np

KERAS_MODELS = {
    "sequential": (
        """
    return keras.Sequential([keras.Input((6,), name="x"), layers.Dense(4, "tanh"), layers.Dense(3, name="y")])
""",
        ("x",),
        ("y",),
    ),
    "normalised": (
        """
    x = keras.Input((5, 5, 2), name="Image_In")
    y = layers.BatchNormalization()(layers.Conv2D(3, 3, activation="relu")(x))
    return keras.Model(x, layers.Dense(2, name="Out")(layers.GlobalAveragePooling2D()(y)))
""",
        ("Image_In",),
        ("Out",),
    ),
    "recurrent": (
        """
    x = keras.Input((7,), dtype="int32", name="tokens")
    e = layers.Embedding(5, 4, embeddings_initializer="orthogonal")(x)
    outputs = {"long": layers.LSTM(3)(e), "gated": layers.GRU(2)(e)}
    return keras.Model(x, outputs)
""",
        ("tokens",),
        ("long", "gated"),
    ),
    "nested": (
        """
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, "tanh"), layers.Dense(3)], name="inner")
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    shared = layers.Dense(2, name="shared")
    joined = layers.Concatenate()([shared(inner(left)), shared(inner(right))])
    return keras.Model({"left": left, "right": right}, [layers.Dense(1, name="a")(joined), shared(inner(left))])
""",
        ("left", "right"),
        ("a", "shared"),
    ),
    "text": (
        """
    words = keras.Input((), dtype="string", name="sentence")
    vectorise = layers.TextVectorization(output_sequence_length=4, vocabulary=["red", "green", "blue", "warm", "cold"])
    x = layers.Embedding(7, 3)(vectorise(words))
    return keras.Model(words, layers.Dense(2, name="score")(layers.Flatten()(x)))
""",
        ("sentence",),
        ("score",),
    ),
    "lookup": (
        """
    words, size = keras.Input((1,), dtype="string", name="word"), keras.Input((2,), name="size")
    index = layers.StringLookup(vocabulary=["red", "green", "blue"])(words)
    scaled = layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0])(size)
    e = layers.Flatten()(layers.Embedding(4, 3)(index))
    return keras.Model([words, size], layers.Dense(2, name="score")(layers.Concatenate()([e, scaled])))
""",
        ("word", "size"),
        ("score",),
    ),
    "custom": (
        """
    x = keras.Input((3,), name="x")
    return keras.Model(x, Scale(name="scaled")(layers.Dense(2)(x)))
""",
        ("x",),
        ("scaled",),
    ),
    "mixed": (
        """
    keras.mixed_precision.set_global_policy("mixed_float16")
    x = keras.Input((6,), name="x")
    model = keras.Model(x, layers.Dense(2, dtype="float32", name="y")(layers.Dense(8, "relu")(x)))
    keras.mixed_precision.set_global_policy("float32")
    return model
""",
        ("x",),
        ("y",),
    ),
    "subclassed": (
        """
    model = Net()
    model({"first": tf.zeros([1, 3]), "second": tf.zeros([1, 2])})
    return model
""",
        ("first", "second"),
        ("sum", "twice"),
    ),
}
"""Name -> the body of a builder after `layers` is bound, its inputs' names, its outputs' names."""

SIGNALS = """
import numpy as np
import tensorflow as tf

class Signals(tf.Module):
    def __init__(self):
        super().__init__()
        self.weight = tf.Variable(np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="signal")])
    def project(self, signal):
        return {"projected": tf.tanh(signal @ self.weight), "energy": tf.reduce_sum(signal**2, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32, name="matrix")])
    def determinant(self, matrix):
        square = tf.reshape(matrix, [-1, 4, 4])
        return {"determinant": tf.linalg.det(square), "mean": tf.reduce_mean(matrix, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def clean(self, text):
        return {"stripped": tf.strings.strip(text)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def shout(self, text):
        return {"upper": tf.strings.upper(text)}

def build():
    return Signals()
"""
"""A tf.Module with a signature of built-in ops, two with an op that TF Lite has only as a select op, and one that it has not."""

PREAMBLE = """
import tensorflow as tf
import {library} as keras

layers = keras.layers

@keras.saving.register_keras_serializable("zoo")
class Scale(layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(name="factor", shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return self.factor * x * 3.0

@keras.saving.register_keras_serializable("zoo")
class Net(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.a, self.b = layers.Dense(2), layers.Dense(2)

    def call(self, inputs):
        total = self.a(inputs["first"]) + self.b(inputs["second"])
        return {"sum": total, "twice": 2.0 * inputs["first"]}

def build():
    keras.utils.set_random_seed(3)
"""


def keras_builder(name: str, library: str) -> str:
    """The builder's text for tf_keras or keras."""
    return PREAMBLE.replace("{library}", library) + KERAS_MODELS[name][0].lstrip("\n")


def _saved(
    folder: Path, write: Any, tags: tuple[tuple[str, ...], ...] = (("serve",),), soft_placement: bool = False
) -> None:
    """Run `write()`, which returns signatures, in a TF 1 session, and save what it made below `folder`."""
    import tensorflow as tf

    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(str(folder))
    config = v1.ConfigProto(allow_soft_placement=soft_placement)
    with v1.Session(graph=tf.Graph(), config=config) as session:
        signatures = write(v1)
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder.add_meta_graph_and_variables(
            session,
            tags[0],
            signature_def_map=signatures,
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
        )
        for others in tags[1:]:
            builder.add_meta_graph(others, signature_def_map=signatures)
        builder.save()


def _weights(v1: Any, shape: tuple[int, ...], reference: bool = True) -> Any:
    value = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return v1.get_variable("w", initializer=value, use_resource=not reference)


def estimator(folder: Path, scalar: bool = False) -> None:
    """Predict, classify and regress on serialized tf.Examples, with reference variables and every kind of feature."""
    import tensorflow as tf

    def write(v1: Any) -> dict[str, Any]:
        serialized = v1.placeholder(tf.string, [] if scalar else [None], name="examples")
        features = {
            "x": v1.io.FixedLenFeature([4], tf.float32),
            "scale": v1.io.FixedLenFeature([], tf.float32, default_value=1.0),
            "colour": v1.io.FixedLenFeature([1], tf.string, default_value="red"),
            "ids": v1.io.VarLenFeature(tf.int64),
        }
        parse = v1.io.parse_single_example if scalar else v1.io.parse_example
        parsed = parse(serialized, features)
        keys = v1.lookup.KeyValueTensorInitializer(["red", "green", "blue"], tf.constant([0, 1, 2], tf.int64))
        table = v1.lookup.StaticHashTable(keys, 0)
        colour = tf.gather(tf.constant([0.0, 5.0, -5.0]), table.lookup(parsed["colour"]))
        ids = tf.sparse.to_dense(parsed["ids"])
        bias = tf.reduce_sum(tf.gather(tf.constant([[0.0], [-2.0], [3.0]]), ids), axis=[-2, -1])
        x = tf.reshape(parsed["x"], [-1, 4]) * tf.reshape(parsed["scale"], [-1, 1])
        logits = tf.matmul(x, _weights(v1, (4, 3))) + tf.reshape(colour, [-1, 1]) + tf.reshape(bias, [-1, 1])
        scores = tf.nn.softmax(logits)
        labels = tf.tile(tf.constant([["a", "b", "c"]]), [tf.shape(scores)[0], 1])
        module = v1.saved_model
        return {
            "serving_default": module.predict_signature_def({"examples": serialized}, {"scores": scores}),
            "classify": module.classification_signature_def(serialized, labels, scores),
            "regress": module.regression_signature_def(serialized, logits[:, 0]),
        }

    _saved(folder, write)


def old_parser(folder: Path) -> None:
    """The first ParseExample op, as graphs of before TensorFlow 2.2 have it."""
    import tensorflow as tf

    def write(v1: Any) -> dict[str, Any]:
        serialized = v1.placeholder(tf.string, [None], name="examples")
        parsed = tf.raw_ops.ParseExample(
            serialized=serialized,
            names=tf.constant([], tf.string),
            sparse_keys=["ids"],
            dense_keys=["x", "n"],
            dense_defaults=[tf.constant([], tf.float32), tf.constant([3], tf.int64)],
            sparse_types=[tf.int64],
            dense_shapes=[[2], [1]],
        )
        picked = tf.gather(tf.constant([0.5, 1.5]), tf.reshape(parsed.dense_values[1], [-1]))
        total = tf.reduce_sum(parsed.dense_values[0], axis=1) * picked
        return {"serving_default": v1.saved_model.predict_signature_def({"examples": serialized}, {"total": total})}

    _saved(folder, write)


def vocabulary_file(folder: Path) -> None:
    """Words looked up in a vocabulary that is an asset, then in an embedding, without a row for unknown words."""
    import tensorflow as tf

    words = folder.parent / "words.txt"
    words.write_text("cat\ndog\nowl\nfox\n")

    def write(v1: Any) -> dict[str, Any]:
        given = v1.placeholder(tf.string, [None], name="animal")
        lines = v1.lookup.TextFileInitializer(
            str(words), tf.string, v1.lookup.TextFileIndex.WHOLE_LINE, tf.int64, v1.lookup.TextFileIndex.LINE_NUMBER
        )
        table = v1.lookup.StaticHashTable(lines, -1)
        vectors = tf.gather(_weights(v1, (4, 3)), table.lookup(given))
        return {"serving_default": v1.saved_model.predict_signature_def({"animal": given}, {"vector": vectors})}

    _saved(folder, write)
    words.unlink()
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "notes.txt").write_text("kept")


def dense(folder: Path, *tags: tuple[str, ...]) -> None:
    """x [n, 4] -> y [n, 3] under these tag-sets."""
    import tensorflow as tf

    def write(v1: Any) -> dict[str, Any]:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        y = tf.matmul(x, _weights(v1, (4, 3)))
        return {"serving_default": v1.saved_model.predict_signature_def({"x": x}, {"y": y})}

    _saved(folder, write, tags or (("serve",),))


def two_names(folder: Path) -> None:
    """A signature in which one tensor is two inputs, and another two outputs."""
    import tensorflow as tf

    def write(v1: Any) -> dict[str, Any]:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        y = tf.matmul(x, _weights(v1, (4, 3)))
        both = v1.saved_model.predict_signature_def({"also": x, "x": x}, {"y": y, "z": y})
        return {"serving_default": both}

    _saved(folder, write)


def weighted(folder: Path) -> None:
    """tf.Examples with ids and weights that belong together, as feature columns have them, and a sparse feature."""
    import tensorflow as tf

    def write(v1: Any) -> dict[str, Any]:
        serialized = v1.placeholder(tf.string, [None], name="examples")
        features = {
            "ids": v1.io.VarLenFeature(tf.int64),
            "weights": v1.io.VarLenFeature(tf.float32),
            "few": v1.io.SparseFeature(["at"], "few_values", tf.float32, [6]),
        }
        parsed = v1.io.parse_example(serialized, features)
        table = _weights(v1, (7, 3))
        looked = v1.nn.embedding_lookup_sparse(table, parsed["ids"], parsed["weights"], combiner="sum")
        dense = tf.matmul(tf.sparse.to_dense(parsed["few"]), tf.ones([6, 3]))
        n = tf.shape(looked)[0]
        score = looked + dense[:n]
        return {"serving_default": v1.saved_model.predict_signature_def({"examples": serialized}, {"score": score})}

    _saved(folder, write)


def sparse(folder: Path, only: bool = False) -> None:
    """A signature that takes a sparse tensor, beside one that does not (unless `only`)."""
    import tensorflow as tf

    def write(v1: Any) -> dict[str, Any]:
        given = v1.sparse_placeholder(tf.float32, [None, 4], name="given")
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        w = _weights(v1, (4, 3))
        module = v1.saved_model
        signatures = {"sparse": module.predict_signature_def({"given": given}, {"y": tf.sparse.to_dense(given)})}
        if not only:
            signatures["dense"] = module.predict_signature_def({"x": x}, {"y": tf.matmul(x, w)})
        return signatures

    _saved(folder, write)


def odd(folder: Path) -> None:
    """Scalars, int64, uint8, bool, several dynamic dimensions, unknown rank."""
    import tensorflow as tf

    class Odd(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="a"), tf.TensorSpec([], tf.int64, name="b")])
        def scalars(self, a: Any, b: Any) -> Any:
            return {"product": a * tf.cast(b, tf.float32), "next": b + 1}

        @tf.function(input_signature=[tf.TensorSpec([None, None, 2], tf.float32, name="points")])
        def dynamic(self, points: Any) -> Any:
            return {"total": tf.reduce_sum(points, axis=1)}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 4], tf.uint8, name="pixels"),
                tf.TensorSpec([None], tf.bool, name="keep"),
            ]
        )
        def pixels(self, pixels: Any, keep: Any) -> Any:
            return {"kept": tf.where(keep[:, None], tf.cast(pixels, tf.int32), 0), "dropped": tf.logical_not(keep)}

        @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="anything")])
        def unranked(self, anything: Any) -> Any:
            return {"doubled": 2.0 * anything}

    model = Odd()
    keys = ("scalars", "dynamic", "pixels", "unranked")
    tf.saved_model.save(model, str(folder), signatures={key: getattr(model, key) for key in keys})


def twins(folder: Path) -> None:
    """One function under two signature keys, as Keras 3's export has it."""
    import keras

    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(5, "tanh"), keras.layers.Dense(2)])
    model.export(folder, verbose=False)


def pinned(folder: Path) -> None:
    """x [n, 4] -> y [n, 3], every node of it placed on a GPU."""
    import tensorflow as tf

    def write(v1: Any) -> dict[str, Any]:
        with tf.device("/gpu:0"):
            x = v1.placeholder(tf.float32, [None, 4], name="x")
            y = tf.nn.tanh(tf.matmul(x, _weights(v1, (4, 3), reference=False)), name="y")
        return {"serving_default": v1.saved_model.predict_signature_def({"x": x}, {"y": y})}

    _saved(folder, write, soft_placement=True)


def keras_file(file: Path, library: str) -> None:
    """A Functional model of two inputs and two outputs, in the format of the file's ending."""
    import importlib
    import warnings

    keras = importlib.import_module(library)
    layers = keras.layers
    keras.utils.set_random_seed(3)
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    joined = layers.Concatenate(name="joined")([layers.Dense(5, "tanh", name="hidden")(left), right])
    outputs = [layers.Dense(2, name="first")(joined), layers.Dense(3, "softmax", name="second")(joined)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that .h5 is an old format
        keras.Model([left, right], outputs).save(file)


def unsigned(folder: Path) -> None:
    """A SavedModel without signatures."""
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(folder))


def features_of(calls: list[dict[str, np.ndarray[Any, Any]]]) -> list[dict[str, list[Any]]]:
    """The values by feature of every serialized tf.Example; for a child process."""
    import tensorflow as tf

    examples = [
        tf.train.Example.FromString(text) for call in calls for array in call.values() for text in array.ravel()
    ]
    return [
        {
            key: list(getattr(feature, feature.WhichOneof("kind")).value)
            for key, feature in example.features.feature.items()
        }
        for example in examples
    ]
