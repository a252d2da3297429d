"""Models of tensorflow.js, converted once for all tests of what runs them, and what they compute, in NumPy."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.contract.values import Tensors

Arrays = list[np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Models:
    """Paths of model.json files, and what the models compute by the same names: inputs -> outputs."""

    root: Path
    weights: dict[str, Arrays]
    """Those of `mixed`, and kernel and bias of each layer of `layers` and `sequential`."""

    def path(self, name: str) -> Path:
        """The converted model `name`."""
        return self.root / name / "model.json"

    @property
    def live(self) -> dict[str, Callable[[Tensors], Tensors]]:
        return {
            "mixed": self._mixed,
            "loop": self._loop,
            "constant": lambda inputs: {"table": np.array([1, 2, 3], np.float32), "same": inputs["x"]},
            "layers": self._layers,
            "sequential": lambda inputs: {"kind": _dense(inputs["left"], *self.weights["sequential"])},
        }

    def _mixed(self, inputs: Tensors) -> Tensors:
        (weight,) = self.weights["mixed"]
        return {
            "scores": np.tanh(inputs["features"] @ weight),
            "doubled": inputs["count"] * np.int32(2),
            "inverted": ~inputs["flag"],
        }

    def _loop(self, inputs: Tensors) -> Tensors:
        x = inputs["x"]
        for _ in range(int(inputs["n"])):
            x = x * np.float32(1.5) + np.float32(1)
        return {"x": x}

    def _layers(self, inputs: Tensors) -> Tensors:
        joined = np.concatenate([inputs["left"], inputs["right"]], axis=1)
        kind_kernel, kind_bias, size_kernel, size_bias = self.weights["layers"]
        powers = np.exp(_dense(joined, kind_kernel, kind_bias))
        return {"kind": powers / powers.sum(axis=1, keepdims=True), "size": _dense(joined, size_kernel, size_bias)}


def _dense(x: np.ndarray[Any, Any], kernel: np.ndarray[Any, Any], bias: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return x @ kernel + bias


def write(root: Path) -> Models:
    """A graph of mixed dtypes, one with a while loop, one with a constant output, and two layers models; for a child process."""
    import tensorflow as tf
    import tf_keras
    from tensorflowjs import converters as tfjs

    class Mixed(tf.Module):
        def __init__(self) -> None:
            self.weight = tf.Variable(np.random.default_rng(1).normal(size=(3, 40)), dtype=tf.float32)

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 3], tf.float32, "features"),
                tf.TensorSpec([None], tf.int32, "count"),
                tf.TensorSpec([None], tf.bool, "flag"),
                tf.TensorSpec([None], tf.float32, "unused"),
            ]
        )
        def __call__(self, features: Any, count: Any, flag: Any, unused: Any) -> dict[str, Any]:
            return {
                "scores": tf.tanh(features @ self.weight),
                "doubled": count * 2,
                "inverted": tf.logical_not(flag),
            }

    class Loop(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([], tf.int32, "n"), tf.TensorSpec([2], tf.float32, "x")])
        def __call__(self, n: Any, x: Any) -> dict[str, Any]:
            for _ in tf.range(n):
                x = x * 1.5 + 1.0
            return {"x": x}

    class Constant(tf.Module):
        def __init__(self) -> None:
            self.table = tf.Variable([1.0, 2.0, 3.0])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def __call__(self, x: Any) -> dict[str, Any]:
            return {"table": self.table, "same": x}

    mixed = Mixed()
    for name, module in (("mixed", mixed), ("loop", Loop()), ("constant", Constant())):
        saved = str(root / f"{name}-saved")
        tf.saved_model.save(module, saved, signatures=module.__call__.get_concrete_function())
        tfjs.convert_tf_saved_model(saved, str(root / name), signature_def="serving_default", control_flow_v2=True)

    tf_keras.utils.set_random_seed(1)
    left = tf_keras.Input((4,), name="left")
    right = tf_keras.Input((2,), name="right")
    joined = tf_keras.layers.Concatenate()([left, right])
    layers = tf_keras.Model(
        [left, right],
        [tf_keras.layers.Dense(3, "softmax", name="kind")(joined), tf_keras.layers.Dense(1, name="size")(joined)],
    )
    tfjs.save_keras_model(layers, str(root / "layers"))
    sequential = tf_keras.Sequential([tf_keras.Input((4,), name="left"), tf_keras.layers.Dense(3, name="kind")])
    tfjs.save_keras_model(sequential, str(root / "sequential"))
    return Models(
        root,
        {
            "mixed": [mixed.weight.numpy()],
            "layers": [*layers.get_layer("kind").get_weights(), *layers.get_layer("size").get_weights()],
            "sequential": sequential.get_weights(),
        },
    )


def mixed_case(batch: int, seed: int) -> Tensors:
    """Inputs of the graph `mixed`."""
    rng = np.random.default_rng(seed)
    return {
        "features": rng.normal(size=(batch, 3)).astype(np.float32),
        "count": rng.integers(-1000, 1000, batch, dtype=np.int32),
        "flag": rng.integers(0, 2, batch).astype(bool),
        "unused": np.zeros(batch, np.float32),
    }


def layers_case(batch: int, seed: int) -> Tensors:
    """Inputs of the model `layers`."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(batch, size)).astype(np.float32) for name, size in (("left", 4), ("right", 2))}


def assert_same(actual: Tensors, expected: Tensors) -> None:
    """Names, dtypes, shapes and values agree; floats to a few units in the last place of float32."""
    assert actual.keys() == expected.keys()
    for name, wanted in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (wanted.dtype, wanted.shape), name
        np.testing.assert_allclose(actual[name], wanted, rtol=1e-5, atol=1e-6, err_msg=name)
