"""How a tensorflow.js model is harmed."""

import json
from pathlib import Path
from typing import Any

from battery_model import INPUT, OUTPUTS

from tests.targets.hdf5 import harms as keras


def main_file(artifact: Path, variant: str) -> Path:
    """What tensorflow.js fetches first."""
    return artifact


def harm(artifact: Path, variant: str, what: str) -> None:
    """Harm it in one way of the battery."""
    if what == "bits flipped":
        (shard,) = artifact.parent.glob("*.bin")
        shard.write_bytes(bytes(byte ^ 0x40 for byte in shard.read_bytes()))
        return
    model = json.loads(artifact.read_text())
    if variant == "layers" and what == "outputs swapped":
        _swap_weights(model["weightsManifest"][0]["weights"])
    elif variant == "layers":
        keras.CONFIG[what](model["modelTopology"]["model_config"])
    else:
        GRAPH[what](model["signature"])
    artifact.write_text(json.dumps(model))


def _swap_weights(weights: list[dict[str, Any]]) -> None:
    """The outputs of a layers model are called as its layers, in whatever order: so what the layers compute is exchanged."""
    one, two = OUTPUTS
    for weight in weights:
        weight["name"] = weight["name"].replace(one, "?").replace(two, one).replace("?", two)


def _rename_input(signature: dict[str, Any]) -> None:
    signature["inputs"]["sound"] = signature["inputs"].pop(INPUT)


def _swap_outputs(signature: dict[str, Any]) -> None:
    one, two = (signature["outputs"][name] for name in OUTPUTS)
    signature["outputs"] = dict(zip(OUTPUTS, (two, one), strict=True))


def _change_dtype(signature: dict[str, Any]) -> None:
    signature["inputs"][INPUT]["dtype"] = "DT_INT32"


def _fix_batch(signature: dict[str, Any]) -> None:
    signature["inputs"][INPUT]["tensorShape"]["dim"][0]["size"] = "1"


GRAPH = {
    "input renamed": _rename_input,
    "outputs swapped": _swap_outputs,
    "dtype changed": _change_dtype,
    "batch fixed": _fix_batch,
}
