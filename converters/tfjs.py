"""tensorflow.js: a graph model for each signature, and a layers model of a tf_keras model's call."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from converters import javascript, keras_config
from converters.contract import (
    Artifact,
    Options,
    Prediction,
    Signature,
    Source,
    Structure,
    Tensors,
    TensorSpec,
    Tolerance,
)
from converters.errors import BadInput, Damaged, Unsupported

NAME = "tfjs"
FRESH = frozenset(javascript.RUNTIMES)
_FLOAT = Tolerance(error=1e-4, mismatch=0.0, reason="float32 in JavaScript and in WebGL's float32 textures")
TOLERANCES = {
    "graph": _FLOAT,
    "layers": _FLOAT,
    "graph-float16": Tolerance(error=2e-2, mismatch=0.02, reason="weights keep 11 bits; the error grows with depth"),
    "graph-uint8": Tolerance(error=2e-1, mismatch=0.1, reason="weights of 8 bits, one scale for each tensor"),
}
_HELD = {"int64": "int32", "uint8": "int32", "int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int32"}
_HELD |= {"float64": "float32", "float16": "float32", "bfloat16": "float32"}


class TfjsOptions(Options):
    """tensorflow.js's options. Without `variants`: graph, and layers for a tf_keras model."""

    known_variants: ClassVar[tuple[str, ...]] = tuple(TOLERANCES)
    variants: tuple[str, ...] = ()


OPTIONS = TfjsOptions


def holds(dtype: str) -> str:
    """tensorflow.js has float32, int32, bool, string and complex64; it holds other numbers as the first two."""
    return _HELD.get(dtype, dtype)


def variants(source: Source, options: Options) -> Sequence[str]:
    """Those the options name, or all that lose nothing."""
    return options.variants or (("graph", "layers") if source.kind == "tf_keras" else ("graph",))


def convert(source: Source, variant: str, out_dir: Path, options: Options) -> list[Artifact]:
    """Write tfjs/VARIANT/SIGNATURE/ for graph models, tfjs/layers/ for the layers model."""
    if variant == "layers":
        return _layers(source, out_dir / NAME / "layers")
    return [_graph(source, variant, key, out_dir / NAME / variant / quote(key, safe="")) for key in source.signatures]


def _graph(source: Source, variant: str, key: str, out_dir: Path) -> Artifact:
    from tensorflowjs.converters import tf_saved_model_conversion_v2 as converter

    quantized = {"graph-float16": {"float16": "*"}, "graph-uint8": {"uint8": "*"}}.get(variant)
    try:
        converter.convert_tf_saved_model(
            str(source.saved_model),
            str(out_dir),
            signature_def=key,
            saved_model_tags="serve",
            quantization_dtype_map=quantized,
        )
    except ValueError as error:
        text = " ".join(str(error).split())
        if "Unsupported Ops" not in text:
            raise
        reason = f"tensorflow.js has no {text[text.index('Unsupported Ops') :]}"
        return Artifact(target=NAME, variant=variant, signature=key, path=None, reason=reason)
    return Artifact(target=NAME, variant=variant, signature=key, path=out_dir / "model.json")


def _layers(source: Source, out_dir: Path) -> list[Artifact]:
    from tensorflowjs.converters import keras_h5_conversion

    from converters.live import load_keras

    if source.kind != "tf_keras":
        raise Unsupported("a layers model is made of a tf_keras model; use the graph model")
    if source.keras_file is None:
        raise Unsupported(f"{source.keras_problem}; use the graph model")
    try:
        model = load_keras(source.keras_file, source.builder)
    except BadInput as error:
        raise Unsupported(f"{error}; use the graph model") from error
    if not keras_config.is_supported({"config": getattr(model, "get_config", dict)()}):
        raise Unsupported("a layers model can only be Functional or Sequential; use the graph model")
    keras_h5_conversion.save_keras_model(model, str(out_dir))
    other = "a layers model holds the model's call alone; this signature has a graph model"
    return [
        Artifact(target=NAME, variant="layers", signature=key, path=out_dir / "model.json")
        if key == source.keras_signature
        else Artifact(target=NAME, variant="layers", signature=key, path=None, reason=other)
        for key in source.signatures
    ]


def inspect(artifact: Artifact) -> Structure:
    """The signature in model.json, and every weight file that it lists, which must be there in full."""
    assert artifact.path is not None
    try:
        model = json.loads(artifact.path.read_text())
        if artifact.variant == "layers":
            signature = keras_config.signature(model["modelTopology"]["model_config"])
        else:
            signature = _signature(model["signature"])
        _require_weights(artifact.path.parent, model["weightsManifest"])
        reader = f"model.json by {model['convertedBy']}"
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{artifact.path.name} cannot be read: {type(error).__name__}: {error}") from error
    return Structure(signatures={artifact.signature or "": signature}, reader=reader, runtimes=javascript.RUNTIMES)


def _require_weights(folder: Path, manifest: Any) -> None:
    for path in (path for group in manifest for path in group["paths"]):
        if not (folder / path).is_file():
            raise Damaged(f"the weight file {path} is missing")


def _signature(signature: Mapping[str, Any]) -> Signature:
    return Signature(
        inputs={name: _spec(info) for name, info in signature["inputs"].items()},
        outputs={name: _spec(info) for name, info in signature["outputs"].items()},
    )


def _spec(info: Mapping[str, Any]) -> TensorSpec:
    """A TensorInfo proto in JSON, where numbers are strings and a dynamic dimension is -1."""
    from tensorflow import dtypes
    from tensorflow.core.framework.types_pb2 import DataType

    shape = info.get("tensorShape", {})
    sizes = [int(dimension.get("size", 0)) for dimension in shape.get("dim", [])]
    return TensorSpec(
        shape=None if shape.get("unknownRank") else tuple(None if size < 0 else size for size in sizes),
        dtype=dtypes.as_dtype(DataType.Value(info["dtype"])).name,
    )


def predict(artifacts: Sequence[Artifact], cases: Mapping[str, Sequence[Tensors]], runtime: str) -> list[Prediction]:
    """One Node (which may drive one Chromium) for all artifacts."""
    requests = [
        javascript.Request(
            model=artifact.path,  # type: ignore[arg-type]
            kind="layers" if artifact.variant == "layers" else "graph",
            cases=list(cases[artifact.signature or ""]),
        )
        for artifact in artifacts
    ]
    return [
        Prediction(runtime=answer.runtime, outputs=answer.outputs, latency_ms=answer.latency_ms, error=answer.error)
        for answer in javascript.run(runtime, requests)
    ]
