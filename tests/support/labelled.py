"""A tiny classifier with labelled data, and a way to spoil its quantized file. Found by tests as `samples` is."""

from pathlib import Path

from converters.targets.tflite import flatbuffer

CLASSIFIER = """
import numpy as np
import tf_keras

def build(seed=3):
    tf_keras.utils.set_random_seed(seed)
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.Input((6,), name="features"),
            layers.Dense(8, activation="relu", name="hidden"),
            layers.Dense(3, activation="softmax", name="scores", kernel_initializer=tf_keras.initializers.RandomNormal(0, 2)),
        ],
        name="tiny",
    )
    return model

def inputs(count=40):
    return np.random.default_rng(5).normal(size=(count, 6)).astype(np.float32)

def golden():
    return {"features": inputs()}

def labelled():
    '''The first model's answers, but for the last four samples: it is right 36 times of 40.'''
    labels = build(3)(inputs()).numpy().argmax(axis=1)
    labels[-4:] = (labels[-4:] + 1) % 3
    return {"features": inputs(), "labels": labels}

def scored():
    '''Labels that are what the live model returns.'''
    return {"features": inputs(), "labels": build()(inputs()).numpy()}

def zeros():
    return {"features": np.zeros((20, 6), np.float32)}
"""
"""features [n, 6] -> scores [n, 3], probabilities; and data functions."""

METRIC = """
import numpy as np

def closeness(outputs, labels):
    return -float(np.abs(outputs["scores"] - labels).max())

def distance(outputs, labels):
    return float(np.abs(outputs["scores"] - labels).max())

def nothing(outputs, labels):
    return float("nan")

def text(outputs, labels):
    return "good"

def broken(outputs, labels):
    raise RuntimeError("no such class")
"""
"""Metrics of one's own: what an output is off by, at most."""


def scale_activations(path: Path, name: str, factor: float) -> None:
    """Multiply the scale of the int8 activations whose tensor's name holds `name`; for a child process."""
    from ai_edge_litert import schema_py_generated as schema

    model = flatbuffer.parse(path.read_bytes())
    constant = {i for i, buffer in enumerate(model.buffers) if buffer.data is not None and len(buffer.data)}
    found = [
        tensor
        for tensor in model.subgraphs[0].tensors
        if name in tensor.name.decode() and tensor.type == schema.TensorType.INT8 and tensor.buffer not in constant
    ]
    assert found, [tensor.name for tensor in model.subgraphs[0].tensors]
    for tensor in found:
        tensor.quantization.scale = [float(scale) * factor for scale in tensor.quantization.scale]
    path.write_bytes(flatbuffer.pack(model))
