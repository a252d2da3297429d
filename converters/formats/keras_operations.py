"""HDF5 of Keras 3 whose models call operations, such as `x * 2.0` or a mask's `x != 0`, which Keras 3 writes and does not load.

It writes them as if they were layers, and its reader of HDF5 knows no classes but those of layers, some of which have the
same names (keras/src/legacy/saving/legacy_h5_format.py, keras/src/models/functional.py).
"""

import copy
from collections.abc import Mapping
from typing import Any

from converters.formats.internals_keras import operations
from converters.formats.keras_config import objects

_PREFIX = "Operation>"


def with_names(config: Any) -> tuple[Any, dict[str, Any]]:
    """The config with operations under names that no layer has, and their classes by these names; as it was if it has none."""
    known = operations()
    changed = copy.deepcopy(config)
    used = {}
    item: Any
    for item in objects(changed):
        name = str(item["class_name"])
        if name in known and _is_operation(item):
            item["class_name"] = f"{_PREFIX}{name}"
            used[f"{_PREFIX}{name}"] = known[name]
    return (changed, used) if used else (config, {})


def _is_operation(item: Mapping[str, Any]) -> bool:
    """Layers say whether they are trainable; operations are called by nodes all the same."""
    inner = item.get("config")
    return (
        "inbound_nodes" in item
        and isinstance(inner, Mapping)
        and "trainable" not in inner
        and "batch_shape" not in inner
    )
