"""A Keras 3 model as a tf_keras model of the same layers and weights, whose config tensorflow.js can read.

Keras 3 writes `batch_shape`, dtype policies, wrapped arguments and connections in forms of its own, which tfjs-layers
(Keras 2's format) does not know. Here each config is translated, and tf_keras, which refuses what it does not know,
rebuilds the model; the weights are then set layer by layer.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from converters.contract.errors import Unsupported, said

_MODELS = ("Functional", "Sequential", "Model")
_RENAMED = {"batch_shape": "batch_input_shape"}
_RENAMED_OF = {"LeakyReLU": {"negative_slope": "alpha"}}
_HARMLESS = {
    *("seed", "optional", "zero_output_for_mask", "quantization_config"),
    *("lora_rank", "lora_alpha", "build_config", "synchronized"),
}
"""Arguments of Keras 3 alone that change nothing in inference."""


def rebuilt(model: Any) -> Any:
    """The tf_keras model that computes what this Functional or Sequential Keras 3 model computes.

    Raises:
        Unsupported: a layer, or an argument of one, that tf_keras has not; names it.
    """
    import tf_keras

    config = _model(type(model).__name__ if type(model).__name__ in _MODELS else _kind(model), model.get_config())
    factory = tf_keras.Sequential if config["class_name"] == "Sequential" else tf_keras.Model
    try:
        made = factory.from_config(config["config"])
        if not made.built:
            made.build(model.input_shape)
        _copy_weights(model, made)
    except Unsupported:
        raise
    except Exception as error:  # tf_keras raises of every kind for what it does not know
        text = said(str(error).rpartition("Exception encountered:")[2], 200)
        raise Unsupported(
            f"Keras 2, whose format a layers model has, cannot rebuild it: {text}; use the graph model"
        ) from error
    return made


def _kind(model: Any) -> str:
    return "Sequential" if "input_layers" not in model.get_config() else "Functional"


def _copy_weights(old: Any, new: Any) -> None:
    for layer in old.layers:
        twin = new.get_layer(layer.name)
        if layer.weights:
            twin.set_weights(layer.get_weights())


def _model(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    layers = [_layer(layer) for layer in config["layers"]]
    if kind == "Sequential":
        return {"class_name": kind, "config": {"name": config["name"], "layers": layers}}
    ends = {side: _ends(config[side]) for side in ("input_layers", "output_layers")}
    _require_connected(layers, [*ends["input_layers"], *ends["output_layers"]])
    if isinstance(config["output_layers"], Mapping):
        require_layers_names(config["output_layers"])
    return {"class_name": "Functional", "config": {"name": config["name"], "layers": layers, **ends}}


def require_layers_names(ends: Mapping[str, Any]) -> None:
    """Outputs by name, each as [layer, node, tensor]. Raises Unsupported where the names are not the layers'."""
    if any(key != end[0] for key, end in ends.items()):
        named = ", ".join(f"{key!r} of layer {end[0]!r}" for key, end in ends.items())
        remedy = "name the layers as the outputs, or use the graph model"
        raise Unsupported(f"a layers model names outputs by their layers, and this one returns {named}; {remedy}")


def _require_connected(layers: list[dict[str, Any]], ends: list[Any]) -> None:
    """Refuse a reference to a call that is not there: tf_keras would look for it for ever."""
    calls = {layer["name"]: max(1, len(layer.get("inbound_nodes", []))) for layer in layers}
    references = [tensor for layer in layers for node in layer.get("inbound_nodes", []) for tensor in node]
    for name, call, *_ in [*references, *ends]:
        if call >= calls.get(name, 0):
            raise Unsupported(
                f"the Keras 3 config refers to call {call} of layer {name!r}, which it does not hold; use the graph model"
            )


def _ends(nested: Any) -> list[Any]:
    """[layer, node, tensor] of each input or output, in a flat list, whatever structure the model has them in."""
    if isinstance(nested, Mapping):
        nested = list(nested.values())
    if nested and isinstance(nested[0], str):
        return [list(nested)]
    return [end for item in nested for end in _ends(item)]


def _layer(layer: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of a model's `layers`."""
    kind, name = layer["class_name"], layer["config"]["name"]
    _require_library_layer(layer)
    if kind in _MODELS:
        raise Unsupported(
            f"the Keras 3 model {name!r} is a layer of another, which Keras 2 counts otherwise; use the graph model"
        )
    translated = {"class_name": kind, "config": _arguments(kind, layer["config"]), "name": name}
    if "inbound_nodes" in layer:
        translated["inbound_nodes"] = [_node(name, node) for node in layer["inbound_nodes"]]
    return translated


def _require_library_layer(layer: Mapping[str, Any]) -> None:
    """Refuse custom layers, and operations (keras.ops) that share their names with layers."""
    module = str(layer.get("module") or "keras.layers")
    if layer.get("registered_name") not in (None, layer["class_name"]) or not module.startswith("keras"):
        raise Unsupported(
            f"tensorflow.js has no layer {layer['class_name']}, which is a custom one; use the graph model"
        )
    if (
        not module.startswith(("keras.layers", "keras.src.models", "keras.models", "keras.src.layers"))
        and module != "keras"
    ):
        raise Unsupported(f"tensorflow.js has no layer for the operation {layer['class_name']}; use the graph model")


def _arguments(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's arguments by Keras 2's names; those that tf_keras has not are dropped where they say nothing."""
    import tf_keras

    layer = getattr(tf_keras.layers, kind, None)
    if layer is None or kind == "Lambda":
        raise Unsupported(f"tensorflow.js has no layer {kind}; use the graph model")
    if kind == "Bidirectional":
        config = _one_layer(config)
    renamed = {**_RENAMED, **_RENAMED_OF.get(kind, {})}
    known = {"name", "trainable", "dtype", "batch_input_shape"}
    for owner in layer.__mro__:
        known |= set(inspect.signature(owner.__init__).parameters) if "__init__" in vars(owner) else set()
    arguments = {}
    for key, value in config.items():
        argument = renamed.get(key, key)
        if argument in known:
            arguments[argument] = _value(value)
        elif value not in (None, False, _default(kind, key)) and key not in _HARMLESS:
            raise Unsupported(
                f"{kind} has the argument {key}={value!r}, which Keras 2 and tensorflow.js have not; use the graph model"
            )
    return arguments


def _default(kind: str, argument: str) -> Any:
    """What an argument that Keras 2 has not is in Keras 3 where nobody gives it: what Keras 2 does."""
    import keras

    if argument == "data_format":
        return "channels_last"
    parameter = inspect.signature(getattr(keras.layers, kind).__init__).parameters.get(argument)
    return parameter.default if parameter is not None else None


def _one_layer(config: Mapping[str, Any]) -> dict[str, Any]:
    """Bidirectional's arguments with one layer of its own name, as Keras 2 and tensorflow.js make both of it.

    Raises:
        Unsupported: the backward layer is not the forward one reversed.
    """
    forward, backward = config["layer"], config.get("backward_layer")

    def alike(layer: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in layer["config"].items() if key not in ("name", "go_backwards")}

    if backward is not None and alike(forward) != alike(backward):
        raise Unsupported(
            "Bidirectional has a backward layer of its own kind, which tensorflow.js has not; use the graph model"
        )
    name = forward["config"]["name"].removeprefix("forward_")
    others = {key: value for key, value in config.items() if key != "backward_layer"}
    return {**others, "layer": {**forward, "config": {**forward["config"], "name": name}}}


def _value(value: Any) -> Any:
    """A nested object, dtype policy or layer as Keras 2 writes it."""
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if str(value.get("class_name")).endswith("DTypePolicy"):
        if str(value["class_name"]).startswith("Quantized"):
            raise Unsupported("its weights are quantized, which those of a layers model cannot be; use the graph model")
        return value["config"]["name"]
    if "class_name" not in value:
        return {key: _value(item) for key, item in value.items()}
    if str(value.get("module", "")).startswith(("keras.layers", "keras.src.layers")):
        _require_library_layer(value)
        return {"class_name": value["class_name"], "config": _arguments(value["class_name"], value["config"])}
    config = value["config"]
    if isinstance(config, Mapping):
        # None is what an argument is without being said; Keras 3 has some that Keras 2 has not.
        config = {key: _value(item) for key, item in config.items() if item is not None}
    return {"class_name": value["class_name"], "config": config}


def _node(layer: str, node: Mapping[str, Any]) -> list[Any]:
    """One call of a layer: its tensors as [layer, node, tensor, other arguments]."""
    tensors = [_history(tensor) for argument in node["args"] for tensor in _listed(argument)]
    others = {key: value for key, value in node["kwargs"].items() if value is not None}
    if len(node["args"]) != 1 or any(tensor is None for tensor in tensors) or not _plain(others):
        raise Unsupported(f"layer {layer!r} is called with more than its inputs; use the graph model")
    return [[*tensor, others] for tensor in tensors if tensor is not None]


def _listed(argument: Any) -> list[Any]:
    return list(argument) if isinstance(argument, list | tuple) else [argument]


def _history(tensor: Any) -> list[Any] | None:
    if isinstance(tensor, Mapping) and tensor.get("class_name") == "__keras_tensor__":
        return list(tensor["config"]["keras_history"])
    return None


def _plain(arguments: Mapping[str, Any]) -> bool:
    return all(isinstance(value, bool | int | float | str) for value in arguments.values())
