"""Reading inputs and outputs out of a Keras model's JSON config, as HDF5 files and tfjs layers models carry it."""

from collections.abc import Iterator, Mapping
from typing import Any

from converters.contract.errors import Damaged
from converters.contract.values import Signature, TensorSpec


def signature(config: Mapping[str, Any]) -> Signature:
    """Inputs and outputs of a Functional or Sequential model's config; outputs' shapes are not in it.

    Raises:
        Damaged: the config names layers it does not hold, or is of another kind.
    """
    try:
        layers = {_name(layer): layer for layer in config["config"]["layers"]}
        if config["class_name"] == "Sequential":
            names = list(layers)
            inputs, outputs = names[:1], {name: name for name in names[-1:]}
        else:
            inputs = list(_layer_names(config["config"]["input_layers"]))
            outputs = _output_layers(config["config"]["output_layers"])
        return Signature(
            inputs={name: _spec(layers[name]["config"]) for name in inputs},
            outputs={
                name: TensorSpec(shape=None, dtype=_dtype(layers[layer]["config"])) for name, layer in outputs.items()
            },
        )
    except (KeyError, TypeError, IndexError, ValueError, AttributeError, RecursionError) as error:
        raise Damaged(f"the model's Keras config is not that of a Functional or Sequential model: {error!r}") from error


def of_model(model: Any) -> Mapping[str, Any]:
    """The config of a live model; empty for one that has none, as subclassed models may."""
    try:
        return {"config": model.get_config()}
    except NotImplementedError:
        return {}


def is_supported(config: Mapping[str, Any]) -> bool:
    """Whether the config describes layers and their connections, as those of subclassed models do not."""
    return isinstance(config.get("config"), Mapping) and "layers" in config["config"]


def is_portable(config: Mapping[str, Any]) -> bool:
    """Whether any program with Keras can load the model: layers and their connections, all of Keras's own classes.

    A Lambda layer holds Python code, which Keras does not load from a file unless told to.
    """
    return is_supported(config) and not custom_classes(config) and not has_class(config, "Lambda")


def custom_classes(config: Any) -> list[str]:
    """The classes in a config that are not Keras's own, sorted: those a program must have to load it."""
    return sorted({str(item["class_name"]).rpartition(">")[2] for item in objects(config) if custom_class(item)})


def has_class(config: Any, name: str) -> bool:
    """Whether an object of this class is anywhere in the config."""
    return any(item["class_name"] == name for item in objects(config))


def objects(config: Any) -> Iterator[Mapping[str, Any]]:
    """Every serialized object in a config, however deep."""
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            if "class_name" in item:
                yield item
            waiting += reversed(list(item.values()))
        elif isinstance(item, list):
            waiting += reversed(item)


def custom_class(item: Mapping[str, Any]) -> bool:
    """Whether an object is of a class that is not Keras's own.

    Registered objects are named PACKAGE>CLASS; of others the module tells, where the config has it.
    """
    module = item.get("module")
    outside = isinstance(module, str) and module.partition(".")[0] not in ("keras", "tf_keras", "builtins")
    return outside or any(">" in str(item.get(key)) for key in ("class_name", "registered_name"))


def _name(layer: Mapping[str, Any]) -> str:
    return str(layer["config"].get("name", layer.get("name")))


def _layer_names(nested: Any) -> Iterator[str]:
    """Layer names in [name, node, tensor] triples, however deep Keras nested them (one input may stand alone)."""
    if isinstance(nested, Mapping):
        for value in nested.values():
            yield from _layer_names(value)
    elif nested and isinstance(nested[0], str):
        yield nested[0]
    else:
        for item in nested:
            yield from _layer_names(item)


def _output_layers(nested: Any) -> dict[str, str]:
    """Output name -> layer: a dict's own keys, as the model returns them, and the layers' names otherwise."""
    if isinstance(nested, Mapping):
        return {str(key): layer for key, value in nested.items() for layer in _layer_names(value)}
    return {layer: layer for layer in _layer_names(nested)}


def _spec(config: Mapping[str, Any]) -> TensorSpec:
    shape = config.get("batch_input_shape", config.get("batch_shape"))
    return TensorSpec(shape=None if shape is None else tuple(shape), dtype=_dtype(config))


def _dtype(config: Mapping[str, Any]) -> str:
    dtype = config.get("dtype", "float32")
    if isinstance(dtype, Mapping):  # a dtype policy
        dtype = dtype["config"].get("name") or dtype["config"]["source_name"]  # the latter where weights are quantized
    return "float32" if str(dtype).startswith("mixed_") else str(dtype)
