"""tensorflow.js: a graph model for each signature, and a layers model of a tf_keras model's call."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock
from urllib.parse import quote

from converters import javascript, keras_config
from converters.contract import (
    SERVE,
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
    "graph-float16": Tolerance(error=1e-2, mismatch=0.02, reason="weights keep 11 bits; the error grows with depth"),
    "graph-uint8": Tolerance(error=1e-1, mismatch=0.1, reason="weights of 8 bits, one scale for each tensor"),
}
_HELD = {"int64": "int32", "uint8": "int32", "int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int32"}
_HELD |= {"float64": "float32", "float16": "float32", "bfloat16": "float32"}
_ITEM_BYTES = {"float32": 4, "int32": 4, "complex64": 8, "bool": 1, "uint8": 1, "uint16": 2, "float16": 2}
"""Bytes of one element in a weight file (tfjs-core's DTYPE_VALUE_SIZE_MAP)."""


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
    loaded = converter._load_model(str(source.saved_model), [SERVE])  # a signature does not keep its variables alive
    alone = _with_signature_alone(loaded, key)
    # The converter matches the signature's names with the graph's tensors by dtype and shape, so of two alike neither
    # is named, and of two it takes for the same one is lost. Here tensors keep their own names until all is written.
    exact: dict[str, Any] = {"_load_model": lambda *_: alone, "_find_signature_def_name": lambda tensor, _: tensor.name}
    try:
        with mock.patch.multiple(converter, **exact):
            converter.convert_tf_saved_model(
                str(source.saved_model),
                str(out_dir),
                signature_def=key,
                saved_model_tags=SERVE,
                quantization_dtype_map=quantized,
            )
    except ValueError as error:
        said, _, ops = str(error).partition("\n")
        if not said.startswith("Unsupported Ops"):
            raise
        shutil.rmtree(out_dir)
        reason = f"tensorflow.js has no op {', '.join(sorted(ops.split(', ')))}"
        return Artifact(target=NAME, variant=variant, signature=key, path=None, reason=reason)
    path = out_dir / "model.json"
    _name_tensors(path, loaded.signatures[key])
    return Artifact(target=NAME, variant=variant, signature=key, path=path)


def _with_signature_alone(loaded: Any, key: str) -> Any:
    """A loaded SavedModel with one of its signatures and the lookup tables that this one uses.

    The converter expects every table of what it loads in the signature's graph, and fails on one it does not find.
    """
    import tensorflow as tf

    resource = tf.saved_model.experimental.TrackableResource
    alone = tf.Module()
    alone.tensorflow_version = loaded.tensorflow_version
    alone.signatures = {key: loaded.signatures[key]}
    used = {id(tensor) for tensor in loaded.signatures[key].captured_inputs}
    found = [item for item in tf.train.TrackableView(loaded).descendants() if isinstance(item, resource)]
    alone.tables = [item for item in found if id(item.resource_handle) in used]
    return alone


def _name_tensors(path: Path, function: Any) -> None:
    """Replace the tensors' names in model.json's signature by those of the SavedModel's signature.

    `function` is the loaded signature. Its own call pairs `_arg_keywords` with `inputs`, one by one (what it captured
    follows), and packs `outputs` into `structured_outputs`. An input or output that the converter dropped stays
    absent, for the check to find.
    """
    import tensorflow as tf

    names = {
        "inputs": dict(zip(function._arg_keywords, function.inputs, strict=False)),
        "outputs": tf.nest.pack_sequence_as(function.structured_outputs, function.outputs),
    }
    model = json.loads(path.read_text())
    for side, tensors in names.items():
        written = model["signature"].get(side, {})
        # A table's handle is an input too; it has no name in the SavedModel's signature.
        handles = {tensor: info for tensor, info in written.items() if info["dtype"] == "DT_RESOURCE"}
        named = {name: written[tensor.name] for name, tensor in sorted(tensors.items()) if tensor.name in written}
        model["signature"][side] = {**named, **handles}
    path.write_text(json.dumps(model))


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
    for group in manifest:
        for path in group["paths"]:
            if not (folder / path).is_file():
                raise Damaged(f"the weight file {path} is missing")
        stored = sum((folder / path).stat().st_size for path in group["paths"])
        needed = _bytes(group["weights"])
        if needed is not None and stored != needed:
            listed = ", ".join(group["paths"])
            raise Damaged(f"the weights need {needed} bytes, but there are {stored} in {listed}")


def _bytes(weights: Any) -> int | None:
    """What a group of weights takes on disk; None where strings are among them, whose size model.json does not say."""
    if any(weight["dtype"] == "string" for weight in weights):
        return None
    counts = ((math.prod(w["shape"]), w.get("quantization", w)["dtype"]) for w in weights)
    return sum(int(count) * _ITEM_BYTES[dtype] for count, dtype in counts)


def _signature(signature: Mapping[str, Any]) -> Signature:
    """The signature without lookup tables' handles, which the model feeds to itself."""
    return Signature(
        inputs={name: _spec(info) for name, info in signature["inputs"].items() if "resourceId" not in info},
        outputs={name: _spec(info) for name, info in signature["outputs"].items()},
    )


def _spec(info: Mapping[str, Any]) -> TensorSpec:
    """A TensorInfo proto in JSON, where numbers are strings and a dynamic dimension is -1.

    The dtype is that of the tensor in tensorflow.js, which reads DT_INT64 as int32.
    """
    from tensorflow import dtypes
    from tensorflow.core.framework.types_pb2 import DataType

    shape = info.get("tensorShape", {})
    sizes = [int(dimension.get("size", 0)) for dimension in shape.get("dim", [])]
    return TensorSpec(
        shape=None if shape.get("unknownRank") else tuple(None if size < 0 else size for size in sizes),
        dtype=holds(dtypes.as_dtype(DataType.Value(info["dtype"])).name),
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
