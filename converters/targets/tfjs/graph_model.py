"""Writing the graph model of a signature."""

import json
import shutil
import tempfile
import traceback
from pathlib import Path
from typing import Any
from unittest import mock

from converters.contract.errors import Unsupported
from converters.contract.values import SERVE, Artifact, Source
from converters.formats import frozen
from converters.formats import saved_model as meta_graph
from converters.targets.tfjs import NAME, diagnosis
from converters.targets.tfjs import dtypes as tfjs_dtypes
from converters.targets.tfjs import folding as tfjs_folding

PROTO_BYTES = 2**31 - 1
"""Largest protocol buffer, which a frozen graph is (protobuf.dev/programming-guides/encoding/#size-limit)."""


def graph(source: Source, variant: str, key: str, out_dir: Path) -> Artifact:
    """The graph model of one signature; from its frozen graph where it cannot be converted as it was exported."""
    definition = meta_graph.read(source.saved_model)
    if reason := too_large(definition, key):
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


def too_large(definition: Any, key: str, limit: int = PROTO_BYTES) -> str | None:
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
