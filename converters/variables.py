"""A model's variables by name, whether it is live or exported."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from converters.contract import Tensors
from converters.golden import describe_variable

_BOOKKEEPING = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter")
_VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def describe(variables: Tensors) -> tuple[str, ...]:
    """One line per variable, sorted; equal exactly when names, dtypes, shapes and bytes are."""
    return tuple(describe_variable(name, variables[name]) for name in sorted(variables))


def of_live(variables: Iterable[Any]) -> Tensors:
    """Name -> value of live tf.Variables (or Keras 3 variables)."""
    return _unique(
        [(str(getattr(v, "path", None) or v.name).removesuffix(":0"), np.asarray(v.numpy())) for v in variables]
    )


def of_saved_model(saved_model: Path) -> Tensors:
    """Name -> value of an exported model's variables.

    An object-based checkpoint names its tensors by their path in the object graph and keeps the variable's own name
    as `full_name` (tensorflow/core/protobuf/trackable_object_graph.proto); one of TF 1 uses the names themselves.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    prefix = saved_model / "variables" / "variables"
    if not prefix.with_suffix(".index").is_file():
        return {}
    reader = tf.train.load_checkpoint(str(prefix))
    keys = [key for key in reader.get_variable_to_shape_map() if not key.startswith(_BOOKKEEPING)]
    full_names: dict[str, str] = {}
    if reader.has_tensor(_BOOKKEEPING[0]):
        graph = TrackableObjectGraph.FromString(reader.get_tensor(_BOOKKEEPING[0]))
        full_names = {a.checkpoint_key: a.full_name for node in graph.nodes for a in node.attributes if a.full_name}
    return _unique(
        [(full_names.get(key, key.removesuffix(_VALUE_SUFFIX)), np.asarray(reader.get_tensor(key))) for key in keys]
    )


def _unique(pairs: list[tuple[str, np.ndarray[Any, Any]]]) -> Tensors:
    """Variables of one name (legal in TensorFlow) are told apart by a number, in the order of their content."""
    named: Tensors = {}
    for name, value in sorted(pairs, key=lambda pair: describe_variable(*pair)):
        free = next(n for n in (name, *(f"{name}#{i}" for i in range(2, len(pairs) + 2))) if n not in named)
        named[free] = value
    return named
