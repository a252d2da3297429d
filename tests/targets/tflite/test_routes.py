"""The converter that reads a SavedModel once makes what TensorFlow's own way in makes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import Sample

from converters.formats import saved_model as meta_graph
from converters.processes.child import run
from converters.targets.tflite import once as tflite_once

FAKE_QUANTIZED = """
import tensorflow as tf

class Trained(tf.Module):
    def __init__(self):
        super().__init__()
        self.weight = tf.Variable(tf.reshape(tf.linspace(-1.0, 1.0, 12), [4, 3]))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x):
        weight = tf.quantization.fake_quant_with_min_max_vars(self.weight, -1.0, 1.0, num_bits=8, narrow_range=True)
        inputs = tf.quantization.fake_quant_with_min_max_vars(x, -4.0, 4.0)
        return {"y": tf.quantization.fake_quant_with_min_max_vars(inputs @ weight, -8.0, 8.0)}

def build():
    return Trained()
"""
"""What training that is aware of quantization leaves: the ranges are in the graph."""


def convert(saved_model: Path, keys: list[str], quantize: bool, once: bool) -> bytes:
    """The file, without what the converter says of itself; for a child process."""
    import tensorflow as tf
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    if once:
        converter = tflite_once.from_saved_model(saved_model, keys, meta_graph.read(saved_model))
    else:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=keys)
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    content = converter.convert()
    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    for entry in model.metadata or ():  # a hash of the file, and how long this took
        model.buffers[entry.buffer].data = np.zeros(0, np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


@pytest.mark.parametrize("quantize", [False, True])
@pytest.mark.parametrize("code", ["module", "fake-quantized"])
def test_from_saved_model_makes_the_same_file(
    code: str, quantize: bool, module_sample: Sample, make_sample: Any
) -> None:
    source = (module_sample if code == "module" else make_sample(FAKE_QUANTIZED)).source
    keys = list(source.signatures)
    files = [run(convert, source.saved_model, keys, quantize, once).value for once in (False, True)]
    assert files[0] == files[1]
    assert files[0][4:8] == b"TFL3"
