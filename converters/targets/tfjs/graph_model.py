"""Writing the graph model of a signature."""

import glob
import json
import shutil
import tempfile
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from converters.contract.errors import Unsupported
from converters.contract.values import SERVE, Artifact, Source
from converters.formats import frozen, saved_model
from converters.reference import hints
from converters.reference.drawing import Hint
from converters.targets.tfjs import NAME, diagnosis, dtypes, fusion, internals, lists, rewriting

PROTO_BYTES = 2**31 - 1
"""Largest protocol buffer, which a frozen graph is (protobuf.dev/programming-guides/encoding/#size-limit)."""

_QUANTIZED = {"graph-float16": "float16", "graph-uint8": "uint8"}
"""Variant -> dtype of its float weights, but for those that it cannot hold."""


def graph(source: Source, variant: str, key: str, out_dir: Path) -> Artifact:
    """The graph model of one signature; from its frozen graph where it cannot be converted as it was exported."""
    definition = saved_model.read(source.saved_model)
    if reason := too_large(definition, key):
        return Artifact(target=NAME, variant=variant, signature=key, path=None, reason=reason)
    try:
        note = write(source.saved_model, variant, key, out_dir)
    except Unsupported as error:
        shutil.rmtree(out_dir, ignore_errors=True)
        return Artifact(target=NAME, variant=variant, signature=key, path=None, reason=str(error))
    return Artifact(target=NAME, variant=variant, signature=key, path=out_dir / "model.json", reason=note)


def too_large(definition: Any, key: str, limit: int = PROTO_BYTES) -> str | None:
    """Why the signature cannot be frozen, which a graph model is made from; None where it can."""
    needed = frozen.variable_bytes(definition, [key])
    if needed <= limit:
        return None
    return (
        f"its weights take {needed / 2**30:.2f} GiB and a frozen graph holds {limit / 2**30:.2f} GiB; split the model"
    )


def write(path: Path, variant: str, key: str, out_dir: Path) -> str | None:
    """Write the graph model of a SavedModel's signature; returns what is to be said of how. Raises Unsupported."""
    try:
        return _write_graph(path, variant, key, out_dir)
    except Unsupported:
        raise
    except Exception:  # the converter and the loader raise of every kind
        traceback.print_exc()
    shutil.rmtree(out_dir, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="fanout-tfjs-") as scratch:
        note = _write_graph(frozen.write(path, [key], Path(scratch) / "frozen"), variant, key, out_dir)
    return "; ".join(filter(None, (note, "converted from its frozen graph, since as it is it cannot be converted")))


def _write_graph(path: Path, variant: str, key: str, out_dir: Path) -> str | None:
    """Write the graph model; returns what is to be known of it. Raises Unsupported, and whatever the converter does."""
    from tensorflowjs.converters import convert_tf_saved_model

    loaded = internals.load(path)  # a signature does not keep its variables alive
    nodes: dict[str, str] = {}
    quantized = _QUANTIZED.get(variant)
    patterns: dict[str, Any] = {} if quantized is None else {quantized: "*"}

    def extracted(weights: dict[str, Any]) -> None:
        if quantized is not None and not all(_fits(value, quantized) for value in weights.values()):
            patterns[quantized] = [glob.escape(name) for name, value in weights.items() if _fits(value, quantized)]

    large: list[str] = []

    def look(graph: Any, signature: Any) -> Any:
        graph = rewriting.rewritten(graph, signature)
        definition = graph.as_graph_def()
        nodes.update(dtypes.nodes_by_op(definition))
        large.extend(dtypes.inexact_in_webgl(definition))
        dtypes.require_real(definition)
        rewriting.require_no_groups(graph)
        if lacking := internals.not_run(definition):
            raise Unsupported(diagnosis.of_lacking(lacking, nodes))
        return graph

    try:
        with internals.converting(
            _with_signature_alone(loaded, key),
            optimizing=look,
            extracting=_adapt,
            extracted=extracted,
        ):
            # Loops and branches stay functions: tensorflow.js finds no order in which to run some that are lowered to
            # Switch and Merge, such as two of Keras 3's recurrent layers side by side.
            convert_tf_saved_model(
                str(path),
                str(out_dir),
                signature_def=key,
                saved_model_tags=SERVE,
                quantization_dtype_map=patterns,
                control_flow_v2=True,
            )
    except ValueError as error:
        reason = diagnosis.of_ops(error, nodes)
        if reason is None:
            raise
        raise Unsupported(reason) from error
    _require_initializer(out_dir / "model.json")
    _name_tensors(out_dir / "model.json", loaded.signatures[key])
    return _of_integers(loaded.signatures[key], large)


def _of_integers(function: Any, constants: list[str]) -> str | None:
    """Which inputs of a loaded signature, or constants (nodes), may hold integers that WebGL does not; None where none."""
    found = hints.of_concrete(function, internals.inputs(function))
    dtypes_of = {name: tensor.dtype.name for name, tensor in internals.inputs(function).items()}
    open_inputs = [
        f"input {name!r}"
        for name, hint in found.items()
        if dtypes_of[name] in ("int32", "int64", "uint32", "uint64") and not _bounded(hint)
    ]
    named = [*open_inputs, *(f"constant {name}" for name in constants)]
    if not named:
        return None
    return f"WebGL holds integers exactly to 2^24 only: {', '.join(named[:3])} may go beyond"


def _bounded(hint: Hint) -> bool:
    if hint.values:
        return bool(max(abs(value) for value in hint.values) <= dtypes.EXACT_IN_WEBGL)
    return hint.high is not None and hint.high <= dtypes.EXACT_IN_WEBGL


def _adapt(graph: Any) -> None:
    """Make the optimized GraphDef one that tensorflow.js can run, in place. Raises Unsupported."""
    dtypes.hold(graph)
    fusion.split(graph)
    lists.keep(graph)


def _fits(value: Any, quantized: str) -> bool:
    """Whether the dtype can hold the weight: float16 nothing beyond 65504, steps of one size nothing infinite."""
    if value.dtype != np.float32:
        return True  # it stays as it is
    with np.errstate(over="ignore"):
        return bool(np.isfinite(value.astype(np.float16) if quantized == "float16" else value).all())


def _require_initializer(path: Path) -> None:
    """The ops that fill the model's tables must be tensorflow.js's too; its converter looks at the others alone.

    Raises:
        Unsupported: one of them is not.
    """
    from google.protobuf import json_format
    from tensorflow.core.framework.graph_pb2 import GraphDef

    written = json.loads(path.read_text()).get("modelInitializer")
    if written is None:
        return
    initializer = json_format.ParseDict(written, GraphDef())
    lacking = internals.lacking(initializer)
    if lacking:
        raise Unsupported(diagnosis.of_lacking(lacking, dtypes.nodes_by_op(initializer)))


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
    """Replace the tensors' names in model.json's signature by those of the SavedModel's, the loaded `function`.

    An input or output that the converter dropped stays absent, for the check to find.
    """
    import tensorflow as tf

    names = {
        "inputs": internals.inputs(function),
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
