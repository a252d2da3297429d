"""Reading a TF Lite file back, and running it in LiteRT or in TensorFlow's interpreter."""

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from converters.contract.errors import Damaged, said
from converters.contract.target import Cases
from converters.contract.values import Artifact, Prediction, Structure, Tensors
from converters.processes.timing import predicted
from converters.targets.tflite import elsewhere, ends, flatbuffer, litert_js, micro
from converters.targets.tflite.options import INTEGER_ENDS, QUANTIZED, RECIPE, TFLiteOptions


def inspect(artifact: Artifact) -> Structure:
    """Signatures, dtypes and shapes as the flatbuffer has them, and whether it needs select TF ops to run.

    Raises Damaged too where a file that is called quantized computes in floating point alone.
    """
    assert artifact.path is not None
    kind = TFLiteOptions.kind_of(artifact.variant)
    with flatbuffer.reading(artifact.path) as model:
        signatures = flatbuffer.signatures(model)
        uses = flatbuffer.uses(model)
        integers = ends.quantized(model) if kind in (INTEGER_ENDS, RECIPE) else {}
        unknown = {key: elsewhere.lacking(model, key) for key in signatures}
        flex = any(name.startswith(flatbuffer.FLEX) for name in flatbuffer.op_names(model))
    if kind in QUANTIZED and not any(QUANTIZED[kind][0] in use.dtypes for use in uses.values()):
        ops = sorted({op for use in uses.values() for op in use.float_ops})
        if ops:
            raise Damaged(f"{artifact.path.name} is not quantized: it computes {', '.join(ops)} in floating point")
    reader = f"flatbuffer schema {model.version}"
    more = [litert_js.NAME] if litert_js.takes(signatures) and not flex else []
    more += [micro.NAME] if kind == INTEGER_ENDS and micro.takes(signatures) and not flex else []
    return Structure(
        signatures={k: ends.as_numbers(each, integers[k]) if k in integers else each for k, each in signatures.items()},
        reader=reader,
        runtimes=("tensorflow-lite" if flex else "litert", *more),
        quantized=integers,
        elsewhere=unknown,
    )


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
    import tensorflow as tf

    return _predict(artifacts, cases, tf.lite.Interpreter, f"tensorflow lite {tensorflow_version()} with select ops")


def _predict(artifacts: Sequence[Artifact], cases: Cases, interpreter_class: Any, name: str) -> list[Prediction]:
    """Through signature runners of one interpreter."""
    assert artifacts[0].path is not None
    try:
        interpreter = interpreter_class(model_path=str(artifacts[0].path))
    except (ValueError, RuntimeError) as error:
        raise Damaged(f"{artifacts[0].path.name} cannot be loaded: {error}") from error
    predictions = []
    for key in (artifact.signature or "" for artifact in artifacts):
        try:
            predictions.append(
                predicted(name, partial(_run, interpreter, interpreter.get_signature_runner(key)), cases[key])
            )
        except (ValueError, RuntimeError, TypeError) as error:
            predictions.append(Prediction(runtime=name, error=f"{key}: {said(error)}"))
    return predictions


def _run(interpreter: Any, runner: Any, inputs: Tensors) -> Tensors:
    given = ends.taken(inputs, runner.get_input_details())
    outputs = ends.returned(runner(**given), runner.get_output_details())
    interpreter.reset_all_variables()  # a signature remembers nothing, but the kernel of a fused LSTM does
    return outputs
