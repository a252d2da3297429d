"""The official command lines, one after another, as their documentation gives them; what none of them does is a script.

`tflite_convert` makes a float32 file and no other without its TF 1 converter, so float16, dynamic and int8 are the
scripts of TensorFlow's post-training quantization guide, each a process of its own as a command would be.
`tensorflowjs_converter` is called without what it imports at its top and none of this needs, which is not installed.

Usage: commands.py OUT_DIR. Prints one JSON document on its last line: seconds by stage.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

EXPORT = """
import sys; sys.path.insert(0, {configs!r})
import mobilenet_v2
model = mobilenet_v2.build()
model.export({out!r} + "/saved_model")
model.save({out!r} + "/model.h5")
"""
QUANTIZE = """
import sys; sys.path.insert(0, {configs!r})
import tensorflow as tf
converter = tf.lite.TFLiteConverter.from_saved_model({out!r} + "/saved_model")
converter.optimizations = [tf.lite.Optimize.DEFAULT]
if {variant!r} == "float16":
    converter.target_spec.supported_types = [tf.float16]
if {variant!r} == "int8":
    import mobilenet_v2
    images = mobilenet_v2.representative()["image"]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
open({out!r} + "/" + {variant!r} + ".tflite", "wb").write(converter.convert())
"""
TENSORFLOWJS_CONVERTER = """
from converters.processes.imports import without_unused
with without_unused():
    from tensorflowjs.converters.converter import pip_main
pip_main()
"""


def main(out: Path) -> None:
    """Run them; raises CalledProcessError where one fails."""
    stages: dict[str, float] = {}

    def run(stage: str, *command: object) -> None:
        started = time.perf_counter()
        subprocess.run(
            [str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        stages[stage] = time.perf_counter() - started

    names = {"configs": str(ROOT / "configs"), "out": str(out)}
    run("build, export, hdf5", sys.executable, "-c", EXPORT.format(**names))
    saved = out / "saved_model"
    run("tflite float32", BIN / "tflite_convert", "--saved_model_dir", saved, "--output_file", out / "float32.tflite")
    for variant in ("float16", "dynamic", "int8"):
        run(f"tflite {variant}", sys.executable, "-c", QUANTIZE.format(variant=variant, **names))
    tfjs = (sys.executable, "-c", TENSORFLOWJS_CONVERTER)
    run("tfjs graph", *tfjs, "--input_format=tf_saved_model", saved, out / "tfjs-graph")
    run("tfjs layers", *tfjs, "--input_format=keras", out / "model.h5", out / "tfjs-layers")
    started = time.perf_counter()
    shutil.copytree(saved, out / "serving" / "1")
    stages["serving"] = time.perf_counter() - started
    print(json.dumps(stages))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
