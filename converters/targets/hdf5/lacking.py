"""Why Keras does not load or compute what it has just written to an HDF5 file."""

import tempfile
from pathlib import Path

from converters.contract.errors import BadInput
from converters.contract.target import Trouble
from converters.contract.values import Artifact, Source
from converters.formats.keras_layers import layer_of, layer_outputs, same_weights
from converters.reference.layerwise import first_apart
from converters.targets.hdf5.convert import write_model

_REMEDY = "keep it as a SavedModel, or ask for variant 'weights'"


def of_model(source: Source, artifact: Artifact, trouble: Trouble) -> str | None:
    """What HDF5 cannot hold of a Keras model; None where this file may be at fault.

    What Keras does not load of any file that it writes of the model is nothing that HDF5 can hold. Where this one is loaded,
    the first layer is named that computes another thing with the config and weights that it had.
    """
    from converters.formats.keras_model import load_keras

    assert artifact.path is not None
    assert source.keras_file is not None
    try:
        found = load_keras(artifact.path)
    except BadInput:
        return _of_any_file(source)
    original = load_keras(source.keras_file, source.builder)
    for inputs in trouble.inputs:
        apart = first_apart(layer_outputs(original, inputs), layer_outputs(found, inputs), trouble.tolerance)
        if apart is None:
            continue
        name = layer_of(apart)
        one, other = (model.get_layer(name) for model in (original, found))
        if one.get_config() != other.get_config() or not same_weights(one, other):
            return None
        return f"layer {name!r} ({type(one).__name__}) computes something else when it is loaded from HDF5; {_REMEDY}"
    return None


def _of_any_file(source: Source) -> str | None:
    """Why Keras cannot load an HDF5 file of the model that it writes anew; None where it can."""
    from converters.formats.keras_model import load_keras

    with tempfile.TemporaryDirectory(prefix="fanout-hdf5-") as scratch:
        file = Path(scratch) / "model.h5"
        write_model(source, file)
        try:
            load_keras(file)
        except BadInput as error:
            return f"{error}; {_REMEDY}"
    return None
