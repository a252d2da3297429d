"""tensorflow.js: a graph model for each signature, and a layers model of a Keras model's call."""

import json
import math
import shutil
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock
from urllib.parse import quote

from pydantic import Field, field_validator

from converters.contract.errors import BadInput, ChildFailed, Damaged, MissingRuntime, Unsupported
from converters.contract.values import (
    SERVE,
    Artifact,
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
from converters.formats import frozen, keras_config
from converters.formats import saved_model as meta_graph
from converters.reference import golden
from converters.targets.tfjs import dtypes as tfjs_dtypes
from converters.targets.tfjs import folding as tfjs_folding
from converters.targets.tfjs import javascript, keras2
from converters.targets.tflite import diagnosis

NAME = "tfjs"
FRESH: frozenset[str] = frozenset(javascript.RUNTIMES)
KEPT = dict.fromkeys(javascript.RUNTIMES, "javascript")
TRIED = {"layers": "node-wasm"}
INSTEAD = {"node-wasm": "node-cpu", "chromium-wasm": "chromium-cpu", "chromium-webgl": "chromium-cpu"}
EARLY = frozenset({"layers"})
_FLOAT = Tolerance(error=1e-4, mismatch=0.0, reason="float32 in JavaScript and in WebGL's float32 textures")
TOLERANCES = {
    "graph": _FLOAT,
    "layers": _FLOAT,
    "graph-float16": Tolerance(error=1e-2, mismatch=0.02, reason="weights keep 11 bits; the error grows with depth"),
    "graph-uint8": Tolerance(error=1e-1, mismatch=0.1, reason="weights of 8 bits, one scale for each tensor"),
}
QUALITY = {
    "graph-float16": Quality(snr_db=25, cosine=0.99, top1=0.98),
    "graph-uint8": Quality(snr_db=10, cosine=0.95, top1=0.9),
}
"""As tflite.QUALITY."""
PROTO_BYTES = 2**31 - 1
"""Largest protocol buffer, which a frozen graph is (protobuf.dev/programming-guides/encoding/#size-limit)."""
_HELD = {"int64": "int32", "uint8": "int32", "int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int32"}
_HELD |= {"float64": "float32", "float16": "float32", "bfloat16": "float32"}
_ITEM_BYTES = {"float32": 4, "int32": 4, "complex64": 8, "bool": 1, "uint8": 1, "uint16": 2, "float16": 2}
"""Bytes of one element in a weight file (tfjs-core's DTYPE_VALUE_SIZE_MAP)."""


class TfjsOptions(Options):
    """tensorflow.js's options. Without `variants`: graph, and layers for a Keras model."""

    known_variants: ClassVar[tuple[str, ...]] = tuple(TOLERANCES)
    known_quality: ClassVar[Mapping[str, Quality]] = QUALITY
    variants: tuple[str, ...] = ()
    runtimes: tuple[javascript.Runtime, ...] = Field(
        default=("node-wasm", "chromium-webgl"),
        description="where every model must run; where one lacks a kernel, its program's cpu must run it in its place",
    )

    @field_validator("runtimes")
    @classmethod
    def _both_programs(cls, value: tuple[javascript.Runtime, ...]) -> tuple[javascript.Runtime, ...]:
        for program in javascript.PROGRAMS:
            if not any(runtime.startswith(f"{program}-") for runtime in value):
                known = ", ".join(runtime for runtime in javascript.RUNTIMES if runtime.startswith(f"{program}-"))
                raise ValueError(f"none of them is {program.capitalize()}'s; add one of {known}")
        return tuple(dict.fromkeys(value))

    def chosen_runtimes(self) -> tuple[str, ...]:
        """Those of the field."""
        return self.runtimes


OPTIONS = TfjsOptions


def holds(dtype: str) -> str:
    """tensorflow.js has float32, int32, bool, string and complex64; it holds other numbers as the first two."""
    return _HELD.get(dtype, dtype)


def variants(source: Source, options: Options) -> Sequence[str]:
    """Those the options name, or all that lose nothing."""
    return options.variants or (("graph", "layers") if source.kind in ("tf_keras", "keras") else ("graph",))


def convert(source: Source, variant: str, out_dir: Path, options: Options) -> list[Artifact]:
    """Write tfjs/VARIANT/SIGNATURE/ for graph models, tfjs/layers/ for the layers model."""
    if variant == "layers":
        return _layers(source, out_dir / NAME / "layers")
    return [_graph(source, variant, key, out_dir / NAME / variant / quote(key, safe="")) for key in source.signatures]


def _graph(source: Source, variant: str, key: str, out_dir: Path) -> Artifact:
    """The graph model of one signature; from its frozen graph where it cannot be converted as it was exported."""
    definition = meta_graph.read(source.saved_model)
    if reason := _too_large(definition, key):
        return Artifact(target=NAME, variant=variant, signature=key, path=None, reason=reason)
    note = None
    try:
        try:
            _write_graph(source.saved_model, variant, key, out_dir)
        except Unsupported:
            raise
        except Exception:  # the converter and the loader raise of every kind
            note = "converted from its frozen graph, since as it is it cannot be converted"
            shutil.rmtree(out_dir, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix="fanout-tfjs-") as scratch:
                traceback.print_exc()
                _write_graph(frozen.write(source.saved_model, [key], Path(scratch) / "frozen"), variant, key, out_dir)
    except Unsupported as error:
        shutil.rmtree(out_dir, ignore_errors=True)
        return Artifact(target=NAME, variant=variant, signature=key, path=None, reason=str(error))
    return Artifact(target=NAME, variant=variant, signature=key, path=out_dir / "model.json", reason=note)


def _too_large(definition: Any, key: str, limit: int = PROTO_BYTES) -> str | None:
    """Why the signature cannot be frozen, which a graph model is made from; None where it can."""
    needed = frozen.variable_bytes(definition, [key])
    if needed <= limit:
        return None
    return (
        f"its weights take {needed / 2**30:.2f} GiB and a frozen graph holds {limit / 2**30:.2f} GiB; split the model"
    )


def _write_graph(saved_model: Path, variant: str, key: str, out_dir: Path) -> None:
    """Write the graph model. Raises Unsupported, and whatever the converter does."""
    from tensorflowjs.converters import tf_saved_model_conversion_v2 as converter

    quantized = {"graph-float16": {"float16": "*"}, "graph-uint8": {"uint8": "*"}}.get(variant)
    loaded = converter._load_model(str(saved_model), [SERVE])  # a signature does not keep its variables alive
    alone = _with_signature_alone(loaded, key)
    extract = converter.extract_weights
    optimize = converter.optimize_graph
    nodes: dict[str, str] = {}

    def optimized(graph: Any, *args: Any, **kwargs: Any) -> Any:
        nodes.update(tfjs_dtypes.nodes_by_op(graph.as_graph_def()))
        return optimize(graph, *args, **kwargs)

    def extracted(graph: Any, initializer: Any = None) -> Any:
        tfjs_dtypes.hold(graph)
        if initializer is not None:
            tfjs_dtypes.hold(initializer)
        return extract(graph, initializer)

    # The converter matches the signature's names with the graph's tensors by dtype and shape, so of two alike neither
    # is named, and of two it takes for the same one is lost. Here tensors keep their own names until all is written.
    # Loops and branches stay functions: tensorflow.js finds no order in which to run some that are lowered to
    # Switch and Merge, such as two of Keras 3's recurrent layers side by side.
    exact: dict[str, Any] = {"_load_model": lambda *_: alone, "_find_signature_def_name": lambda tensor, _: tensor.name}
    exact |= {"optimize_graph": optimized, "extract_weights": extracted}
    try:
        with mock.patch.multiple(converter, **exact), tfjs_folding.at_once():
            converter.convert_tf_saved_model(
                str(saved_model),
                str(out_dir),
                signature_def=key,
                saved_model_tags=SERVE,
                quantization_dtype_map=quantized,
                control_flow_v2=True,
            )
    except ValueError as error:
        reason = diagnosis.of_tfjs_ops(error, nodes)
        if reason is None:
            raise
        raise Unsupported(reason) from error
    _require_initializer(out_dir / "model.json")
    _name_tensors(out_dir / "model.json", loaded.signatures[key])


def _require_initializer(path: Path) -> None:
    """The ops that fill the model's tables must be tensorflow.js's too; its converter looks at the others alone.

    Raises:
        Unsupported: one of them is not.
    """
    from google.protobuf import json_format
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflowjs.converters import tf_saved_model_conversion_v2 as converter

    written = json.loads(path.read_text()).get("modelInitializer")
    if written is None:
        return
    initializer = json_format.ParseDict(written, GraphDef())
    lacking = converter.validate(initializer, skip_op_check=False, strip_debug_ops=False)
    if lacking:
        raise Unsupported(diagnosis.of_tfjs_lacking(lacking, tfjs_dtypes.nodes_by_op(initializer)))


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
    """The layers model of a Keras model's call."""
    from tensorflowjs.converters import keras_h5_conversion

    if source.kind not in ("tf_keras", "keras"):
        raise Unsupported("a layers model is made of a tf_keras or Keras model; use the graph model")
    if source.keras_signature is None:
        raise Unsupported(
            "a layers model holds the model's call alone, which is no signature here; use the graph model"
        )
    with tempfile.TemporaryDirectory(prefix="fanout-tfjs-") as scratch:
        file = _keras2_file(source, Path(scratch))
        with _writing():
            topology, weights = keras_h5_conversion.h5_merged_saved_model_to_tfjs_format(str(file))
            out_dir.mkdir(parents=True)
            keras_h5_conversion.write_artifacts(topology, weights, str(out_dir))
    path = out_dir / "model.json"
    try:
        _adapt(path)
    except Unsupported:
        shutil.rmtree(out_dir)
        raise
    other = "a layers model holds the model's call alone; this signature has a graph model"
    return [
        Artifact(target=NAME, variant="layers", signature=key, path=path)
        if key == source.keras_signature
        else Artifact(target=NAME, variant="layers", signature=key, path=None, reason=other)
        for key in source.signatures
    ]


def _keras2_file(source: Source, scratch: Path) -> Path:
    """An HDF5 file of the source as a Functional or Sequential model of tf_keras, whose configs tensorflow.js reads."""
    from converters.source.live import load_keras

    if source.keras_file is None:
        raise Unsupported(f"{source.keras_problem}; use the graph model")
    if source.kind == "tf_keras" and source.keras_file.suffix == ".h5":
        return source.keras_file
    try:
        model = load_keras(source.keras_file, source.builder)
    except BadInput as error:
        raise Unsupported(f"{error}; use the graph model") from error
    if not keras_config.is_supported(keras_config.of_model(model)):
        raise Unsupported("a layers model can only be Functional or Sequential; use the graph model")
    if source.kind == "keras":
        model = keras2.rebuilt(model)
    file = scratch / "model.h5"
    with _writing(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that HDF5 is an old format
        model.save(file, include_optimizer=False)
    return file


@contextmanager
def _writing() -> Iterator[None]:
    """Raises Unsupported where what is in the block finds what a layers model cannot hold."""
    try:
        yield
    except (NotImplementedError, ValueError, TypeError) as error:  # a weight's dtype, a layer without config
        text = " ".join(str(error).split())[: diagnosis.MOST]
        raise Unsupported(f"it cannot be written as a layers model: {text}; use the graph model") from error


def _adapt(path: Path) -> None:
    """Write a model's config as tensorflow.js expects it: inputs and outputs in a list, and no argument twice.

    tf_keras writes a SeparableConv2D with the arguments of a Conv2D's kernel too, which tensorflow.js refuses.

    Raises:
        Unsupported: the dict's keys are not the layers' names, by which tensorflow.js names outputs.
    """
    model = json.loads(path.read_text())
    config = model["modelTopology"]["model_config"]["config"]
    for layer in keras_config.objects(config):
        if str(layer["class_name"]).startswith("SeparableConv"):
            for unused in ("kernel_initializer", "kernel_regularizer", "kernel_constraint"):
                layer["config"].pop(unused, None)
    for side in ("input_layers", "output_layers"):
        ends = config.get(side)
        if not isinstance(ends, dict):
            continue
        if side == "output_layers" and any(key != end[0] for key, end in ends.items()):
            named = ", ".join(f"{key!r} of layer {end[0]!r}" for key, end in ends.items())
            remedy = "name the layers as the outputs, or use the graph model"
            raise Unsupported(f"a layers model names outputs by their layers, and this one returns {named}; {remedy}")
        config[side] = list(ends.values())
    path.write_text(json.dumps(model))


def try_out(source: Source, artifacts: Sequence[Artifact]) -> None:
    """Let tensorflow.js load and run a layers model once, which alone knows what layers and arguments it has."""
    path = next(artifact.path for artifact in artifacts if artifact.path is not None)
    case = golden.load(source.golden).cases[source.keras_signature or ""][-1]
    request = javascript.Request(path, "layers", [case.inputs], timed=False)
    try:
        (answer,) = javascript.run("node-wasm", [request], seconds=None)
        if answer.lacks:
            (answer,) = javascript.run("node-cpu", [request], seconds=None)
    except (MissingRuntime, ChildFailed, Damaged):
        return
    reason = diagnosis.of_tfjs_layers(answer.error) if answer.error else None
    if reason is not None:
        shutil.rmtree(path.parent)
        raise Unsupported(f"{reason}; use the graph model")


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
    runtimes = TfjsOptions().runtimes
    return Structure(signatures={artifact.signature or "": signature}, reader=reader, runtimes=runtimes)


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


def predict(
    artifacts: Sequence[Artifact], cases: Mapping[str, Sequence[Tensors]], runtime: javascript.Runtime
) -> list[Prediction]:
    """One Node (which may drive one Chromium) for all artifacts, and in a kept child for all its calls."""
    requests = [
        javascript.Request(
            model=artifact.path,  # type: ignore[arg-type]
            kind="layers" if artifact.variant == "layers" else "graph",
            cases=list(cases[artifact.signature or ""]),
        )
        for artifact in artifacts
    ]
    return [
        Prediction(
            runtime=answer.runtime,
            outputs=answer.outputs,
            latency_ms=answer.latency_ms,
            error=answer.error,
            lacks=answer.lacks,
        )
        for answer in javascript.run(runtime, requests, seconds=None)
    ]
