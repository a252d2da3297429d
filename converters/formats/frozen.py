"""Freezing: some signatures of a SavedModel alone, their variables as constants, on no device in particular.

Some graphs cannot be converted as they were exported: pinned to a device that is not here, with variables that
are written to or of TF 1's reference kind, or loaded with lookup tables that only other signatures use. A session can
run them all the same, so it is a session's graph that is frozen. Names stay those of the SavedModel's signatures.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from converters.contract.errors import Unsupported, raised
from converters.contract.values import SERVE
from converters.formats import graph
from converters.formats.saved_model import read

_TABLES = frozenset({"HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2", "MutableDenseHashTableV2"})


def reason_to(meta_graph: Any, keys: Iterable[str]) -> str | None:
    """Why these signatures of a MetaGraphDef had better be frozen; None where they can be converted as they are.

    A converter initialises every table of a SavedModel, and so needs its ops even for a signature without any.
    """
    if any(node.op in _TABLES for node in meta_graph.graph_def.node) and not uses_tables(meta_graph, keys):
        return "the model's lookup tables belong to other signatures"
    return None


def uses_tables(meta_graph: Any, keys: Iterable[str]) -> bool:
    """Whether any of the signatures reads a lookup table, which cannot be frozen."""
    return any(node.op in _TABLES for node in graph.reached(meta_graph, keys))


def reads_references(meta_graph: Any, keys: Iterable[str]) -> bool:
    """Whether any of the signatures reads a variable of TF 1's reference kind."""
    return any(node.op in ("Variable", "VariableV2") for node in graph.reached(meta_graph, keys))


def variable_bytes(meta_graph: Any, keys: Iterable[str], float32_bytes: int = 4) -> int:
    """Bytes of the variables that these signatures read, by the dtypes and shapes in the graph: nothing is loaded.

    Optimizer slots and other signatures' variables, which a checkpoint holds too, are not among them. `float32_bytes`
    is what one float32 takes where it is stored.
    """
    import tensorflow as tf

    total = 0
    for node in graph.reached(meta_graph, keys):
        if node.op in graph.VARIABLES:
            dtype = tf.as_dtype(node.attr["dtype"].type)
            size = float32_bytes if dtype == tf.float32 else max(dtype.size or 1, 1)
            total += size * (tf.TensorShape(node.attr["shape"].shape).num_elements() or 0)
    return total


def write(saved_model: Path, keys: Sequence[str], folder: Path) -> Path:
    """Write these signatures as a SavedModel without variables below `folder`, which is returned.

    Raises:
        Unsupported: they read a lookup table, or cannot be frozen; says which op stands in the way.
    """
    import tensorflow as tf

    definition = read(saved_model)
    if uses_tables(definition, keys):
        raise Unsupported("it reads a lookup table, which a frozen graph cannot hold")
    v1 = tf.compat.v1
    frozen = _freeze(saved_model, definition, keys)
    with v1.Session(graph=tf.Graph()) as session:
        tf.import_graph_def(frozen, name="")
        signatures = {key: definition.signature_def[key] for key in keys}
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [SERVE], signature_def_map=signatures)
        builder.save()
    return folder


def _freeze(saved_model: Path, definition: Any, keys: Sequence[str]) -> Any:
    import tensorflow as tf

    v1 = tf.compat.v1
    chosen = [definition.signature_def[key] for key in keys]
    tensors = [info for signature in chosen for side in (signature.inputs, signature.outputs) for info in side.values()]
    names = sorted({graph.node_of(info.name) for info in tensors})
    try:
        with v1.Session(graph=tf.Graph()) as session:
            tags = list(definition.meta_info_def.tags) or [SERVE]
            v1.saved_model.load(session, tags, str(saved_model), clear_devices=True)
            graph_def = session.graph.as_graph_def()
            for node in graph.nodes(graph_def):
                node.device = ""
            frozen = v1.graph_util.convert_variables_to_constants(session, graph_def, names)
        graph.drop_unused_functions(frozen)
        with tf.Graph().as_default():
            tf.import_graph_def(frozen, name="")
    except Exception as error:  # the loader raises OSError, ValueError and every tf.errors.OpError, freezing others
        raise Unsupported(f"its graph cannot be frozen: {raised(error, 200)}") from error
    left = sorted({node.op for node in graph.nodes(frozen)} & {*graph.VARIABLES, "AssignVariableOp"})
    if left:
        raise Unsupported(f"its graph cannot be frozen: it writes to a variable ({', '.join(left)})")
    return frozen
