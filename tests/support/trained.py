"""Small models that are trained on scikit-learn's data, seeded, with data of their own. Found by tests as `samples` is."""

from pathlib import Path
from typing import Any

PREAMBLE = """
import numpy as np
import tf_keras
from sklearn import datasets
from sklearn.model_selection import train_test_split

layers = tf_keras.layers

def data():
    '''(training inputs, held-back inputs, training labels, held-back labels)'''
    if NAME == "tabular":
        table = datasets.load_breast_cancer()
        inputs, labels = table.data.astype(np.float32), table.target
    else:
        digits = datasets.load_digits()
        inputs, labels = (digits.images * SCALE).astype(np.float32)[..., np.newaxis], digits.target
    return train_test_split(inputs, labels, test_size=0.2, random_state=7, stratify=labels)

def norm():
    return layers.BatchNormalization(momentum=0.9)

def block(layer):
    return [layer, norm(), layers.ReLU(6.0)]

def normalised(inputs, axis):
    layer = layers.Normalization(axis=axis)
    layer.adapt(inputs)
    return [layer]

def convolutions():
    return [
        *block(layers.Conv2D(16, 3, padding="same")),
        layers.MaxPooling2D(),
        *block(layers.Conv2D(32, 3, padding="same")),
        layers.Flatten(),
    ]

def plain():
    return [
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Flatten(),
    ]

def depthwise():
    found = block(layers.Conv2D(16, 3, padding="same"))
    for stride in (1, 2):
        found += block(layers.DepthwiseConv2D(3, stride, padding="same")) + block(layers.Conv2D(32, 1))
    return [*found, layers.GlobalAveragePooling2D()]

def one_dimension():
    kernels = [layers.Conv1D(32, 3, padding="same") for _ in range(2)]
    return [layers.Reshape((8, 8)), *block(kernels[0]), *block(kernels[1]), layers.Flatten()]

def middle(inputs):
    if NAME == "batch norm":
        return convolutions()
    if NAME == "Normalization":
        return normalised(inputs, None) + plain()
    if NAME == "Rescaling, batch norm":
        return [layers.Rescaling(1 / 255)] + convolutions()
    if NAME == "Rescaling alone":
        return [layers.Rescaling(1 / 255)] + plain()
    if NAME == "depthwise":
        return depthwise()
    if NAME == "1-D":
        return one_dimension()
    if NAME == "tabular":
        return normalised(inputs, -1) + block(layers.Dense(32)) + block(layers.Dense(16))
    return plain()

def build():
    tf_keras.utils.set_random_seed(7)
    inputs, _, labels, _ = data()
    model = tf_keras.Sequential(
        [
            layers.Input(inputs.shape[1:], name="image"),
            *middle(inputs),
            layers.Dense(int(labels.max()) + 1, activation="softmax", name="scores"),
        ]
    )
    model.compile(tf_keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    model.fit(inputs, labels, batch_size=64, epochs=EPOCHS, verbose=0)
    return model

def representative():
    return {"image": data()[0][:200]}

def noise():
    '''Numbers of which nothing is known.'''
    return {"image": np.random.default_rng(0).normal(size=(64, *data()[0].shape[1:])).astype(np.float32)}

def evaluation():
    _, inputs, _, labels = data()
    return {"image": inputs, "labels": labels}
"""

SCALES = {
    "batch norm": 1 / 16,
    "depthwise": 1 / 16,
    "1-D": 1 / 16,
    "Normalization": 1.0,
    "Rescaling, batch norm": 255 / 16,
    "Rescaling alone": 255 / 16,
    "tabular": 1.0,
    "nothing": 1 / 16,
}
"""What the digits' pixels, 0 to 16, are multiplied by; "tabular" are the 30 measurements of load_breast_cancer."""


def code(name: str, epochs: int = 20) -> str:
    """A module with `build`, image [n, 8, 8, 1] or [n, 30] -> scores, and `representative`, `noise` and `evaluation`."""
    return f"NAME, SCALE, EPOCHS = {name!r}, {SCALES[name]}, {epochs}\n{PREAMBLE}"


STANDARDISED = """
import numpy as np

_rng = np.random.default_rng(5)
MEAN, DEVIATION = np.float32([50, -3, 0.5, 200]), np.float32([10, 0.5, 0.1, 30])
KERNEL, OFFSET, TOP = (_rng.normal(size=shape).astype(np.float32) for shape in ((4, 8), 8, (8, 3)))
VARIANCE = np.sum(KERNEL**2, axis=0)

def of_keras(keras):
    layers = keras.layers
    hidden, norm, scores = layers.Dense(8), layers.BatchNormalization(), layers.Dense(3, activation="softmax", name="scores")
    model = keras.Sequential(
        [
            layers.Input((4,), name="features"),
            layers.Normalization(mean=MEAN, variance=DEVIATION**2),
            hidden, norm, layers.ReLU(), scores,
        ]
    )
    hidden.set_weights([KERNEL, OFFSET])
    norm.set_weights([np.ones(8), np.zeros(8), OFFSET, VARIANCE])
    scores.set_weights([TOP, np.zeros(3)])
    return model

def tf_keras():
    import tf_keras
    return of_keras(tf_keras)

def keras():
    import keras
    return of_keras(keras)

def module():
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel, self.mean, self.variance = (tf.Variable(value) for value in (KERNEL, OFFSET, VARIANCE))

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="features")])
        def __call__(self, features):
            hidden = (features - MEAN) * tf.math.rsqrt(DEVIATION**2) @ self.kernel + OFFSET
            hidden = tf.nn.batch_normalization(hidden, self.mean, self.variance, tf.zeros(8), tf.ones(8), 1e-3)
            return {"scores": tf.nn.softmax(tf.nn.relu(hidden) @ TOP)}

    return Module()

def untold():
    import tf_keras
    layers = tf_keras.layers
    return tf_keras.Sequential([layers.Input((4,), name="features"), layers.Dense(3, activation="softmax", name="scores")])
"""
"""features [n, 4] -> scores [n, 3], by functions that make it of every kind: each holds the statistics of its first two
layers, of features that are normally distributed and independent. `untold` holds none."""


def save_module(folder: Path) -> None:
    """The module of STANDARDISED as a SavedModel; for a child process."""
    import tensorflow as tf

    names: dict[str, Any] = {}
    exec(STANDARDISED, names)
    module = names["module"]()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.__call__})
