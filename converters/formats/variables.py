"""A model's variables by name, whether it is live or exported; read one at a time, since together they may be large."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.formats.dtypes import Array, content

_BOOKKEEPING = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter")
_VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


class Variables(Mapping[str, Array]):
    """Name -> value, read when asked for.

    Variables of one name (legal in TensorFlow) are told apart by a number, in the order of their content.
    """

    def __init__(self, found: Iterable[tuple[str, Callable[[], Array]]]) -> None:
        by_name: dict[str, list[Callable[[], Array]]] = {}
        for name, read in found:
            by_name.setdefault(name, []).append(read)
        self._readers: dict[str, Callable[[], Array]] = {}
        for name, readers in sorted(by_name.items()):
            if len(readers) > 1:
                readers.sort(key=lambda read: describe_variable("", read()))
            for number, read in enumerate(readers, start=1):
                self._readers[name if number == 1 else f"{name}#{number}"] = read

    def __getitem__(self, name: str) -> Array:
        return self._readers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


def describe(variables: Mapping[str, Array]) -> tuple[str, ...]:
    """One line per variable, sorted; equal exactly when names, dtypes, shapes and bytes are."""
    return tuple(describe_variable(name, variables[name]) for name in sorted(variables))


def of_live(variables: Iterable[Any]) -> Variables:
    """The values of live tf.Variables (or Keras 3 variables)."""

    def reader(variable: Any) -> Callable[[], Array]:
        return lambda: np.asarray(variable.numpy())

    return Variables((name_of(variable), reader(variable)) for variable in variables)


def name_of(variable: Any) -> str:
    """A live variable's name; Keras 3 has it as the path, beside a short name that others may share."""
    return str(getattr(variable, "path", None) or variable.name).removesuffix(":0")


def of_saved_model(saved_model: Path) -> Variables:
    """The values of an exported model's variables.

    An object-based checkpoint names its tensors by their path in the object graph and keeps the variable's own name
    as `full_name` (tensorflow/core/protobuf/trackable_object_graph.proto); one of TF 1 uses the names themselves.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    prefix = saved_model / "variables" / "variables"
    if not prefix.with_suffix(".index").is_file():
        return Variables([])
    checkpoint = tf.train.load_checkpoint(str(prefix))
    keys = [key for key in checkpoint.get_variable_to_shape_map() if not key.startswith(_BOOKKEEPING)]
    full_names: dict[str, str] = {}
    if checkpoint.has_tensor(_BOOKKEEPING[0]):
        graph = TrackableObjectGraph.FromString(checkpoint.get_tensor(_BOOKKEEPING[0]))
        full_names = {a.checkpoint_key: a.full_name for node in graph.nodes for a in node.attributes if a.full_name}
        keys = [key for key in keys if key.endswith(_VALUE_SUFFIX)]  # the others are what lookup tables hold

    def reader(key: str) -> Callable[[], Array]:
        return lambda: np.asarray(checkpoint.get_tensor(key))

    return Variables((full_names.get(key, key.removesuffix(_VALUE_SUFFIX)), reader(key)) for key in keys)


def describe_variable(name: str, value: Array) -> str:
    """One line that two variables share exactly when name, dtype, shape and every byte agree."""
    shape = ",".join(map(str, value.shape))
    return f"{name} {value.dtype.name}[{shape}] sha256:{hashlib.sha256(content(value)).hexdigest()}"
