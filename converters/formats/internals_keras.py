"""All that is used of either Keras (tf_keras 2.19, Keras 3) beside its public interface, so that an upgrade breaks in one
place.
"""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple


def layers_within(model: Any) -> list[Any]:
    """The model and all layers in it, however deep, those in lists and of subclassed models too.

    `_flatten_layers`. Without it the model alone, which may say that it is built when layers of it are not: golden's
    first call then gives them their weights.
    """
    flatten = getattr(model, "_flatten_layers", None)
    return list(flatten()) if callable(flatten) else [model]


def operations() -> dict[str, Any]:
    """Keras 3's operations that its functions are made of (`keras.src.ops`), by the names of their classes."""
    from keras.src.ops import core, image, linalg, math, nn, numpy
    from keras.src.ops.operation import Operation

    return {
        name: item
        for module in (core, image, linalg, math, nn, numpy)
        for name, item in vars(module).items()
        if inspect.isclass(item) and issubclass(item, Operation) and item is not Operation
    }


class Call(NamedTuple):
    """A call of a layer, with symbolic tensors.

    `reads_mask` says whether the layer takes its input's mask, and `options` are the call's other arguments by name (of
    tf_keras alone).
    """

    layer: Any
    inputs: list[Any]
    outputs: list[Any]
    reads_mask: bool
    options: Mapping[str, Any]


def calls_within(model: Any) -> list[Call]:
    """Every call of a layer that a built Functional or Sequential model is made of, in an order to compute them in.

    `_nodes_by_depth`, which both Kerases run their models by, deepest first; a Keras 3 Sequential has it in `_functional`.
    """
    import tensorflow as tf

    graph = getattr(model, "_functional", None) or model
    depths = sorted(graph._nodes_by_depth, reverse=True)
    return [
        Call(
            layer := getattr(node, "layer", None) or node.operation,
            tf.nest.flatten(node.input_tensors),
            tf.nest.flatten(node.outputs),
            bool(getattr(layer, "_expects_mask_arg", False)),
            getattr(node, "call_kwargs", None) or {},
        )
        for depth in depths
        for node in graph._nodes_by_depth[depth]
    ]


def mask_of(tensor: Any) -> Any:
    """The symbolic mask of a tf_keras model's symbolic tensor, or None; equal masks are one object."""
    return getattr(tensor, "_keras_mask", None)
