"""What the descriptions of several formats share, JSON-ready."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from converters.contract.errors import Damaged
from converters.contract.values import Signature
from converters.formats import keras_config


def counted(names: Iterable[str]) -> dict[str, int]:
    """Name -> how often, the most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def signatures(by_key: Mapping[str, Signature]) -> dict[str, Any]:
    """Signature key -> inputs and outputs, each with shape and dtype."""
    return {key: signature.model_dump(mode="json") for key, signature in by_key.items()}


def keras(config: Mapping[str, Any], version: str | None) -> dict[str, Any]:
    """A Keras model by its config: class, call and layers, where it is no subclassed one."""
    layers = config["config"]["layers"] if keras_config.is_supported(config) else []
    try:
        call = {"call": keras_config.signature(config)}
    except Damaged:  # a subclassed model's config has neither layers nor inputs
        call = {}
    return {
        "keras": version,
        "class": config.get("class_name"),
        "signatures": signatures(call),
        "layers": [{"name": layer["config"].get("name"), "class": layer["class_name"]} for layer in layers],
    }
