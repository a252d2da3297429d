"""Writing HDF5: a Keras model, or the variables of any other."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from converters.contract.errors import BadInput, Unsupported
from converters.contract.target import Options
from converters.contract.values import Artifact, Source, of_call
from converters.formats import keras_config, variables
from converters.reference.golden import VARIABLES
from converters.targets.hdf5 import NAME


def convert(source: Source, variant: str, out_dir: Path, options: Options) -> list[Artifact]:
    """Write hdf5/model.h5 or hdf5/weights.h5."""
    path = out_dir / NAME / f"{variant}.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    if variant == "weights":
        _write_weights(source, path)
        return [Artifact(target=NAME, variant=variant, signature=None, path=path)]
    if not source.is_keras:
        raise Unsupported("only a Keras model can be one HDF5 file; its variables can: ask for variant 'weights'")
    if source.keras_file is None:
        raise Unsupported(f"{source.keras_problem}; define get_config, or export a Functional model")
    write_model(source, path)
    other = "a Keras HDF5 file holds the model's call alone; this signature is in the SavedModel and the TF Lite file"
    return of_call(source, NAME, variant, path, other)


def write_model(source: Source, path: Path) -> None:
    """Write a Keras model as one HDF5 file. Raises Unsupported."""
    from converters.formats.keras_model import load_keras

    assert source.keras_file is not None
    if source.keras_file.suffix == ".h5":
        shutil.copyfile(source.keras_file, path)
        return
    try:
        model = load_keras(source.keras_file, source.builder)
    except BadInput as error:
        raise Unsupported(f"{error}; {_remedy(source.keras_file)}") from error
    if not keras_config.is_supported(keras_config.of_model(model)):
        raise Unsupported(
            "a Keras HDF5 file holds a Functional or Sequential model, and this one is subclassed; export a Functional "
            "model, or ask for variant 'weights'"
        )
    model.save(path)
    custom = keras_config.custom_classes(_config(path))
    if custom:
        path.unlink()
        raise Unsupported(
            f"the file would load only in a program that has the custom {', '.join(custom)}, and so cannot be checked; "
            "ask for variant 'weights', or use the layers that Keras has"
        )


def _remedy(keras_file: Path) -> str:
    """What to do about a .keras file that cannot be loaded."""
    import json
    import zipfile

    with zipfile.ZipFile(keras_file) as archive:
        config = json.loads(archive.read("config.json"))
    custom = keras_config.custom_classes(config)
    if custom:
        return (
            f"register {', '.join(custom)} with @register_keras_serializable, with a get_config, or ask for 'weights'"
        )
    if keras_config.has_class(config, "Lambda"):
        return "put what its Lambda layer computes in a layer of its own, or ask for variant 'weights'"
    return "ask for variant 'weights'"


def _config(path: Path) -> Any:
    import json

    import h5py

    with h5py.File(path) as file:
        return json.loads(file.attrs["model_config"])


def _write_weights(source: Source, path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for name, value in variables.of_saved_model(source.saved_model).items():
            stored, kind = _stored(value)
            dataset = file.create_dataset(f"{VARIABLES}/{dataset_of(name)}", data=stored, dtype=kind)
            dataset.attrs.update(name=name, dtype=value.dtype.name)


def dataset_of(name: str) -> str:
    """A variable's dataset. One cannot also be the group of another, as `dense` and `dense/kernel` would need."""
    return name.replace("/", ".")


def _stored(value: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], Any]:
    """The value and dtype to give to h5py: bfloat16 as its bits; strings as strings, or as bytes where NULs are in them.

    HDF5 ends a string of variable length at its first NUL.
    """
    import h5py

    if value.dtype.name == "bfloat16":
        return value.view(np.uint16), np.dtype(np.uint16)
    if value.dtype != object:
        return value, value.dtype
    items = [item if isinstance(item, bytes) else str(item).encode() for item in value.ravel().tolist()]
    if not any(b"\0" in item for item in items):
        return value, h5py.string_dtype()
    stored = np.empty(len(items), dtype=object)
    stored[:] = [np.frombuffer(item, np.uint8) for item in items]
    return stored.reshape(value.shape), h5py.vlen_dtype(np.uint8)
