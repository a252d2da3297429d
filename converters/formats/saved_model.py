"""Reading saved_model.pb: its MetaGraphDef for the `serve` tag-set, that one's signatures, and where tensors lead."""

from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from converters.contract.errors import BadInput, Damaged
from converters.contract.values import SERVE, Signature, TensorSpec

INIT_OP = "__saved_model_init_op"
"""A SignatureDef that names the op to run after loading; it is no entry point (tf.saved_model constants)."""


def read_all(saved_model: Path) -> list[Any]:
    """Every MetaGraphDef in the SavedModel.

    Raises:
        Damaged: saved_model.pb is missing, or no SavedModel proto.
    """
    from tensorflow.python.saved_model.loader_impl import parse_saved_model

    try:
        return list(parse_saved_model(str(saved_model)).meta_graphs)
    except (OSError, DecodeError) as error:
        raise Damaged(f"{saved_model} cannot be read as a SavedModel: {error}") from error


def read(saved_model: Path) -> Any:
    """The MetaGraphDef whose tag-set is exactly `serve`, or else the first that holds `serve`.

    Raises:
        BadInput: no tag-set holds it; names those there are.
        Damaged: see `read_all`.
    """
    graphs = read_all(saved_model)
    serving = [graph for graph in graphs if SERVE in graph.meta_info_def.tags]
    if not serving:
        sets = ", ".join("{" + ",".join(graph.meta_info_def.tags) + "}" for graph in graphs) or "none"
        raise BadInput(f"{saved_model} has no tag-set with {SERVE!r}, which TF Serving loads; it has {sets}")
    return min(serving, key=lambda graph: len(graph.meta_info_def.tags))


def signatures(meta_graph: Any) -> dict[str, Signature]:
    """The entry points that take and return dense tensors, by signature key; `refused` has the others."""
    return {
        key: Signature(
            inputs={name: spec(info) for name, info in definition.inputs.items()},
            outputs={name: spec(info) for name, info in definition.outputs.items()},
        )
        for key, definition in _entry_points(meta_graph)
        if not _composite(definition)
    }


def refused(meta_graph: Any) -> dict[str, str]:
    """The entry points that `signatures` leaves out, each with the reason."""
    return {
        key: f"{', '.join(names)} is a sparse or composite tensor; export its dense parts under names of their own"
        for key, definition in _entry_points(meta_graph)
        if (names := _composite(definition))
    }


def _entry_points(meta_graph: Any) -> list[tuple[str, Any]]:
    definitions = sorted(meta_graph.signature_def.items())
    return [(key, definition) for key, definition in definitions if key != INIT_OP and definition.outputs]


def _composite(definition: Any) -> list[str]:
    """The inputs and outputs that are no single dense tensor (TensorInfo.encoding, meta_graph.proto)."""
    named = [*definition.inputs.items(), *definition.outputs.items()]
    return sorted(repr(name) for name, info in named if info.WhichOneof("encoding") != "name")


def spec(info: Any) -> TensorSpec:
    """A TensorInfo's shape and dtype; a reference to a variable is of the variable's dtype."""
    import tensorflow as tf

    shape = (
        None if info.tensor_shape.unknown_rank else tuple(None if d.size < 0 else d.size for d in info.tensor_shape.dim)
    )
    return TensorSpec(shape=shape, dtype=tf.as_dtype(info.dtype).base_dtype.name)
