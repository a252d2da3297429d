"""Looking into a Keras model: what each of its layers returns, and how a layer was made."""

import inspect
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from converters.contract.values import Tensors
from converters.formats.internals_keras import calls_within
from converters.formats.keras_model import declared_inputs, kind_of

_SAID_OTHERWISE = frozenset({"name", "trainable", "dtype", "batch_input_shape", "batch_shape", "seed"})
"""Arguments of every layer that say nothing of what it computes."""


def symbolic_outputs(model: Any) -> dict[str, Any]:
    """The symbolic tensor that each call of each layer returns, by LAYER/CALL/TENSOR, in an order to compute them in.

    `model` is Functional or Sequential, and built.
    """
    calls: Counter[str] = Counter()
    found = {}
    for call in calls_within(model):
        name = call.layer.name
        for index, tensor in enumerate(call.outputs):
            found[f"{name}/{calls[name]}/{index}"] = tensor
        calls[name] += 1
    return found


def layer_outputs(model: Any, inputs: Tensors) -> Tensors:
    """What each call of each layer returns for these inputs, by LAYER/CALL/TENSOR, in an order they can be computed in."""
    import tensorflow as tf

    found = symbolic_outputs(model)
    library = __import__("keras" if kind_of(model) == "keras" else "tf_keras")
    flat = tf.nest.flatten(model.inputs)
    whole = library.Model(flat, list(found.values()))
    values = whole([tf.constant(inputs[name]) for name in declared_inputs(model)], training=False)
    return {name: np.asarray(value) for name, value in zip(found, tf.nest.flatten(values), strict=True)}


def layer_of(output: str) -> str:
    """The layer of LAYER/CALL/TENSOR; its name may hold slashes."""
    return output.rsplit("/", 2)[0]


def same_weights(one: Any, other: Any) -> bool:
    """Whether two layers hold the same weights."""
    mine, theirs = one.get_weights(), other.get_weights()
    return len(mine) == len(theirs) and all(map(partial(np.array_equal, equal_nan=True), mine, theirs))


def unusual(layer: Any) -> Mapping[str, Any]:
    """The arguments of a layer that are not their defaults, as its config has them; initializers and their like left out."""
    defaults: dict[str, Any] = {}
    for owner in reversed(type(layer).__mro__):
        if (made_by := vars(owner).get("__init__")) is not None:
            parameters = inspect.signature(made_by).parameters.values()
            defaults |= {each.name: each.default for each in parameters if each.default is not each.empty}
    config = layer.get_config().items()
    plain = {key: _listed(value) for key, value in config}
    return {
        key: value
        for key, value in plain.items()
        if key not in _SAID_OTHERWISE
        and (key, value) != ("data_format", "channels_last")
        and not key.endswith(("_initializer", "_regularizer", "_constraint"))
        and not isinstance(value, Mapping)
        and value != _listed(defaults.get(key))
    }


def _listed(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return list(value) if isinstance(value, tuple | list) else value
