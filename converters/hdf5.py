"""HDF5: the whole model of a Keras source, or the variables of a source that is no Keras model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters import keras_config, variables
from converters.contract import Artifact, Options, Prediction, Source, Structure, Tensors, Tolerance
from converters.errors import BadInput, Damaged, Unsupported
from converters.golden import VARIABLES, as_strings
from converters.timing import median_ms

NAME = "hdf5"
FRESH = frozenset({"h5py"})
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
    from converters.live import load_keras

    assert source.keras_file is not None
    try:
        model = load_keras(source.keras_file, source.builder)
    except BadInput as error:
        remedy = "register its custom classes with @register_keras_serializable and give them get_config"
        raise Unsupported(f"{error}; {remedy}") from error
    try:
        model.save(path)
    except NotImplementedError as error:  # what Keras raises for subclassed models
        raise Unsupported(
            f"Keras cannot write a subclassed model as HDF5: {' '.join(str(error).split())[:200]}"
        ) from error


def _write_weights(source: Source, path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for name, value in variables.of_saved_model(source.saved_model).items():
            stored = value.view(np.uint16) if value.dtype.name == "bfloat16" else value
            kind = h5py.string_dtype() if value.dtype == object else stored.dtype
            dataset = file.create_dataset(f"{VARIABLES}/{_dataset(name)}", data=stored, dtype=kind)
            dataset.attrs.update(name=name, dtype=value.dtype.name)


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
    import ml_dtypes

    value = np.asarray(dataset[()])
    return value.view(ml_dtypes.bfloat16) if dataset.attrs["dtype"] == "bfloat16" else value


def _run_model(artifact: Artifact, cases: Sequence[Tensors]) -> Prediction:
    import tensorflow as tf

    from converters.live import call_reloaded, load_keras

    assert artifact.path is not None
    try:
        model = load_keras(artifact.path)
    except BadInput as error:
        raise Damaged(str(error)) from error
    library = type(model).__module__.partition(".")[0]
    name = f"{library} {__import__(library).__version__}, tensorflow {tf.__version__}"
    outputs = [call_reloaded(model, inputs) for inputs in cases]
    return Prediction(runtime=name, outputs=outputs, latency_ms=median_ms(lambda: call_reloaded(model, cases[-1])))
