"""HDF5: the whole model of a Keras source, or the variables of a source that is no Keras model."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.contract.errors import BadInput, Damaged, Unsupported
from converters.contract.values import Artifact, Options, Prediction, Source, Structure, Tensors, Tolerance
from converters.formats import keras_config, variables
from converters.processes.timing import median_ms
from converters.reference.golden import VARIABLES, as_strings

NAME = "hdf5"
FRESH = frozenset({"h5py"})
KEPT: Mapping[str, str] = {}
INSTEAD: dict[str, str] = {}
EARLY = frozenset({"model"})
TOLERANCES = {
    "model": Tolerance(
        error=1e-4, mismatch=0.0, reason="the same weights run by the same Keras, perhaps fused differently"
    ),
    "weights": Tolerance(error=0.0, mismatch=0.0, reason="variables are stored, not computed: every byte must agree"),
}


class Hdf5Options(Options):
    """HDF5's options. Without `variants`, what the source can have: model for Keras, weights for all others."""

    known_variants = ("model", "weights")
    variants: tuple[str, ...] = ()


OPTIONS = Hdf5Options


def holds(dtype: str) -> str:
    """Keras keeps every dtype as it is."""
    return dtype


def variants(source: Source, options: Options) -> Sequence[str]:
    """The whole model for a Keras source, the weights alone for any other."""
    return options.variants or (("model",) if source.kind in ("tf_keras", "keras") else ("weights",))


def convert(source: Source, variant: str, out_dir: Path, options: Options) -> list[Artifact]:
    """Write hdf5/model.h5 or hdf5/weights.h5."""
    path = out_dir / NAME / f"{variant}.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    if variant == "weights":
        _write_weights(source, path)
        return [Artifact(target=NAME, variant=variant, signature=None, path=path)]
    if source.kind not in ("tf_keras", "keras"):
        raise Unsupported("only a Keras model can be one HDF5 file; its variables can: ask for variant 'weights'")
    if source.keras_file is None:
        raise Unsupported(f"{source.keras_problem}; define get_config, or export a Functional model")
    _write_model(source, path)
    call = source.keras_signature
    other = "a Keras HDF5 file holds the model's call alone; this signature is in the SavedModel and the TF Lite file"
    return [
        Artifact(target=NAME, variant=variant, signature=key, path=path)
        if key == call
        else Artifact(target=NAME, variant=variant, signature=key, path=None, reason=other)
        for key in source.signatures
    ]


def _write_model(source: Source, path: Path) -> None:
    from converters.source.live import load_keras

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
            dataset = file.create_dataset(f"{VARIABLES}/{_dataset(name)}", data=stored, dtype=kind)
            dataset.attrs.update(name=name, dtype=value.dtype.name)


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


def _dataset(name: str) -> str:
    """A variable's dataset. One cannot also be the group of another, as `dense` and `dense/kernel` would need."""
    return name.replace("/", ".")


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


def predict(artifacts: Sequence[Artifact], cases: Mapping[str, Sequence[Tensors]], runtime: str) -> list[Prediction]:
    """Reload the file, in this fresh process, and run the model; or read a weights file's variables back."""
    return [_read_weights(a) if runtime == "h5py" else _run_model(a, cases[a.signature or ""]) for a in artifacts]


def _read_weights(artifact: Artifact) -> Prediction:
    import h5py

    assert artifact.path is not None
    found: Tensors = {}
    try:
        with h5py.File(artifact.path) as file:
            for key, dataset in file[VARIABLES].items() if VARIABLES in file else ():
                name = dataset.attrs["name"]
                found[name if _dataset(name) == key else f"{name} as {key}"] = _restored(dataset)
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

    from converters.source.live import call_reloaded, load_keras

    assert artifact.path is not None
    try:
        model = load_keras(artifact.path)
    except BadInput as error:
        raise Damaged(str(error)) from error
    library = type(model).__module__.partition(".")[0]
    name = f"{library} {__import__(library).__version__}, tensorflow {tf.__version__}"
    outputs = [call_reloaded(model, inputs) for inputs in cases]
    return Prediction(runtime=name, outputs=outputs, latency_ms=median_ms(lambda: call_reloaded(model, cases[-1])))
