"""Small models trained for a second or two on scikit-learn's data, saved as their users would, and one layer damaged.

All of it runs in children with TensorFlow. Found by tests as `samples` is.
"""

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import mutations
import numpy as np

Array = np.ndarray[Any, Any]
SEED = 11
SAMPLES = 600
"""Enough of the digits for a model to learn what they look like."""


class Data(NamedTuple):
    """What a model is given and what it is to return for it."""

    inputs: Array
    wanted: Array


def digits() -> Data:
    """Images [n, 8, 8, 1] between 0 and 1, and their labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return Data((found.images[:SAMPLES, ..., None] / 16).astype(np.float32), found.target[:SAMPLES])


def rows_of_digits() -> Data:
    """The images as a series of rows, [n, 8, 8]."""
    images, labels = digits()
    return Data(images[..., 0], labels)


def words_of_digits() -> Data:
    """The images as texts of 64 words, out of 17 that say how dark a pixel is."""
    images, labels = digits()
    return Data((images.reshape(-1, 64) * 16).astype(np.int32), labels)


def same_digits() -> Data:
    """The images, which are to be returned."""
    images, _ = digits()
    return Data(images, images)


def table(name: str) -> Data:
    """The measurements of iris, wine or breast_cancer as they are, and the classes."""
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    return Data(found.data.astype(np.float32), found.target)


def diabetes() -> Data:
    """Ten measurements, and how far the disease went a year later, which is about 150."""
    from sklearn.datasets import load_diabetes

    found = load_diabetes()
    return Data(found.data.astype(np.float32), found.target[:, None].astype(np.float32))


def _cnn(keras: Any, layers: Any, data: Data) -> Any:
    image = keras.Input((8, 8, 1), name="image")
    hidden = layers.MaxPooling2D()(layers.Conv2D(8, 3, padding="same", activation="relu")(image))
    hidden = layers.Flatten()(layers.Conv2D(12, 3, activation="relu")(hidden))
    return keras.Model(image, layers.Dense(10, activation="softmax", name="digit")(hidden))


def _normalised(keras: Any, layers: Any, data: Data) -> Any:
    image = keras.Input((8, 8, 1), name="image")
    hidden = image
    for filters in (8, 16):
        hidden = layers.BatchNormalization(momentum=0.9)(
            layers.Conv2D(filters, 3, padding="same", use_bias=False)(hidden)
        )
        hidden = layers.MaxPooling2D()(layers.Activation("relu")(hidden))
    return keras.Model(image, layers.Dense(10, activation="softmax", name="digit")(layers.Flatten()(hidden)))


def _residual(keras: Any, layers: Any, data: Data) -> Any:
    image = keras.Input((8, 8, 1), name="image")
    hidden = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    for _ in range(2):
        other = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(8, 3, padding="same")(hidden))
        hidden = layers.Activation("relu")(layers.Add()([hidden, other]))
    pooled = layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(hidden))
    return keras.Model(image, layers.Dense(10, activation="softmax", name="digit")(pooled))


def _depthwise(keras: Any, layers: Any, data: Data) -> Any:
    image = keras.Input((8, 8, 1), name="image")
    hidden = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    hidden = layers.BatchNormalization(momentum=0.9)(layers.DepthwiseConv2D(3, strides=2, padding="same")(hidden))
    hidden = layers.ReLU(6.0)(layers.Conv2D(16, 1)(layers.ReLU(6.0)(hidden)))
    return keras.Model(image, layers.Dense(10, activation="softmax", name="digit")(layers.Flatten()(hidden)))


def _recurrent(layer: str, keras: Any, layers: Any, data: Data) -> Any:
    rows = keras.Input((8, 8), name="rows")
    return keras.Model(rows, layers.Dense(10, activation="softmax", name="digit")(getattr(layers, layer)(16)(rows)))


def _text(keras: Any, layers: Any, data: Data) -> Any:
    words = keras.Input((64,), dtype="int32", name="words")
    hidden = layers.Conv1D(16, 8, strides=4, activation="relu")(layers.Embedding(17, 4)(words))
    return keras.Model(words, layers.Dense(10, activation="softmax", name="digit")(layers.Flatten()(hidden)))


def _tabular(keras: Any, layers: Any, data: Data) -> Any:
    normalization = layers.Normalization()
    normalization.adapt(data.inputs)
    width, classes = data.inputs.shape[1], int(data.wanted.max()) + 1
    stacked = [keras.Input((width,), name="measured"), normalization, layers.Dense(16, activation="relu")]
    return keras.Sequential([*stacked, layers.Dense(classes, activation="softmax", name="class")])


def _confident(keras: Any, layers: Any, data: Data) -> Any:
    image = keras.Input((8, 8, 1), name="image")
    hidden = layers.Dense(32, activation="relu")(layers.Flatten()(image))
    return keras.Model(image, layers.Softmax(name="digit")(layers.Rescaling(4.0)(layers.Dense(10)(hidden))))


def _autoencoder(keras: Any, layers: Any, data: Data) -> Any:
    image = keras.Input((8, 8, 1), name="image")
    code = layers.Dense(12, activation="tanh")(layers.Flatten()(image))
    hidden = layers.Reshape((4, 4, 4))(layers.Dense(64, activation="relu")(code))
    return keras.Model(image, layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid")(hidden))


def _regression(keras: Any, layers: Any, data: Data) -> Any:
    stacked = [keras.Input((10,), name="measured"), layers.Rescaling(20.0), layers.Dense(16, activation="tanh")]
    return keras.Sequential(
        [*stacked, layers.Dense(1, name="progress", bias_initializer=keras.initializers.Constant(150))]
    )


class Kind(NamedTuple):
    """How a model is made: the library, the ending of what it is saved as ('' for a SavedModel), and its data and layers."""

    library: str
    ending: str
    data: Callable[[], Data]
    made: Callable[[Any, Any, Data], Any]
    epochs: int = 6


KINDS = {
    "cnn": Kind("tf_keras", ".h5", digits, _cnn),
    "normalised": Kind("tf_keras", ".keras", digits, _normalised),
    "normalised_3": Kind("keras", ".keras", digits, _normalised),
    "residual": Kind("keras", ".keras", digits, _residual, epochs=10),
    "depthwise": Kind("tf_keras", "", digits, _depthwise),
    "depthwise_3": Kind("keras", "", digits, _depthwise),
    "gru": Kind("tf_keras", ".keras", rows_of_digits, partial(_recurrent, "GRU")),
    "lstm": Kind("tf_keras", ".h5", rows_of_digits, partial(_recurrent, "LSTM")),
    "lstm_3": Kind("keras", ".keras", rows_of_digits, partial(_recurrent, "LSTM")),
    "text": Kind("keras", ".keras", words_of_digits, _text),
    "iris": Kind("keras", ".keras", partial(table, "iris"), _tabular, epochs=30),
    "breast_cancer": Kind("tf_keras", ".keras", partial(table, "breast_cancer"), _tabular, epochs=20),
    "wine": Kind("keras", "", partial(table, "wine"), _tabular, epochs=30),
    "confident": Kind("tf_keras", ".keras", digits, _confident, epochs=30),
    "autoencoder": Kind("keras", ".keras", same_digits, _autoencoder, epochs=10),
    "regression": Kind("tf_keras", ".h5", diabetes, _regression, epochs=30),
}


def save(path: Path, name: str) -> None:
    """Train the model and save it at the path."""
    import warnings

    kind = KINDS[name]
    keras = importlib.import_module(kind.library)
    keras.utils.set_random_seed(SEED)
    data = kind.data()
    model = kind.made(keras, keras.layers, data)
    classes = data.wanted.ndim == 1
    loss = "sparse_categorical_crossentropy" if classes else "mse"
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss, jit_compile=False)
    model.fit(data.inputs, data.wanted, batch_size=64, epochs=kind.epochs, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that HDF5 is an old format
        model.export(path) if not kind.ending else model.save(path)


DAMAGE = ("weights zeroed", "weights shifted", "channel zeroed")
"""What is done to a layer's weights, by the names of `mutations`."""


def damage_layer(release: Path, target: str, variant: str, copy: Path, seed: int) -> str:
    """Damage one tensor of weights of the copied artifact, which is returned in words."""
    rng = np.random.default_rng(seed)
    found = [each for each in mutations.of(release, target, variant, rng, None) if each.kind in DAMAGE]
    chosen = found[int(rng.integers(len(found)))]
    chosen.change(copy)
    return f"{chosen.kind}: {chosen.what}"
