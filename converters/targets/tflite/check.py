"""Reading a TF Lite file back, and running it in LiteRT or in TensorFlow's interpreter."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from converters.contract.errors import Damaged
from converters.contract.target import Cases
from converters.contract.values import Artifact, LayerLoss, Prediction, Signature, Structure, Tensors
from converters.processes.timing import median_ms
from converters.targets.tflite import flatbuffer
from converters.targets.tflite import layers as tflite_layers
from converters.targets.tflite.flatbuffer import FLEX, specs


def inspect(artifact: Artifact) -> Structure:
    """Signatures, dtypes and shapes as the flatbuffer has them, and whether it needs select TF ops to run.

    Raises Damaged too where a file called int8 computes in floating point alone.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    assert artifact.path is not None
    try:
        content = artifact.path.read_bytes()
        if content[4:8] != b"TFL3":
            raise Damaged(f"{artifact.path.name} is no TF Lite file: its identifier is {content[4:8]!r}")
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        signatures = {
            definition.signatureKey.decode(): Signature(
                inputs=specs(model.subgraphs[definition.subgraphIndex], definition.inputs, schema),
                outputs=specs(model.subgraphs[definition.subgraphIndex], definition.outputs, schema),
            )
            for definition in model.signatureDefs or ()
        }
        uses = flatbuffer.uses(model, schema)
        flex = any(code.customCode and code.customCode.decode().startswith(FLEX) for code in model.operatorCodes)
    except Damaged:
        raise
    except Exception as error:  # a damaged flatbuffer leads the generated code anywhere: struct.error, IndexError, ...
        raise Damaged(
            f"{artifact.path.name} cannot be read as a flatbuffer: {type(error).__name__}: {error}"
        ) from error
    if artifact.variant == "int8" and not any(use.int8 for use in uses.values()):
        ops = sorted({op for use in uses.values() for op in use.float_ops})
        if ops:
            raise Damaged(f"{artifact.path.name} is not quantized: it computes {', '.join(ops)} in floating point")
    reader = f"flatbuffer schema {model.version}"
    return Structure(signatures=signatures, reader=reader, runtimes=("tensorflow-lite",) if flex else ("litert",))


def litert_version() -> str:
    """LiteRT's."""
    return version("ai-edge-litert")


def tensorflow_version() -> str:
    """TensorFlow's, whose own interpreter has the select TF ops."""
    return version("tensorflow")


def run_litert(artifacts: Sequence[Artifact], cases: Cases, seconds: float) -> list[Prediction]:
    """Run in the runtime that TF Lite files are deployed with."""
    from ai_edge_litert.interpreter import Interpreter

    return _predict(artifacts, cases, Interpreter, f"litert {litert_version()}")


def run_tensorflow_lite(artifacts: Sequence[Artifact], cases: Cases, seconds: float) -> list[Prediction]:
    """Run in TensorFlow's interpreter."""
    from tensorflow.lite.python.interpreter import Interpreter

    return _predict(artifacts, cases, Interpreter, f"tensorflow lite {tensorflow_version()} with select ops")


def _predict(artifacts: Sequence[Artifact], cases: Cases, interpreter_class: Any, name: str) -> list[Prediction]:
    """Through signature runners of one interpreter."""
    if not artifacts:
        return []
    assert artifacts[0].path is not None
    try:
        interpreter = interpreter_class(model_path=str(artifacts[0].path))
    except (ValueError, RuntimeError) as error:
        raise Damaged(f"{artifacts[0].path.name} cannot be loaded: {error}") from error
    predictions = []
    for artifact in artifacts:
        key = artifact.signature or ""
        try:
            runner = interpreter.get_signature_runner(key)
            outputs = [_run(runner, inputs) for inputs in cases[key]]
            latency = median_ms(lambda runner=runner, key=key: _run(runner, cases[key][-1]))  # type: ignore[misc]
            predictions.append(Prediction(runtime=name, outputs=outputs, latency_ms=latency))
        except (ValueError, RuntimeError, TypeError) as error:
            predictions.append(Prediction(runtime=name, error=f"{key}: {' '.join(str(error).split())[:300]}"))
    return predictions


def layers(artifact: Artifact, saved_model: Path, inputs: Tensors) -> list[LayerLoss]:
    """What each layer of the file itself loses against the same SavedModel converted to float32."""
    assert artifact.path is not None
    return tflite_layers.losses(artifact.path, saved_model, artifact.signature or "", inputs)


def _run(runner: Any, inputs: Tensors) -> Tensors:
    return {name: np.array(value) for name, value in runner(**inputs).items()}
