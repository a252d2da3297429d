"""MobileNetV2 with seeded weights.

With Keras's own initial values it returns 1/1000 for every class of every image, so that no comparison could fail.
Two things are missing that training would give: batch normalisation that knows its inputs' statistics, and a
classifier whose weights are large enough to tell features apart. Both are made from seeded images here.
"""

import numpy as np
import tf_keras

SEED = 11
SIZE = 224


def images(count, seed):
    """Smooth random images [count, 224, 224, 3] in [-1, 1], each with its own colours and scale of detail."""
    rng = np.random.default_rng(seed)
    batch = np.empty((count, SIZE, SIZE, 3), np.float32)
    for index in range(count):
        cells = int(rng.integers(2, 28))
        coarse = rng.uniform(-1, 1, (cells, cells, 3)) * rng.uniform(0.3, 1.0) + rng.uniform(-0.5, 0.5, 3)
        rows = np.arange(SIZE) * cells // SIZE
        batch[index] = np.clip(coarse[rows][:, rows], -1, 1)
    return batch


def build():
    """image [n, 224, 224, 3] -> probability [n, 1000]."""
    tf_keras.utils.set_random_seed(SEED)
    base = tf_keras.applications.MobileNetV2(
        input_tensor=tf_keras.Input((SIZE, SIZE, 3), name="image"), weights=None, include_top=False, pooling="avg"
    )
    # A forward pass in training mode moves each batch normalisation's statistics toward those of its inputs; with a
    # momentum of zero one pass sets them.
    normalisations = [layer for layer in base.layers if isinstance(layer, tf_keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalisations]
    for layer in normalisations:
        layer.momentum = 0.0
    calibration = images(16, SEED)
    base(calibration, training=True)
    for layer, momentum in zip(normalisations, momenta, strict=True):
        layer.momentum = momentum
    features = base(calibration, training=False).numpy()
    classifier = tf_keras.layers.Dense(1000, activation="softmax", name="probability")
    model = tf_keras.Model(base.input, classifier(base.output), name="mobilenet_v2")
    kernel = np.random.default_rng(SEED).normal(size=(features.shape[1], 1000)) / np.linalg.norm(features.std(axis=0))
    kernel = kernel.astype(np.float32) * 3.0
    classifier.set_weights([kernel, -features.mean(axis=0) @ kernel])
    return model


def golden():
    """Images that neither the statistics nor the calibration have seen."""
    return {"image": images(8, SEED + 1)}


def representative():
    """Calibration images for int8."""
    return {"image": images(16, SEED)}
