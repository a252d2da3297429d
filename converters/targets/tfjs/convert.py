"""A graph model for each signature, or the layers model of a Keras model's call."""

from pathlib import Path
from urllib.parse import quote

from converters.contract.target import Options
from converters.contract.values import Artifact, Source
from converters.targets.tfjs import NAME
from converters.targets.tfjs.graph_model import graph
from converters.targets.tfjs.layers_model import layers


def convert(source: Source, variant: str, out_dir: Path, options: Options) -> list[Artifact]:
    """Write tfjs/VARIANT/SIGNATURE/ for graph models, tfjs/layers/ for the layers model."""
    if variant == "layers":
        return layers(source, out_dir / NAME / "layers")
    return [graph(source, variant, key, out_dir / NAME / variant / quote(key, safe="")) for key in source.signatures]
