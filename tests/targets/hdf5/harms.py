"""How an HDF5 file is harmed; and the config of its model, which tensorflow.js' layers models have as well."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from battery_model import INPUT


def _layer(config: Any, name: str) -> Any:
    return next(layer for layer in config["config"]["layers"] if layer["config"]["name"] == name)


def rename_input(config: Any) -> None:
    """The input layer, and all that refer to it."""
    changed = json.loads(json.dumps(config).replace(f'"{INPUT}"', '"sound"'))
    config.clear()
    config.update(changed)


def swap_outputs(config: Any) -> None:
    config["config"]["output_layers"].reverse()


def change_dtype(config: Any) -> None:
    _layer(config, INPUT)["config"]["dtype"] = "float64"


def fix_batch(config: Any) -> None:
    _layer(config, INPUT)["config"]["batch_input_shape"][0] = 1


CONFIG: dict[str, Callable[[Any], None]] = {
    "input renamed": rename_input,
    "outputs swapped": swap_outputs,
    "dtype changed": change_dtype,
    "batch fixed": fix_batch,
}
"""What is done to the config of a Keras model."""


def main_file(artifact: Path, variant: str) -> Path:
    """What h5py opens."""
    return artifact


def harm(artifact: Path, variant: str, what: str) -> None:
    """Harm it in one way of the battery."""
    import h5py

    with h5py.File(artifact, "r+") as file:
        if what == "bits flipped":
            file.visititems(_flip)
        else:
            config = json.loads(file.attrs["model_config"])
            CONFIG[what](config)
            file.attrs["model_config"] = json.dumps(config)


def _flip(name: str, item: Any) -> None:
    if getattr(item, "shape", None):
        item[...] = (item[()].view("uint32") ^ 0x40000000).view("float32")
