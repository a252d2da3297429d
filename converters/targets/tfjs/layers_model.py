"""Writing the layers model of a Keras model's call."""

import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from converters.contract.errors import BadInput, Unsupported, said
from converters.contract.values import Artifact, Source, of_call
from converters.formats import keras_config
from converters.targets.tfjs import NAME, keras2, masks


def layers(source: Source, out_dir: Path) -> list[Artifact]:
    """The layers model of a Keras model's call."""
    from tensorflowjs.converters import keras_h5_conversion

    if not source.is_keras:
        raise Unsupported("a layers model is made of a tf_keras or Keras model; use the graph model")
    if source.keras_signature is None:
        raise Unsupported(
            "a layers model holds the model's call alone, which is no signature here; use the graph model"
        )
    with tempfile.TemporaryDirectory(prefix="fanout-tfjs-") as scratch:
        file = keras2_file(source, Path(scratch))
        _require_masks(file)
        with _writing():
            topology, weights = keras_h5_conversion.h5_merged_saved_model_to_tfjs_format(str(file))
            adapt(topology)
            out_dir.mkdir(parents=True)
            keras_h5_conversion.write_artifacts(topology, weights, str(out_dir))
    path = out_dir / "model.json"
    other = "a layers model holds the model's call alone; this signature has a graph model"
    return of_call(source, NAME, "layers", path, other)


def keras2_file(source: Source, scratch: Path) -> Path:
    """An HDF5 file of the source as a Functional or Sequential model of tf_keras, whose configs tensorflow.js reads.

    Raises:
        Unsupported: there is none; says why.
    """
    from converters.formats.keras_model import load_keras

    if source.keras_file is None:
        raise Unsupported(f"{source.keras_problem}; use the graph model")
    if source.kind == "tf_keras" and source.keras_file.suffix == ".h5":
        return source.keras_file
    try:
        model = load_keras(source.keras_file, source.builder)
    except BadInput as error:
        raise Unsupported(f"{error}; use the graph model") from error
    if not keras_config.is_supported(keras_config.of_model(model)):
        raise Unsupported("a layers model can only be Functional or Sequential; use the graph model")
    if source.kind == "keras":
        model = keras2.rebuilt(model)
    file = scratch / "model.h5"
    with _writing(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that HDF5 is an old format
        model.save(file, include_optimizer=False)
    return file


def _require_masks(file: Path) -> None:
    """Refuse a model with a mask that tensorflow.js does not obey, which golden need not show. Raises Unsupported."""
    import h5py

    from converters.formats.keras_model import load_keras

    with h5py.File(file) as opened:
        config = json.loads(opened.attrs["model_config"])
    masking = keras_config.has_class(config, "Masking")
    masking = masking or any(
        each["config"].get("mask_zero") for each in keras_config.objects(config) if _is_layer(each)
    )
    if masking and (loss := masks.lost(load_keras(file))) is not None:
        raise Unsupported(f"{loss}; use the graph model")


def _is_layer(item: Mapping[str, Any]) -> bool:
    return isinstance(item.get("config"), Mapping)


@contextmanager
def _writing() -> Iterator[None]:
    """Raises Unsupported where what is in the block finds what a layers model cannot hold."""
    try:
        yield
    except (NotImplementedError, ValueError, TypeError) as error:  # a weight's dtype, a layer without config
        raise Unsupported(f"it cannot be written as a layers model: {said(error)}; use the graph model") from error


def adapt(topology: Mapping[str, Any]) -> None:
    """Change a model's config to what tensorflow.js expects: inputs and outputs in a list, and no argument twice.

    tf_keras writes a SeparableConv2D with the arguments of a Conv2D's kernel too, which tensorflow.js refuses.

    Raises:
        Unsupported: the dict's keys are not the layers' names, by which tensorflow.js names outputs.
    """
    config = topology["model_config"]["config"]
    for layer in keras_config.objects(config):
        if str(layer["class_name"]).startswith("SeparableConv"):
            for unused in ("kernel_initializer", "kernel_regularizer", "kernel_constraint"):
                layer["config"].pop(unused, None)
    for side in ("input_layers", "output_layers"):
        ends = config.get(side)
        if not isinstance(ends, dict):
            continue
        if side == "output_layers":
            keras2.require_layers_names(ends)
        config[side] = list(ends.values())
