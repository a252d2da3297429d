"""TF Lite: float32, float16, dynamic-range and full-int8 files, each with every signature."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from converters.contract.errors import Damaged
from converters.contract.values import (
    Artifact,
    LayerLoss,
    Options,
    Prediction,
    Quality,
    Signature,
    Source,
    Structure,
    Tensors,
    TensorSpec,
    Tolerance,
)
from converters.processes.timing import median_ms
from converters.reference import golden
from converters.targets.tflite import convert as tflite_convert
from converters.targets.tflite import layers as tflite_layers
from converters.targets.tflite.convert import FLEX

NAME = "tflite"
FRESH = frozenset({"litert"})
KEPT = {"litert": "litert"}
INSTEAD: dict[str, str] = {}
EARLY: frozenset[str] = frozenset()
TOLERANCES = {
    "float32": Tolerance(error=1e-4, mismatch=0.0, reason="float32 throughout; XNNPACK sums in another order"),
    "float16": Tolerance(error=1e-2, mismatch=0.02, reason="weights keep 11 bits; the error grows with depth"),
    "dynamic": Tolerance(error=5e-2, mismatch=0.05, reason="weights of 8 bits, activations quantized per batch"),
    "int8": Tolerance(error=1e-1, mismatch=0.1, reason="weights and activations of 8 bits, ranges from calibration"),
}
QUALITY = {
    "float16": Quality(snr_db=25, cosine=0.99, top1=0.98),
    "dynamic": Quality(snr_db=12, cosine=0.96, top1=0.95),
    "int8": Quality(snr_db=10, cosine=0.95, top1=0.9),
}
"""What a sound quantization keeps with room to spare: uniform 8-bit rounding of one tensor alone costs 6.02 * 8 = 48 dB
of SNR (Bennett, Spectra of quantized signals, 1948), and depth takes most of it; at 10 dB the error has a third of the
signal's amplitude, which uncorrelated leaves a cosine of 0.95."""


class TFLiteOptions(Options):
    """TF Lite's options."""

    known_variants: ClassVar[tuple[str, ...]] = tuple(TOLERANCES)
    known_quality: ClassVar[Mapping[str, Quality]] = QUALITY
    variants: tuple[str, ...] = tuple(TOLERANCES)
    select_ops: Literal["auto", "never"] = Field(
        default="auto", description="use select TF ops where the built-in ones do not suffice; the app then needs Flex"
    )


OPTIONS = TFLiteOptions


def holds(dtype: str) -> str:
    """TF Lite holds every dtype of a signature as it is: quantized files take and give float32."""
    return dtype


def variants(source: Source, options: Options) -> Sequence[str]:
    """Those the options name."""
    return options.variants


def convert(source: Source, variant: str, out_dir: Path, options: Options) -> list[Artifact]:
    """Write tflite/VARIANT.tflite with every signature that can be converted."""
    assert isinstance(options, TFLiteOptions)
    path = out_dir / NAME / f"{variant}.tflite"
    result = tflite_convert.convert(
        source.saved_model,
        list(source.signatures),
        variant,  # type: ignore[arg-type]
        select_ops=options.select_ops == "auto",
        calibration=lambda keys: _representative(source, keys),
    )
    if result.content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(result.content)
    return [
        Artifact(target=NAME, variant=variant, signature=key, path=None, reason=result.reasons[key])
        if key in result.reasons
        else Artifact(target=NAME, variant=variant, signature=key, path=path, reason=result.notes[key])
        for key in source.signatures
    ]


def _representative(source: Source, keys: list[str]) -> Iterator[tuple[str, Tensors]]:
    """Calibration samples, one at a time, each for its signature: the config's data, or golden's inputs."""
    given = golden.load(source.representative).cases if source.representative else {}
    known = golden.load(source.golden).cases
    for key in keys:
        for case in given.get(key) or known[key]:
            if not source.signatures[key].dynamic_batch:
                yield from _fed(key, case.inputs)
                continue
            for index in range(len(next(iter(case.inputs.values())))):
                yield from _fed(key, {name: value[index : index + 1] for name, value in case.inputs.items()})


def _fed(key: str, sample: Tensors) -> Iterator[tuple[str, Tensors]]:
    """The sample as the calibrator takes it, which reads strings from NumPy's own string type alone.

    That type drops NULs from a string's end, so a sample where this would change one is left out.
    """
    fed = {name: value.astype(np.bytes_) if value.dtype == object else value for name, value in sample.items()}
    if all(np.array_equal(fed[name].astype(object), value) for name, value in sample.items() if value.dtype == object):
        yield key, fed


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
                inputs=_specs(model.subgraphs[definition.subgraphIndex], definition.inputs, schema),
                outputs=_specs(model.subgraphs[definition.subgraphIndex], definition.outputs, schema),
            )
            for definition in model.signatureDefs or ()
        }
        uses = tflite_convert.uses(model, schema)
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


def _specs(subgraph: Any, entries: Any, schema: Any) -> dict[str, TensorSpec]:
    types = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    specs = {}
    for entry in entries:
        tensor = subgraph.tensors[entry.tensorIndex]
        sizes = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
        sizes = [] if sizes is None else list(sizes)
        # Of unknown rank is written as a scalar is, but for this flag.
        shape = None if not sizes and not tensor.hasRank else tuple(None if size < 0 else int(size) for size in sizes)
        specs[entry.name.decode()] = TensorSpec(shape=shape, dtype=types[tensor.type])
    return specs


def predict(artifacts: Sequence[Artifact], cases: Mapping[str, Sequence[Tensors]], runtime: str) -> list[Prediction]:
    """Run through signature runners: in LiteRT, or in TensorFlow's own interpreter, which has the select TF ops."""
    if runtime == "litert":
        from ai_edge_litert.interpreter import Interpreter

        name = f"litert {version('ai-edge-litert')}"
    else:
        from tensorflow.lite.python.interpreter import Interpreter

        name = f"tensorflow lite {version('tensorflow')} with select ops"
    if not artifacts:
        return []
    assert artifacts[0].path is not None
    try:
        interpreter = Interpreter(model_path=str(artifacts[0].path))
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
