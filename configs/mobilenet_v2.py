"""MobileNetV2 with seeded weights, conditioned as training would leave it.

With Keras's initial values it returns 1/1000 for every class of every image, so that no comparison could fail; and a
deep net of random layers amplifies rounding, so that quantized copies would fail for no fault of the conversion.
What training gives and the seed does not is made from seeded images here:

- batch normalisation knows its inputs' statistics, and keeps ReLU6 mostly in its linear range;
- residual branches add little to what they bypass (small last gammas, as in zero-init-gamma ResNets);
- the classifier looks where images differ: it weighs the features' deviations over those images. A random one would
  give the noise of 1280 features the same weight as the few directions that tell images apart.

It returns logits: a softmax over 1000 classes would hide errors of all but the largest.
"""

import numpy as np
import tf_keras

SEED = 11
SIZE = 224
RESIDUAL_GAMMA = 0.1
RELU_BETA = 0.5


def images(count, seed):
    """Blocky random images [count, 224, 224, 3] in [-1, 1], each with its own colours and scale of detail."""
    rng = np.random.default_rng(seed)
    batch = np.empty((count, SIZE, SIZE, 3), np.float32)
    for index in range(count):
        cells = int(rng.integers(2, 28))
        coarse = rng.uniform(-1, 1, (cells, cells, 3)) * rng.uniform(0.3, 1.0) + rng.uniform(-0.5, 0.5, 3)
        rows = np.arange(SIZE) * cells // SIZE
        batch[index] = np.clip(coarse[rows][:, rows], -1, 1)
    return batch


def normalise(base, calibration):
    """Set the gammas and betas, and the statistics to those of one forward pass in training mode."""
    names = {layer.name for layer in base.layers}
    normalisations = [layer for layer in base.layers if isinstance(layer, tf_keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalisations]
    for layer in normalisations:
        layer.momentum = 0.0  # the pass then replaces the statistics instead of moving them a little
        if not layer.name.endswith("_project_BN"):
            layer.beta.assign(np.full(layer.beta.shape, RELU_BETA))
        elif layer.name.replace("_project_BN", "_add") in names:
            layer.gamma.assign(np.full(layer.gamma.shape, RESIDUAL_GAMMA))
    base(calibration, training=True)
    for layer, momentum in zip(normalisations, momenta, strict=True):
        layer.momentum = momentum


def build():
    """image [n, 224, 224, 3] -> logits [n, 1000]."""
    tf_keras.utils.set_random_seed(SEED)
    base = tf_keras.applications.MobileNetV2(
        input_tensor=tf_keras.Input((SIZE, SIZE, 3), name="image"), weights=None, include_top=False, pooling="avg"
    )
    calibration = representative()["image"]
    normalise(base, calibration)
    features = base(calibration, training=False).numpy()
    deviations = features - features.mean(axis=0)
    kernel = deviations.T @ np.random.default_rng(SEED).normal(size=(len(calibration), 1000))
    kernel /= (deviations @ kernel).std()
    classifier = tf_keras.layers.Dense(1000, name="logits")
    model = tf_keras.Model(base.input, classifier(base.output), name="mobilenet_v2")
    classifier.set_weights([kernel, -features.mean(axis=0) @ kernel])
    return model


def golden():
    """Images that neither the statistics nor the calibration have seen."""
    return {"image": images(4, SEED + 1)}


def representative():
    """Images to calibrate with: the batch normalisations here, int8's ranges in the converter."""
    return {"image": images(16, SEED)}
