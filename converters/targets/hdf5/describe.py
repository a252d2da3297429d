"""What a Keras model's file holds, and HDF5 weights."""

import json
import math
import zipfile
from pathlib import Path
from typing import Any

from converters.contract.errors import Damaged, said
from converters.formats import describing
from converters.reference.golden import VARIABLES


def keras_archive(path: Path) -> dict[str, Any]:
    """A .keras file: layers, call and parameters. Raises Damaged."""
    import h5py

    try:
        with zipfile.ZipFile(path) as archive:
            metadata, config = (json.loads(archive.read(name)) for name in ("metadata.json", "config.json"))
            with archive.open("model.weights.h5") as stored, h5py.File(stored, "r") as weights:
                parameters = _parameters(weights)
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise Damaged(f"it is no .keras archive, or an incomplete one: {said(error)}") from error
    return _model("Keras archive", path, parameters, config, metadata.get("keras_version"))


def hdf5(path: Path) -> dict[str, Any]:
    """A Keras model's HDF5 file, or weights. Raises Damaged."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                return _weights_file(file, path)
            config = json.loads(file.attrs["model_config"])
            parameters = _parameters(file["model_weights"])
            return _model("Keras HDF5 model", path, parameters, config, file.attrs.get("keras_version"))
    except (KeyError, ValueError, OSError) as error:
        raise Damaged(f"it is no HDF5 file, or an incomplete one: {said(error)}") from error


def _model(kind: str, path: Path, parameters: int, config: Any, version: str | bytes | None) -> dict[str, Any]:
    described = describing.keras(config, _text(version))
    return {"format": kind, "bytes": path.stat().st_size, "parameters": parameters, **described}


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


def _weights_file(file: Any, path: Path) -> dict[str, Any]:
    """Weights without a model: as this project writes them, where each dataset has its variable's name, or Keras's."""
    ours = VARIABLES in file
    datasets = {
        str(dataset.attrs.get("name", name)) if ours else name: {
            "dtype": str(dataset.attrs.get("dtype", dataset.dtype)),
            "shape": list(dataset.shape),
        }
        for name, dataset in _datasets(file)
    }
    return {
        "format": "HDF5 weights",
        "bytes": path.stat().st_size,
        "keras": _text(file.attrs.get("keras_version")),
        "parameters": _parameters(file),
        "datasets": dict(sorted(datasets.items())),
    }


def _datasets(group: Any) -> list[tuple[str, Any]]:
    """(path, dataset) of all below an HDF5 group."""
    import h5py

    found: list[tuple[str, Any]] = []
    group.visititems(lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None)
    return found


def _parameters(group: Any) -> int:
    """Elements of all datasets but an optimizer's or a metric's state and random generators' seeds."""
    names = ((name.split("/"), dataset) for name, dataset in _datasets(group))
    return sum(
        math.prod(dataset.shape)
        for parts, dataset in names
        if parts[0] not in ("optimizer", "metrics") and "seed_generator" not in parts
    )
