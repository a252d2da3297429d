"""What an engineer writes in an hour: build MobileNetV2, export it, call every converter in turn, check nothing.

Usage: plain.py OUT_DIR. Prints one JSON document on its last line: seconds by stage.
"""

import json
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from converters.processes.imports import without_unused

ROOT = Path(__file__).resolve().parents[2]
stages: dict[str, float] = {}


def timed(stage: str, work: Callable[[], Any]) -> Any:
    """Do it and write down how long it took."""
    started = time.perf_counter()
    result = work()
    stages[stage] = time.perf_counter() - started
    return result


def _import() -> Any:
    with without_unused():  # all that tensorflowjs imports is not installed; the script has the gain
        import tensorflow as tf
        import tf_keras  # noqa: F401
        import tensorflowjs  # noqa: F401  # isort: skip

    return tf


def main(out: Path) -> None:
    """Every output that this project makes of configs/mobilenet_v2.yaml, in its order."""
    warnings.simplefilter("ignore")
    tf = timed("import", _import)
    sys.path.insert(0, str(ROOT / "configs"))
    import mobilenet_v2 as config
    from tensorflowjs.converters import keras_h5_conversion, tf_saved_model_conversion_v2

    model = timed("build", config.build)
    saved = out / "saved_model"
    timed("export", lambda: model.export(str(saved)))

    def tflite(variant: str) -> None:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
        if variant != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if variant == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if variant == "int8":
            images = config.representative()["image"]
            converter.representative_dataset = lambda: ([image[None]] for image in images)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        (out / f"{variant}.tflite").write_bytes(converter.convert())

    for variant in ("float32", "float16", "dynamic", "int8"):
        timed(f"tflite {variant}", lambda variant=variant: tflite(variant))
    graph = tf_saved_model_conversion_v2.convert_tf_saved_model
    timed("tfjs graph", lambda: graph(str(saved), str(out / "tfjs-graph")))
    timed("tfjs layers", lambda: keras_h5_conversion.save_keras_model(model, str(out / "tfjs-layers")))
    timed("hdf5 model", lambda: model.save(out / "model.h5"))
    timed("serving", lambda: shutil.copytree(saved, out / "serving" / "1"))
    print(json.dumps(stages))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
