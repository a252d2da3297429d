"""Why tensorflow.js does not compute what a model says: the node of a graph model, or a layers model's layer and arguments.

Nothing is tensorflow.js's fault before it is shown that the files hold the model: the weights are those of the Keras 2 model
that they were written from, and that one computes what the live model does.
"""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.contract.errors import said
from converters.contract.target import Trouble
from converters.contract.values import Artifact, Prediction, Source, Tensors
from converters.formats.internals_keras import calls_within
from converters.formats.keras_layers import layer_of, layer_outputs, same_weights, symbolic_outputs, unusual
from converters.javascript import messages, runner
from converters.reference.layerwise import first_apart
from converters.targets.tfjs import diagnosis
from converters.targets.tfjs.layers_model import adapt, keras2_file

UNREAD = "unread"
"""Beside the layers' outputs, what js/examine.mjs says of their arguments."""
_REMEDY = "use the graph model"


def of_graph(source: Source, artifact: Artifact, trouble: Trouble) -> str | None:
    """The op that ends a graph model in tensorflow.js, where it runs on no backend; None where it runs, or is not known."""
    if trouble.error is None:
        return None
    assert artifact.path is not None
    request = messages.Request(artifact.path, "graph", trouble.inputs[:1], timed=False, locate=True)
    (answer,) = runner.run("node-cpu", [request], seconds=None)
    if answer.error is None:
        return None
    if not answer.error.startswith("node "):
        return None if not answer.lacks else f"tensorflow.js cannot load it: {said(answer.error, 200)}"
    place, _, words = answer.error.partition("): ")
    why = f": {said(words, 200).rstrip(' .')}" if words else ""
    return f"tensorflow.js cannot run {place.rstrip(')')}){why}; replace it, or do this part outside the model"


def of_layers(source: Source, artifact: Artifact, trouble: Trouble) -> str | None:
    """What tensorflow.js lacks of a layers model, or computes otherwise; None where the conversion may be at fault."""
    from converters.formats.keras_model import load_keras

    if (known := diagnosis.of_layers_model(trouble.error or "")) is not None:
        return f"{known}; {_REMEDY}"
    assert artifact.path is not None
    with tempfile.TemporaryDirectory(prefix="fanout-tfjs-") as scratch:
        file = keras2_file(source, Path(scratch))
        if not _holds(artifact.path, file):
            return None
        model = load_keras(file)
    if source.kind == "keras":
        assert source.keras_file is not None
        original = load_keras(source.keras_file, source.builder)
        if (cause := _of_keras2(original, model, trouble)) is not None:
            return cause
    if trouble.error is not None:
        return _of_error(model, _examined(model, artifact.path, trouble.inputs[:1])[0])
    for inputs, answer in zip(trouble.inputs, _examined(model, artifact.path, trouble.inputs), strict=True):
        if answer.error is not None:
            return _of_error(model, answer)
        (found,) = answer.outputs
        apart = first_apart(layer_outputs(model, inputs), found, trouble.tolerance)
        if apart is not None:
            return _of_values(model, layer_of(apart), found[UNREAD])
    return None


def _examined(model: Any, path: Path, cases: Iterable[Tensors]) -> list[Prediction]:
    """What every layer returned for each case, or the error that named the layer."""
    shapes = {name: list(tensor.shape) for name, tensor in symbolic_outputs(model).items()}
    requests = [messages.Request(path, "layers", [inputs], timed=False, every=shapes) for inputs in cases]
    return runner.run("node-cpu", requests, seconds=None)


def _holds(path: Path, file: Path) -> bool:
    """Whether model.json and its weights are those of the Keras 2 model, layer for layer and byte for byte."""
    import json

    from tensorflowjs import read_weights
    from tensorflowjs.converters import keras_h5_conversion

    topology, groups = keras_h5_conversion.h5_merged_saved_model_to_tfjs_format(str(file))
    adapt(topology)
    written = json.loads(path.read_text())
    weights = read_weights.read_weights(written["weightsManifest"], str(path.parent), flatten=True)
    same = _by_name(weights) == _by_name(entry for group in groups for entry in group)
    return same and written["modelTopology"] == json.loads(json.dumps(topology))


def _by_name(entries: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    arrays = ((str(entry["name"]), np.asarray(entry["data"])) for entry in entries)
    return {name: (value.dtype.name, value.shape, value.tobytes()) for name, value in arrays}


def _of_keras2(original: Any, model: Any, trouble: Trouble) -> str | None:
    """The layer that Keras 2 computes otherwise than Keras 3, with the same weights."""
    for inputs in trouble.inputs:
        apart = first_apart(layer_outputs(original, inputs), layer_outputs(model, inputs), trouble.tolerance)
        if apart is None:
            continue
        one, other = (each.get_layer(layer_of(apart)) for each in (original, model))
        if not same_weights(one, other):
            return None
        return f"Keras 2, whose format a layers model has, computes {_described(one)} otherwise than Keras 3; {_REMEDY}"
    return None


def _of_error(model: Any, answer: Prediction) -> str | None:
    """The layer that an error names, which tensorflow.js cannot make or run."""
    if answer.error is None:
        return None
    named = next((layer for layer in model.layers if answer.error.startswith(f"layer {layer.name} (")), None)
    if named is None:
        return None
    words = said(answer.error.partition("): ")[2], 200).rstrip(" .")
    return f"tensorflow.js cannot run {_described(named)}: {words}; {_REMEDY}"


def _of_values(model: Any, name: str, unread: Any) -> str:
    layer = model.get_layer(name)
    pairs = (entry.decode().rpartition("/") for entry in unread.tolist())
    ignored = {argument for owner, _, argument in pairs if owner == name}
    lost = {key: value for key, value in unusual(layer).items() if _as_javascript(key) in ignored}
    calls = (call for call in calls_within(model) if call.layer is layer)
    lost |= {
        key: value for call in calls for key, value in call.options.items() if isinstance(value, bool | int | float)
    }
    why = f" and ignores its {_listed(lost)}" if lost else ""
    return f"tensorflow.js computes {_described(layer)} otherwise than Keras{why}; {_REMEDY}"


def _described(layer: Any) -> str:
    arguments = _listed(unusual(layer))
    return f"layer {layer.name!r} ({type(layer).__name__}{f' with {arguments}' if arguments else ''})"


def _listed(arguments: Mapping[str, Any]) -> str:
    shown = {key: f"{value:.6g}" if type(value) is float else repr(value) for key, value in arguments.items()}
    return ", ".join(f"{key}={value}" for key, value in shown.items())


def _as_javascript(key: str) -> str:
    """An argument's name there (tfjs-layers/src/utils/generic_utils.ts, toCamelCase)."""
    first, *others = key.split("_")
    return first + "".join(part.capitalize() for part in others)
