"""TF Lite: float32 files and quantized ones, of any size or of fixed ones, each with every signature."""

from converters.contract.target import Runtime, Target
from converters.targets.tflite import NAME, check, code, convert, describe, layers, sound
from converters.targets.tflite.options import TFLiteOptions, chosen, promises

PACE = 5e9
"""Multiply-adds in a second, of the kernels that XNNPACK has."""

LITERT = Runtime("litert", "ai-edge-litert", check.run_litert, check.litert_version, stays="litert", pace=PACE)
TENSORFLOW_LITE = Runtime(
    "tensorflow-lite", "tensorflow", check.run_tensorflow_lite, check.tensorflow_version, fresh=False, pace=PACE
)
TARGET = Target(
    name=NAME,
    title="TF Lite",
    options=TFLiteOptions,
    convert=convert.convert,
    inspect=check.inspect,
    runtimes=(LITERT, TENSORFLOW_LITE),
    chosen=chosen,
    promises=promises,
    layers=layers.losses,
    sound=sound.soundness,
    code=code.code_in,
    describe={".tflite": describe.tflite},
    packages={"ai-edge-litert": "checking TF Lite", "ai-edge-quantizer": "quantizing TF Lite"},
)
