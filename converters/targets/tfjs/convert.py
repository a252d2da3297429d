"""A graph model for each signature, or the layers model of a Keras model's call."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from converters.contract.errors import ChildFailed, Damaged, MissingRuntime, Unsupported
from converters.contract.target import Options
from converters.contract.values import Artifact, Source
from converters.reference import golden
from converters.targets.tfjs import NAME, diagnosis, javascript, messages
from converters.targets.tfjs.graph_model import graph
from converters.targets.tfjs.layers_model import layers


def convert(source: Source, variant: str, out_dir: Path, options: Options) -> list[Artifact]:
    """Write tfjs/VARIANT/SIGNATURE/ for graph models, tfjs/layers/ for the layers model."""
    if variant == "layers":
        return layers(source, out_dir / NAME / "layers")
    return [graph(source, variant, key, out_dir / NAME / variant / quote(key, safe="")) for key in source.signatures]


def try_out(source: Source, artifacts: Sequence[Artifact]) -> None:
    """Let tensorflow.js load and run a layers model once, which alone knows what layers and arguments it has."""
    path = next(artifact.path for artifact in artifacts if artifact.path is not None)
    case = golden.load(source.golden).cases[source.keras_signature or ""][-1]
    request = messages.Request(path, "layers", [case.inputs], timed=False)
    try:
        (answer,) = javascript.run("node-wasm", [request], seconds=None)
        if answer.lacks:
            (answer,) = javascript.run("node-cpu", [request], seconds=None)
    except (MissingRuntime, ChildFailed, Damaged):
        return
    reason = diagnosis.of_layers_model(answer.error) if answer.error else None
    if reason is not None:
        shutil.rmtree(path.parent)
        raise Unsupported(f"{reason}; use the graph model")
