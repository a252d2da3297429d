"""The live model: an object in this process whose endpoints can be called and exported.

Everything here runs in a child process that has TensorFlow loaded.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from converters.config.spec import KERAS_SUFFIXES, MethodSpec, ModelSpec
from converters.contract.errors import BadInput, Damaged
from converters.contract.values import DEFAULT_SIGNATURE, SERVE, Signature, SourceKind, Tensors, TensorSpec
from converters.formats import saved_model
from converters.processes import userland
from converters.reference import coverage
from converters.reference import hints as examples
from converters.reference.coverage import Coverage
from converters.reference.drawing import Hint

KERAS_CALL = "call"
_COMPOSITE = ("SparseTensorSpec", "RaggedTensorSpec")


@dataclass
class Endpoint:
    """One signature of a live model: `call` takes and returns tensors by name."""

    key: str
    inputs: dict[str, TensorSpec]
    call: Callable[[dict[str, Any]], dict[str, Any]]
    signature: Signature | None = None
    """Known beforehand for a SavedModel; for others it is known once the endpoint has been traced."""
    concrete: Any = None
    hints: Callable[[], dict[str, Hint]] = dict
    """What the graph says of the inputs; for others than a SavedModel's it is known once traced, likewise."""


@dataclass
class Live:
    """A model with its weights, and its endpoints by signature key."""

    kind: SourceKind
    model: Any
    endpoints: dict[str, Endpoint]
    keras_signature: str | None = None
    builder: Path | None = None
    variables: list[Any] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    differentiable: Callable[[str], tuple[Callable[[dict[str, Any]], dict[str, Any]], list[Any]]] | None = None
    """For a signature key, a call that can be differentiated and its variables, where an endpoint's own cannot."""

    def reach(self, endpoint: Endpoint, inputs: Tensors) -> Coverage:
        """Which weights change an output of an endpoint for these inputs."""
        if self.differentiable is None:
            return coverage.measure(endpoint.call, self.variables, inputs)
        try:
            call, weights = self.differentiable(endpoint.key)
        except Exception as error:  # what a session runs, TF 2's loader may refuse in many ways
            text = " ".join(str(error).split())
            return Coverage(problem=f"it cannot be loaded to be differentiated: {type(error).__name__}: {text[:200]}")
        return coverage.measure(call, weights, inputs)


def bring_up(spec: ModelSpec) -> Live:
    """The model that the spec names, built and with its weights.

    Raises:
        BadInput: it cannot be loaded or built; says which field or call is at fault and the remedy.
        BuilderFailed: the user's builder raised.
    """
    if spec.model.rpartition(":")[0].endswith(".py"):
        path, _ = userland.split(spec.model, spec.base, "model")
        model = userland.call(spec.model, spec.base, "model")
        live = _from_object(model, spec, f"{spec.model}")
        live.builder = path
        return live
    path = (spec.base / spec.model).resolve()
    if not path.exists():
        raise BadInput(f"model: {path} does not exist")
    if path.suffix in KERAS_SUFFIXES:
        return _from_object(load_keras(path), spec, path.name)
    return _from_saved_model(path, spec)


def load_keras(path: Path, builder: Path | None = None) -> Any:
    """A .keras or .h5 file, loaded by the Keras that wrote it; `builder` is imported first, to register custom objects.

    Raises:
        BadInput: neither Keras can load the file.
    """
    if builder is not None:
        userland.load(builder)
    version = _keras_version(path)
    try:
        if version.startswith("3"):
            import keras

            return keras.saving.load_model(path, compile=False)
        import tf_keras

        return tf_keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises of every kind here: ValueError, TypeError, OSError, KeyError, ...
        text = " ".join(str(error).split())
        raise BadInput(f"{path.name}: Keras {version or '2'} cannot load it: {text[:400]}") from error


def _keras_version(path: Path) -> str:
    """The version of Keras that wrote the file, or '' where it does not say."""
    import json
    import zipfile

    import h5py

    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
        with h5py.File(path) as file:
            if "model_config" not in file.attrs:
                raise BadInput(
                    f"{path} holds weights only; give a whole model (model.save), or a builder that loads them"
                )
            version = file.attrs.get("keras_version", "")
            return version.decode() if isinstance(version, bytes) else str(version)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path} is no {path.suffix} file: {error}") from error


def _from_object(model: Any, spec: ModelSpec, where: str) -> Live:
    import tensorflow as tf

    kind = _keras_kind(model)
    if kind is not None:
        _initialize(model, spec, where)
        methods = spec.signatures or {DEFAULT_SIGNATURE: MethodSpec(method=KERAS_CALL)}
        endpoints = {
            key: _keras_call(model, key, method, spec, where)
            if method.method == KERAS_CALL
            else _method(model, key, method, where)
            for key, method in methods.items()
        }
        keras_signature = next((key for key, method in methods.items() if method.method == KERAS_CALL), None)
        return Live(kind, model, endpoints, keras_signature, variables=list(model.variables))
    if isinstance(model, tf.Module):
        methods = spec.signatures or _decorated(model, where)
        endpoints = {key: _method(model, key, method, where) for key, method in methods.items()}
        return Live("module", model, endpoints, variables=list(model.variables))
    raise BadInput(f"{where} returned {type(model).__name__}; return a tf_keras or Keras model, or a tf.Module")


def _keras_kind(model: Any) -> SourceKind | None:
    """A model can only be of a Keras that has been imported."""
    if "tf_keras" in sys.modules and isinstance(model, sys.modules["tf_keras"].Model):
        return "tf_keras"
    if "keras" in sys.modules and isinstance(model, sys.modules["keras"].Model):
        return "keras"
    return None


def _initialize(model: Any, spec: ModelSpec, where: str) -> None:
    """Give an unbuilt Keras model its weights: `build` with the config's shapes, or a call on dummy tensors."""
    if _is_built(model):
        return
    if not spec.inputs:
        raise BadInput(
            f"{where}: the model is not built, so it has no weights; give its first layer an input shape, or name its "
            "inputs (shape and dtype) under 'inputs:' in the config"
        )
    shapes = {name: tensor.shape for name, tensor in spec.inputs.items()}
    try:
        if spec.initialize == "shape":
            model.build(next(iter(shapes.values())) if len(shapes) == 1 else shapes)
        else:
            _call_keras(model, {name: dummy(tensor) for name, tensor in spec.inputs.items()})
    except Exception as error:  # the model's own code runs here
        raise BadInput(
            f"{where}: initialising its weights by {spec.initialize} failed: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:400]}"
        ) from error
    if spec.initialize == "shape" and not _is_built(model):
        raise BadInput(
            f"{where}: the model is still unbuilt after build({shapes}); set 'initialize: call' in the config"
        )


def _is_built(model: Any) -> bool:
    """Whether every layer has its weights. With declared inputs the layers have been called, though some never say so."""
    if _declared_inputs(model):
        return True
    layers = model._flatten_layers() if hasattr(model, "_flatten_layers") else [model]
    return all(layer.built for layer in layers)


def dummy(tensor: TensorSpec) -> Any:
    """A tensor of zeros (or empty strings) that fits the spec, one for every dynamic dimension."""
    import tensorflow as tf

    shape = [1 if dimension is None else dimension for dimension in tensor.shape or (1,)]
    return tf.zeros(shape, tensor.dtype) if tensor.dtype != "string" else tf.fill(shape, "")


def _keras_call(model: Any, key: str, method: MethodSpec, spec: ModelSpec, where: str) -> Endpoint:
    declared = _declared_inputs(model)
    inputs = method.inputs or spec.inputs or declared
    if declared and set(inputs) != set(declared):
        raise BadInput(
            f"{where}: 'inputs:' names {sorted(inputs)}, but the model's input layers are {sorted(declared)}"
        )
    if not inputs:
        raise BadInput(
            f"{where}: the inputs of the model's call are not known; name them under 'inputs:' in the config"
        )
    names = _output_names(model)

    def call(tensors: dict[str, Any]) -> dict[str, Any]:
        return named_outputs(_call_keras(model, tensors), names)

    return Endpoint(key, inputs, call)


def call_reloaded(model: Any, inputs: Tensors) -> Tensors:
    """A reloaded Keras model's call on arrays, its outputs named as its signature names them."""
    import tensorflow as tf

    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    outputs = named_outputs(_call_keras(model, tensors), _output_names(model))
    return {name: np.asarray(value) for name, value in outputs.items()}


def _output_names(model: Any) -> list[str]:
    """The names of the layers that a Functional, Sequential or loaded model's outputs come from, where it knows them."""
    names = getattr(model, "output_names", None)
    if names is None and getattr(model, "outputs", None):  # a Keras 3 Sequential
        names = [tensor._keras_history.operation.name for tensor in model.outputs]
    return list(names or [])


def _declared_inputs(model: Any) -> dict[str, TensorSpec]:
    """Inputs of a Functional, Sequential or loaded model, by input-layer name."""
    import tensorflow as tf

    tensors = tf.nest.flatten(getattr(model, "inputs", None) or [])
    for tensor in tensors:
        kind = type(getattr(tensor, "type_spec", None)).__name__
        if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False) or kind in _COMPOSITE:
            raise BadInput(
                f"the input layer {tensor.name!r} is sparse or ragged, and signatures take dense tensors; give the model "
                "a dense input and convert it inside"
            )
    names = getattr(model, "input_names", None) or [tensor.name for tensor in tensors]
    return {
        name: TensorSpec(shape=None if t.shape is None else tuple(t.shape), dtype=tf.as_dtype(t.dtype).name)
        for name, t in zip(names, tensors, strict=True)
    }


def _call_keras(model: Any, tensors: dict[str, Any]) -> Any:
    """The model's call in inference mode, its inputs in the structure the model was defined with."""
    import tensorflow as tf

    structure = getattr(model, "_nested_inputs", None)  # tf_keras Functional and Sequential
    if structure is None:
        structure = getattr(model, "_inputs_struct", None)  # Keras 3 Functional
    if structure is not None and len(tf.nest.flatten(structure)) == len(tensors):
        names = list(_declared_inputs(model))
        ordered = [tensors[name] for name in names] if set(names) == set(tensors) else list(tensors.values())
        return model(tf.nest.pack_sequence_as(structure, ordered), training=False)
    given = next(iter(tensors.values())) if len(tensors) == 1 else tensors
    accepts = inspect.signature(model.call).parameters
    return model(given, training=False) if "training" in accepts else model(given)


def _decorated(module: Any, where: str) -> dict[str, MethodSpec]:
    """Without a `signatures:` mapping: every public tf.function that has an input signature, by its name."""
    found, generic = {}, []
    for name in dir(type(module)):
        function = getattr(module, name, None) if not name.startswith("_") or name == "__call__" else None
        if not hasattr(function, "get_concrete_function"):
            continue
        if getattr(function, "input_signature", None) is None:
            generic.append(name)
        else:
            found[DEFAULT_SIGNATURE if name == "__call__" else name] = MethodSpec(method=name)
    if not found:
        named = f" ({', '.join(generic)} has none)" if generic else ""
        raise BadInput(
            f"{where}: the module has no method decorated with @tf.function(input_signature=[...]){named}; decorate one"
        )
    return found


def _method(model: Any, key: str, method: MethodSpec, where: str) -> Endpoint:
    import tensorflow as tf

    function = getattr(model, method.method, None)
    if not callable(function):
        raise BadInput(f"{where}: signatures.{key}: {type(model).__name__} has no method {method.method!r}")
    if method.inputs:
        specs = [tf.TensorSpec(s.shape, s.dtype, name=n) for n, s in method.inputs.items()]
        function = tf.function(function, input_signature=specs)
    if getattr(function, "input_signature", None) is None:
        raise BadInput(
            f"{where}: signatures.{key}: {method.method!r} is generic, without an input signature; decorate it with "
            "@tf.function(input_signature=[tf.TensorSpec(...)]) or give 'inputs:' beside 'method:' in the config"
        )
    try:
        concrete = function.get_concrete_function()
        structure = concrete.structured_input_signature
    except Exception as error:  # tracing runs the user's code
        raise BadInput(
            f"{where}: signatures.{key}: tracing {method.method!r} failed: {type(error).__name__}: {error}"
        ) from error
    leaves = [leaf for leaf in tf.nest.flatten(structure) if isinstance(leaf, tf.TensorSpec)]
    if len(leaves) != len(tf.nest.flatten(structure)):
        raise BadInput(f"{where}: signatures.{key}: {method.method!r} has an input that is no dense tensor")
    names = _input_names(
        [_as_written(leaf, placeholder) for leaf, placeholder in zip(leaves, concrete.inputs, strict=False)]
    )

    def call(tensors: dict[str, Any]) -> dict[str, Any]:
        args, kwargs = tf.nest.pack_sequence_as(structure, [tensors[name] for name in names])
        return named_outputs(function(*args, **kwargs), [])

    inputs = {
        n: TensorSpec(shape=_shape(leaf.shape), dtype=leaf.dtype.name) for n, leaf in zip(names, leaves, strict=True)
    }
    return Endpoint(key, inputs, call)


def _as_written(leaf: Any, placeholder: Any) -> str | None:
    """An input's name. TensorFlow's signature has it in small letters where it is a parameter's; its placeholder knows."""
    written: str = placeholder.op.get_attr("_user_specified_name").decode()
    return written if leaf.name and written.lower() == leaf.name else leaf.name


def _input_names(given: list[str | None]) -> list[str]:
    names: list[str] = []
    for index, name in enumerate(given):
        names.append(name if name and name not in names else f"input_{index}")
    return names


def _shape(shape: Any) -> tuple[int | None, ...] | None:
    return None if shape.rank is None else tuple(shape.as_list())


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


def _from_saved_model(path: Path, spec: ModelSpec) -> Live:
    """A SavedModel's signatures, run in a session.

    The TF 1 loader runs every SavedModel, those of TF 2 and those that `tf.saved_model.load` refuses (reference
    variables behind a signature) alike.
    """
    import tensorflow as tf

    try:
        definition = saved_model.read(path)
    except Damaged as error:
        raise BadInput(str(error)) from error
    known, refused = _known_signatures(definition, spec, path)
    _require_values(definition, path)
    session = tf.compat.v1.Session(graph=tf.Graph())
    try:
        with session.graph.as_default(), tf.device("/cpu:0"):
            tf.compat.v1.saved_model.load(session, list(definition.meta_info_def.tags) or [SERVE], str(path))
    except Exception as error:  # the loader raises OSError, ValueError, and every tf.errors.OpError
        raise BadInput(
            f"{path} cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())[:400]}"
        ) from error
    # Before any other op is added; shapes as the loader infers them.
    scope = saved_model.root(session.graph.as_graph_def(add_shapes=True))

    def endpoint(key: str) -> Endpoint:
        signature = definition.signature_def[key]
        names = {name: info.name for name, info in signature.inputs.items()}

        def call(tensors: dict[str, Any]) -> dict[str, Any]:
            feeds = {names[name]: np.asarray(value) for name, value in tensors.items()}
            fetched: Tensors = session.run({n: info.name for n, info in signature.outputs.items()}, feeds)
            return fetched

        return Endpoint(
            key, known[key].inputs, call, known[key], hints=lambda: examples.of_session(session, names, scope)
        )

    @cache
    def loaded() -> Any:
        with tf.device("/cpu:0"):
            return tf.saved_model.load(str(path), tags=list(definition.meta_info_def.tags) or [SERVE])

    def differentiable(key: str) -> tuple[Callable[[dict[str, Any]], dict[str, Any]], list[Any]]:
        function = loaded().signatures[key]
        return lambda tensors: function(**tensors), list(function.variables)

    return Live(
        "saved_model",
        path,
        {key: endpoint(key) for key in known},
        refused=refused,
        differentiable=differentiable,
    )


def _known_signatures(definition: Any, spec: ModelSpec, path: Path) -> tuple[dict[str, Signature], dict[str, str]]:
    """The signatures to take, by key, and the reasons of those left out.

    Raises:
        BadInput: there are none, or the config names one that is not there or cannot be taken.
    """
    known, refused = saved_model.signatures(definition), saved_model.refused(definition)
    for key in spec.signatures:
        if key in refused:
            raise BadInput(f"signatures.{key}: {path}: {refused[key]}")
        if key not in known:
            raise BadInput(f"signatures.{key}: {path} has no such signature; it has {', '.join(known) or 'none'}")
    if not known:
        reasons = "".join(f"; {key!r} is left out: {reason}" for key, reason in refused.items())
        raise BadInput(
            f"{path} has no signatures{' that can be taken' if refused else ''}; export it with "
            f"tf.saved_model.save(..., signatures=...){reasons}"
        )
    return {key: known[key] for key in spec.signatures or known}, {} if spec.signatures else refused


def _require_values(definition: Any, path: Path) -> None:
    """Refuse variables without values: the loader only logs that there are none to restore."""
    index = path / "variables" / "variables.index"
    has_variables = any(node.op in ("VarHandleOp", "Variable", "VariableV2") for node in definition.graph_def.node)
    if has_variables and not index.is_file():
        raise BadInput(f"{path} cannot be loaded: it has variables, but {index.relative_to(path)} is missing")
