"""Any model of either Keras: loading its file, its inputs and outputs by name, its call."""

import inspect
import platform
import re
import sys
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from converters.contract.errors import BadInput, Damaged, said
from converters.contract.values import SourceKind, Tensors, TensorSpec
from converters.formats import keras_config, keras_file, keras_lambda, keras_operations, specs
from converters.formats.internals_keras import layers_within, operations
from converters.processes import userland

COMPOSITE = ("SparseTensorSpec", "RaggedTensorSpec")


def load_keras(path: Path, builder: Path | None = None, *, trusted: bool = False, repaired: bool = False) -> Any:
    """A .keras or .h5 file, loaded by the Keras that wrote it.

    `builder` is imported first; its classes and functions are the file's custom objects, and a function of a Lambda layer's
    name takes the place of the layer's own. Whether anything in the file would run is for the caller to ask (`code.of_keras`).
    Unless it is `trusted`, Keras does not load what it knows to hold Python code either. With `repaired` it is also loaded where
    that takes more than Keras (`keras_operations`).

    Raises:
        BadInput: neither Keras can load the file.
    """
    known = userland.objects(builder) if builder is not None else {}
    try:
        written = keras_file.read(path)
    except Damaged as error:
        raise BadInput(str(error)) from error
    given = keras_file.with_functions(written, known)
    if repaired and written.is_of_keras_3 and not zipfile.is_zipfile(path):
        config, named = keras_operations.with_names(given.config)
        given, known = given._replace(config=config), {**known, **named}
    # Python's reader of bytecode is not safe from what was made to harm it (marshal), so only what is trusted is tried.
    if trusted and (unreadable := keras_lambda.unreadable(given.config)):
        raise BadInput(f"{path.name}: {_unreadable(unreadable)}")
    try:
        with _as_loaded(path, given.config if given.config is not written.config else None) as file:
            if written.is_of_keras_3:
                import keras

                return keras.saving.load_model(file, custom_objects=known, compile=False, safe_mode=not trusted)
            import tf_keras

            return tf_keras.models.load_model(file, custom_objects=known, compile=False, safe_mode=not trusted)
    except Exception as error:  # Keras raises of every kind here: ValueError, TypeError, OSError, KeyError, ...
        why, remedy = _explained(error, given.config, known, operations() if written.is_of_keras_3 else ())
        raise BadInput(f"{path.name}: Keras {written.version or '2'} cannot load it: {why}{remedy}") from error


def _unreadable(layers: Sequence[str]) -> str:
    return (
        f"the Lambda layer{'s' if len(layers) > 1 else ''} {', '.join(layers)} hold{'' if len(layers) > 1 else 's'} bytecode "
        f"of another Python, which this one ({platform.python_version()}) cannot read; write what it computes as a "
        f"function of that name in a FILE.py (def {layers[0]}(x): ...), and give it: --custom FILE.py, or custom: in a config"
    )


_INNERMOST = "Exception encountered: "
"""Before what was raised within, where Keras tells which layer of which model could not be loaded."""
_UNKNOWN = re.compile(r"(?:Unknown [a-z ]+|Could not locate (?:class|function)):? '?\"?(\w+)")
"""How tf_keras and Keras 3 begin to say that a class or function is not there."""


def _explained(error: Exception, config: Any, known: Collection[str], operations: Collection[str]) -> tuple[str, str]:
    """What Keras says, and what may help, where it could not load a model of this config; two parts of one sentence."""
    told = str(error).rpartition(_INNERMOST)[2]
    unknown = _UNKNOWN.search(told)
    why = told[unknown.start() : unknown.end() + 1] if unknown else said(told.rstrip(". \n"), 400)
    classes = [name for name in keras_config.custom_classes(config) if name not in known]
    if unknown and unknown[1] in operations:
        return f"{unknown[1]} is an operation and no layer, and Keras 3 finds operations in .keras files alone", ""
    return why, _remedy([unknown[1]] if unknown else classes, config, known)


def _remedy(classes: Sequence[str], config: Any, known: Collection[str]) -> str:
    layers = [name for name in keras_lambda.names(config) if name not in known]
    if classes:
        return f"; give the Python that defines {', '.join(classes)}: --custom FILE.py, or custom: in a config"
    if layers:
        return (
            f"; if it is for a Lambda layer, write what that computes as a function of its name ({', '.join(layers)}) in a "
            "FILE.py, and give it: --custom FILE.py, or custom: in a config"
        )
    return ""


@contextmanager
def _as_loaded(path: Path, config: Any | None) -> Iterator[Path]:
    """The file with that config in place of its own, where there is one, by the suffix of its content.

    Both Keras go by the suffix, and tf.keras before 2.12 wrote HDF5 to any name.
    """
    suffix = ".keras" if zipfile.is_zipfile(path) else ".h5"
    if path.suffix == suffix and config is None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="fanout-keras-") as folder:
        file = Path(folder) / f"model{suffix}"
        if config is None:
            file.symlink_to(path.resolve())
        else:
            keras_file.write_again(path, config, file)
        yield file


def kind_of(model: Any) -> SourceKind | None:
    """A model can only be of a Keras that has been imported."""
    if "tf_keras" in sys.modules and isinstance(model, sys.modules["tf_keras"].Model):
        return "tf_keras"
    if "keras" in sys.modules and isinstance(model, sys.modules["keras"].Model):
        return "keras"
    return None


def is_built(model: Any) -> bool:
    """Whether every layer has its weights. With declared inputs the layers have been called, though some never say so."""
    if declared_inputs(model):
        return True
    return all(layer.built for layer in layers_within(model))


def dummy(tensor: TensorSpec) -> Any:
    """A tensor of zeros (or empty strings) that fits the spec, one for every dynamic dimension."""
    import tensorflow as tf

    shape = [1 if dimension is None else dimension for dimension in tensor.shape or (1,)]
    return tf.zeros(shape, tensor.dtype) if tensor.dtype != "string" else tf.fill(shape, "")


def call_reloaded(model: Any, inputs: Tensors) -> Tensors:
    """A reloaded Keras model's call on arrays, its outputs named as its signature names them."""
    import tensorflow as tf

    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    outputs = named_outputs(call_keras(model, tensors), output_names(model))
    return {name: np.asarray(value) for name, value in outputs.items()}


def output_names(model: Any) -> list[str]:
    """The names of the layers that a Functional, Sequential or loaded model's outputs come from, where it knows them."""
    names = getattr(model, "output_names", None)
    if names is None and getattr(model, "outputs", None):  # a Keras 3 Sequential
        names = [model.layers[-1].name] * len(model.outputs)
    return list(names or [])


def declared_inputs(model: Any) -> dict[str, TensorSpec]:
    """Inputs of a Functional, Sequential or loaded model, by input-layer name."""
    import tensorflow as tf

    tensors = tf.nest.flatten(getattr(model, "inputs", None) or [])
    for tensor in tensors:
        kind = type(getattr(tensor, "type_spec", None)).__name__
        if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False) or kind in COMPOSITE:
            raise BadInput(
                f"the input layer {tensor.name!r} is sparse or ragged, and signatures take dense tensors; give the model "
                "a dense input and convert it inside"
            )
    names = getattr(model, "input_names", None) or [_input_name(tensor) for tensor in tensors]
    return dict(zip(names, map(specs.of_tensor, tensors), strict=True))


def _input_name(tensor: Any) -> str:
    """Of a Keras 3 model: its input layer's, which its files have; an input that was given no name is a `keras_tensor` itself."""
    layer = getattr(getattr(tensor, "_keras_history", None), "operation", None)
    return str(getattr(layer, "name", None) or tensor.name)


def call_keras(model: Any, tensors: dict[str, Any], *, listed: bool = False) -> Any:
    """The model's call in inference mode, its inputs in the structure the model was defined or first called with.

    A subclassed model that takes an argument for each input gets them by their names, or else in the order of `tensors`;
    one that was first called with a list, or is `listed`, gets them as a list in that order too.
    """
    import tensorflow as tf

    names = list(declared_inputs(model))
    structure = getattr(model, "input", None) if names else None  # a Keras 3 Sequential has none
    if structure is not None and len(names) == len(tensors):
        ordered = [tensors[name] for name in names] if set(names) == set(tensors) else list(tensors.values())
        return model(tf.nest.pack_sequence_as(structure, ordered), training=False)
    accepts = inspect.signature(model.call).parameters
    mode = {"training": False} if "training" in accepts else {}
    arguments = [list(tensors.values())] if listed else _arguments(model, accepts, tensors)
    return model(*arguments, **mode)


def _arguments(model: Any, accepts: Mapping[str, inspect.Parameter], tensors: dict[str, Any]) -> list[Any]:
    """What a model that declares no inputs is called with: an argument for each, a list, or by default a dict."""
    if len(tensors) == 1:
        return list(tensors.values())
    needed = [name for name, parameter in accepts.items() if parameter.default is parameter.empty]
    if len(needed) == len(tensors):
        return [tensors[name] for name in needed] if set(needed) == set(tensors) else list(tensors.values())
    config = model.get_build_config() if model.built else None
    shapes = (config or {}).get("input_shape")
    of_many = isinstance(shapes, list | tuple) and not any(size is None or isinstance(size, int) for size in shapes)
    return [list(tensors.values())] if of_many else [tensors]


def named_outputs(result: Any, names: list[str]) -> dict[str, Any]:
    """Outputs by name: a dict's own keys (nested ones joined by '_'), `names` where they fit, or output_0, output_1, ..."""
    import tensorflow as tf

    if isinstance(result, Mapping):
        paths = [("_".join(map(str, path)), value) for path, value in _paths(result)]
        return dict(paths)
    flat = tf.nest.flatten(result)
    chosen = names if len(names) == len(flat) == len(set(names)) else [f"output_{i}" for i in range(len(flat))]
    return dict(zip(chosen, flat, strict=True))


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, Mapping):
        return [leaf for key in sorted(value) for leaf in _paths(value[key], (*path, key))]
    if isinstance(value, list | tuple):
        return [leaf for index, item in enumerate(value) for leaf in _paths(item, (*path, index))]
    return [(path, value)]
