"""What is used of TensorFlow Lite's inside is there, and makes what its public interface makes.

Where one of these fails after an upgrade, `converters/targets/tflite/internals.py` is what has to follow it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import Sample

from converters.formats import saved_model
from converters.processes.child import run
from converters.targets.tflite import flatbuffer, internals

pytestmark = pytest.mark.tensorflow

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


def convert(path: Path, keys: list[str], quantize: bool, way: str) -> bytes:
    """The file, without what the converter says of itself; for a child process."""
    import tensorflow as tf
    from tensorflow.lite.python import lite

    if way == "another TensorFlow":
        del lite._export_metrics
        assert internals.reading_once() is None
    if way == "public":
        converter = tf.lite.TFLiteConverter.from_saved_model(str(path), signature_keys=keys)
    else:
        converter = internals.from_saved_model(path, keys, saved_model.read(path))
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    model = flatbuffer.parse(converter.convert())
    for entry in model.metadata or ():  # a hash of the file, and how long this took
        model.buffers[entry.buffer].data = np.zeros(0, np.uint8)
    return flatbuffer.pack(model)


def missing() -> list[str]:
    """What is not as it is used, and what that costs; for a child process."""
    used = {
        "lite.TFLiteSavedModelConverterV2: conversions take the slower way": internals.reading_once() is not None,
        "convert_phase.ConverterError: a failed conversion has no diagnosis": internals.converter_error()
        is not RuntimeError,
    }
    return [what for what, there in used.items() if not there]


def test_internals_are_as_they_are_used_when_this_tensorflow_is_installed() -> None:
    assert run(missing).value == []


@pytest.mark.parametrize("quantize", [False, True])
@pytest.mark.parametrize("code", ["module", "fake-quantized"])
def test_from_saved_model_makes_the_same_file_when_tensorflow_is_as_known_or_not(
    code: str, quantize: bool, module_sample: Sample, make_sample: Any
) -> None:
    source = (module_sample if code == "module" else make_sample(FAKE_QUANTIZED)).source
    keys = list(source.signatures)
    ways = ("public", "read once", "another TensorFlow")
    files = [run(convert, source.saved_model, keys, quantize, way).value for way in ways]
    assert files[0][4:8] == b"TFL3"
    assert files == files[:1] * 3
