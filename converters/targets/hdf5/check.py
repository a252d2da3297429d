"""Reading HDF5 back: a model in its Keras, weights as variables."""

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from converters.contract.errors import BadInput, Damaged
from converters.contract.target import Cases
from converters.contract.values import Artifact, Prediction, Structure, Tensors
from converters.formats import keras_config, variables
from converters.formats.dtypes import as_strings
from converters.processes.timing import predicted
from converters.reference.golden import VARIABLES
from converters.targets.hdf5.convert import dataset_of


def inspect(artifact: Artifact) -> Structure:
    """The model's config, as JSON in the file's attributes; a weights file declares no signature."""
    import json

    import h5py

    assert artifact.path is not None
    try:
        with h5py.File(artifact.path) as file:
            if artifact.variant == "weights":
                return Structure(signatures={}, reader=f"h5py {h5py.__version__}", runtimes=("h5py",))
            config = json.loads(file.attrs["model_config"])
    except (OSError, KeyError, ValueError) as error:
        raise Damaged(f"{artifact.path.name} cannot be read as a Keras model: {error}") from error
    declared = {artifact.signature or "": keras_config.signature(config)} if keras_config.is_supported(config) else {}
    return Structure(signatures=declared, reader=f"h5py {h5py.__version__}", runtimes=("keras",))


def run_models(artifacts: Sequence[Artifact], cases: Cases, seconds: float) -> list[Prediction]:
    """Reload each file, in this process that never held the model, and run it."""
    return [_run_model(artifact, cases[artifact.signature or ""]) for artifact in artifacts]


def read_weights(artifacts: Sequence[Artifact], cases: Cases, seconds: float) -> list[Prediction]:
    """Read a weights file's variables back."""
    return [_read_weights(artifact) for artifact in artifacts]


def keras_version() -> str:
    """Those of both Kerases."""
    return f"{version('tf-keras')}, keras {version('keras')}"


def h5py_version() -> str:
    """h5py's."""
    return version("h5py")


def _read_weights(artifact: Artifact) -> Prediction:
    import h5py

    assert artifact.path is not None
    found: Tensors = {}
    try:
        with h5py.File(artifact.path) as file:
            for key, dataset in file[VARIABLES].items() if VARIABLES in file else ():
                name = dataset.attrs["name"]
                found[name if dataset_of(name) == key else f"{name} as {key}"] = _restored(dataset)
    except (OSError, KeyError, ValueError) as error:
        raise Damaged(f"{artifact.path.name} cannot be read: {error}") from error
    lines = as_strings(variables.describe(found))
    return Prediction(runtime=f"h5py {h5py.__version__}", outputs=[{VARIABLES: lines}])


def _restored(dataset: Any) -> np.ndarray[Any, Any]:
    import h5py
    import ml_dtypes

    value = np.asarray(dataset[()])
    if h5py.check_vlen_dtype(dataset.dtype) not in (None, str, bytes):
        flat = np.empty(dataset.size, dtype=object)
        items = [dataset[()]] if dataset.shape == () else dataset[()].ravel()
        flat[:] = [item.tobytes() for item in items]
        return flat.reshape(dataset.shape)
    return value.view(ml_dtypes.bfloat16) if dataset.attrs["dtype"] == "bfloat16" else value


def _run_model(artifact: Artifact, cases: Sequence[Tensors]) -> Prediction:
    import tensorflow as tf

    from converters.formats.keras_model import call_reloaded, load_keras

    assert artifact.path is not None
    try:
        model = load_keras(artifact.path)
    except BadInput as error:
        raise Damaged(str(error)) from error
    library = type(model).__module__.partition(".")[0]
    name = f"{library} {__import__(library).__version__}, tensorflow {tf.__version__}"
    return predicted(name, partial(call_reloaded, model), cases)
