"""A tf.Module: no Keras, generic methods that an input signature makes exportable."""

import numpy as np
import tensorflow as tf

LENGTH = 32
SIGNAL = tf.TensorSpec([None, LENGTH], tf.float32, name="signal")


class Features(tf.Module):
    """Normalises signals, summarises them, and compares two."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(3)
        self.mean = tf.Variable(rng.normal(size=LENGTH).astype(np.float32), name="mean")
        self.scale = tf.Variable(rng.uniform(0.5, 2.0, LENGTH).astype(np.float32), name="scale")
        self.projection = tf.Variable(rng.normal(size=(LENGTH, 8)).astype(np.float32), name="projection")

    @tf.function(input_signature=[SIGNAL])
    def normalise(self, signal):
        """signal [n, 32] -> normalised [n, 32]."""
        return {"normalised": (signal - self.mean) / self.scale}

    @tf.function(input_signature=[SIGNAL])
    def summary(self, signal):
        """signal [n, 32] -> embedding [n, 8], energy [n], peak [n] (the index of the largest value)."""
        normalised = (signal - self.mean) / self.scale
        return {
            "embedding": tf.tanh(normalised @ self.projection / 8.0),
            "energy": tf.reduce_mean(tf.square(normalised), axis=1),
            "peak": tf.argmax(normalised, axis=1, output_type=tf.int32),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, LENGTH], tf.float32), tf.TensorSpec([None, LENGTH], tf.float32)])
    def similarity(self, left, right):
        """left [n, 32], right [n, 32] -> cosine [n], of the projections."""
        projected = [tf.math.l2_normalize(x @ self.projection, axis=1) for x in (left, right)]
        return {"cosine": tf.reduce_sum(projected[0] * projected[1], axis=1)}


def build():
    """The module with its seeded variables."""
    return Features()


def golden():
    """Sines of random frequency and phase, with noise."""
    rng = np.random.default_rng(5)

    def signals():
        frequency, phase = rng.uniform(0.1, 1.5, (64, 1)), rng.uniform(0, 6.28, (64, 1))
        return (np.sin(np.arange(LENGTH) * frequency + phase) + rng.normal(0, 0.3, (64, LENGTH))).astype(np.float32)

    return {"signal": signals(), "left": signals(), "right": signals()}
