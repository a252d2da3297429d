"""A model of each kind that users bring: builders, and writers of SavedModels and Keras files. Used in child processes."""

from pathlib import Path
from typing import Any

import numpy as np


def _seeded(library: Any) -> Any:
    (getattr(library, "keras", None) or library).utils.set_random_seed(5)
    return library


def _tf_keras() -> Any:
    import tf_keras

    return _seeded(tf_keras)


def _keras() -> Any:
    import keras

    return _seeded(keras)


def _dense_net(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,), name="features"),
            layers.Dense(8, activation="tanh", name="hidden"),
            layers.Dense(3, name="scores"),
        ]
    )


def _branches(keras: Any) -> Any:
    """Two inputs, two outputs, a shared layer, a nested model, batch normalisation."""
    layers = keras.layers
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    shared = layers.Dense(5, activation="tanh", name="shared")
    inner_in = keras.Input((5,), name="inner_in")
    inner = keras.Model(
        inner_in, layers.BatchNormalization(name="norm")(layers.Dense(4, name="inner_out")(inner_in)), name="inner"
    )
    a, b = inner(shared(left)), shared(right)
    return keras.Model([left, right], [layers.Dense(2, name="first")(a), layers.Dense(3, name="second")(b)])


def tf_keras_sequential() -> Any:
    return _dense_net(_tf_keras())


def tf_keras_functional() -> Any:
    return _branches(_tf_keras())


def tf_keras_lstm() -> Any:
    keras = _tf_keras()
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    embedded = keras.layers.Embedding(20, 4, name="embed")(tokens)
    return keras.Model(tokens, keras.layers.Dense(2, name="mood")(keras.layers.LSTM(6, name="lstm")(embedded)))


def tf_keras_subclassed() -> Any:
    keras = _tf_keras()

    class Small(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.hidden = keras.layers.Dense(4, activation="tanh")
            self.out = keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return {"y": self.out(self.hidden(x))}

    return Small()


def tf_keras_lookup() -> Any:
    keras = _tf_keras()
    words = keras.Input((), dtype="string", name="words")
    index = keras.layers.StringLookup(vocabulary=["red", "green", "blue"], name="index")(words)
    return keras.Model(words, keras.layers.Embedding(5, 3, name="colour")(index))


def keras_sequential() -> Any:
    return _dense_net(_keras())


def keras_functional() -> Any:
    return _branches(_keras())


def module() -> Any:
    import tensorflow as tf

    class Signals(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = tf.Variable(np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="signal")])
        def project(self, signal: Any) -> Any:
            return {"projected": tf.tanh(signal @ self.weight), "energy": tf.reduce_sum(signal**2, axis=1)}

        @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32, name="matrix")])
        def determinant(self, matrix: Any) -> Any:
            return {
                "determinant": tf.linalg.det(tf.reshape(matrix, [-1, 4, 4])),
                "mean": tf.reduce_mean(matrix, axis=1),
            }

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def shout(self, text: Any) -> Any:
            return {"upper": tf.strings.upper(text)}

    return Signals()


def write_odd_tensors(path: Path) -> None:
    """Scalars, int64, uint8, bool, two dynamic dimensions, unknown rank."""
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
            return {"kept": tf.where(keep[:, None], tf.cast(pixels, tf.int32), 0)}

    odd = Odd()
    tf.saved_model.save(
        odd, str(path), signatures={name: getattr(odd, name) for name in ("scalars", "dynamic", "pixels")}
    )


def write_tf1(path: Path) -> None:
    """A TF 1 style SavedModel: reference variables, and a classify signature over serialized tf.Examples."""
    import tensorflow as tf

    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        weights = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
        variable = v1.get_variable("weights", initializer=weights, use_resource=False)
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        y = tf.nn.softmax(tf.matmul(x, variable), name="y")
        examples = v1.placeholder(tf.string, [None], name="examples")
        parsed = v1.io.parse_example(examples, {"x": v1.FixedLenFeature([4], tf.float32)})["x"]
        scores = tf.nn.softmax(tf.matmul(parsed, variable))
        classes = tf.tile(tf.constant([["a", "b", "c"]]), [tf.shape(scores)[0], 1])
        session.run(v1.global_variables_initializer())
        saved = v1.saved_model
        builder = saved.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={
                "serving_default": saved.predict_signature_def({"x": x}, {"y": y}),
                "classify": saved.classification_signature_def(examples, classes, scores),
            },
        )
        builder.save()


def write_gpu_pinned(path: Path) -> None:
    """A graph whose nodes are pinned to a GPU."""
    import tensorflow as tf

    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph, config=v1.ConfigProto(allow_soft_placement=True)) as session:
        with tf.device("/gpu:0"):
            weights = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
            variable = v1.get_variable("pinned", initializer=weights, use_resource=True)
            x = v1.placeholder(tf.float32, [None, 4], name="x")
            y = tf.nn.tanh(tf.matmul(x, variable), name="y")
        session.run(v1.global_variables_initializer())
        definition = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map={"serving_default": definition})
        builder.save()


def write_keras_file(path: Path) -> None:
    """Keras 3's own format."""
    keras_sequential().save(path)


def write_tf_keras_h5(path: Path) -> None:
    """Keras 2's HDF5."""
    tf_keras_functional().save(path)
