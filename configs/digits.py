"""A small convolutional network, trained here on scikit-learn's handwritten digits (UCI, 1797 images of 8 x 8)."""

import numpy as np
import tf_keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 7


def split():
    """(train images, test images, train labels, test labels); images are [n, 8, 8, 1] float32 in [0, 1]."""
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[..., np.newaxis]
    return train_test_split(images, digits.target, test_size=360, random_state=SEED, stratify=digits.target)


def build():
    """The trained model: image [n, 8, 8, 1] -> digit [n, 10], probabilities."""
    tf_keras.utils.set_random_seed(SEED)
    images, _, labels, _ = split()
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.Input(shape=(8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="digits",
    )
    model.compile(optimizer=tf_keras.optimizers.Adam(0.003), loss="sparse_categorical_crossentropy")
    model.fit(images, labels, batch_size=64, epochs=12, verbose=0)
    return model


def golden():
    """The test images: no model has seen them in training."""
    return {"image": split()[1]}


def evaluation():
    """The test images with what they show, 0 to 9."""
    _, images, _, labels = split()
    return {"image": images, "labels": labels}


def representative():
    """Training images, to find the ranges that int8 must span."""
    return {"image": split()[0][:200]}
