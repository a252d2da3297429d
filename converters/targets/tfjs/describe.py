"""What a tensorflow.js model holds."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.contract.errors import Damaged, raised
from converters.contract.values import Artifact
from converters.formats import describing
from converters.formats.describing import counted
from converters.targets.tfjs import NAME, check


def model_json(path: Path) -> dict[str, Any]:
    """Signature, ops or layers, and weights, whose files must be there. Raises Damaged."""
    try:
        model = json.loads(path.read_text())
        kind, topology, groups = model["format"], model["modelTopology"], model["weightsManifest"]
        described: dict[str, Any] = {"ops": counted(_ops(topology))} if kind == "graph-model" else {}
        weights = [_weight_group(path.parent, group) for group in groups]
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"it is no tensorflow.js model: {raised(error)}") from error
    if kind == "layers-model":
        described = describing.keras(topology["model_config"], topology.get("keras_version"))
    signatures = {}
    if kind == "layers-model" or "signature" in model:
        variant = "layers" if kind == "layers-model" else "graph"
        artifact = Artifact(target=NAME, variant=variant, signature="model", path=path)
        signatures = check.inspect(artifact).signatures
    return {
        **described,
        "format": f"tensorflow.js {kind}",
        "bytes": path.stat().st_size + sum(sum(group["shards"].values()) for group in weights),
        "converted_by": model.get("convertedBy"),
        "tensorflow": model.get("generatedBy") if kind == "graph-model" else None,
        "signatures": describing.signatures(signatures),
        "parameters": sum(group["elements"] for group in weights),
        "weights": weights,
    }


def _ops(topology: Any) -> Iterator[str]:
    yield from (node["op"] for node in topology["node"])
    for function in topology.get("library", {}).get("function", []):
        yield from (node["op"] for node in function.get("nodeDef", []))


def _weight_group(folder: Path, group: Any) -> dict[str, Any]:
    missing = [name for name in group["paths"] if not (folder / name).is_file()]
    if missing:
        raise Damaged(f"the weight file {missing[0]} is missing")
    return {
        "tensors": len(group["weights"]),
        "elements": sum(math.prod(weight["shape"]) for weight in group["weights"]),
        "dtypes": counted(weight.get("quantization", weight)["dtype"] for weight in group["weights"]),
        "shards": {name: (folder / name).stat().st_size for name in group["paths"]},
    }
