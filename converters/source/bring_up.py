"""The model that a config names, built and with its weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.config.spec import MethodSpec, ModelSpec
from converters.contract import names
from converters.contract.errors import BadInput, Damaged, raised
from converters.contract.values import DEFAULT_SIGNATURE
from converters.formats import code, internals_tf, keras_config, keras_file, keras_lambda, recognise, specs
from converters.formats.keras_model import (
    call_keras,
    declared_inputs,
    dummy,
    is_built,
    kind_of,
    load_keras,
    named_outputs,
    output_names,
)
from converters.processes import userland
from converters.source.given import from_saved_model
from converters.source.live import Endpoint, Live

KERAS_CALL = "call"


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
    kind = recognise.kind(path)
    if not spec.trust_code:
        refuse_code(spec, code_in(spec))
    if kind != "saved_model":
        _require_names(path)
        live = _from_object(load_keras(path, spec.custom_file, trusted=spec.trust_code, repaired=True), spec, path.name)
        live.builder = spec.custom_file
        return live
    return from_saved_model(path, spec)


def code_in(spec: ModelSpec) -> list[str]:
    """What of a given model would do something beside calculating, as parts of a sentence. It is read, and nothing loaded.

    Raises BadInput where it cannot be read.
    """
    path = (spec.base / spec.model).resolve()
    try:
        if recognise.kind(path) == "saved_model":
            return code.of_saved_model(path)
        return code.of_keras(path, userland.objects(spec.custom_file) if spec.custom_file is not None else {})
    except Damaged as error:
        raise BadInput(str(error)) from error


def refuse_code(spec: ModelSpec, found: Sequence[str]) -> None:
    """Refuse what came with a model that was made elsewhere, if anything was found. Raises BadInput."""
    path = (spec.base / spec.model).resolve()
    code.require_none(str(path), found, _BY_FUNCTIONS if any(map(keras_lambda.is_meant, found)) else "")


def _require_names(path: Path) -> None:
    """Refuse a Keras file with a layer whose name is none that can be shown, or be part of a path. Raises BadInput."""
    try:
        config = keras_file.read(path).config
    except Damaged as error:
        raise BadInput(str(error)) from error
    for item in keras_config.objects(config):
        inner = item.get("config")
        name = inner.get("name") if isinstance(inner, Mapping) else None
        if isinstance(name, str) and (fault := names.fault(name)) is not None:
            raise BadInput(f"{path}: the name of layer {name!r} {fault}; rename it")


_BY_FUNCTIONS = (
    "; or write what each of its Lambda layers computes as a function of the layer's name in a FILE.py, and give it: --custom "
    "FILE.py, or custom: in a config"
)


def _from_object(model: Any, spec: ModelSpec, where: str) -> Live:
    import tensorflow as tf

    kind = kind_of(model)
    if kind is not None:
        listed = _initialize(model, spec, where)
        methods = spec.signatures or {DEFAULT_SIGNATURE: MethodSpec(method=KERAS_CALL)}
        endpoints = {
            key: _keras_call(model, key, method, spec, where, listed=listed)
            if method.method == KERAS_CALL
            else _method(model, key, method, where)
            for key, method in methods.items()
        }
        keras_signature = next((key for key, method in methods.items() if method.method == KERAS_CALL), None)
        weights = [each for each in model.weights if hasattr(each, "handle")]  # tf_keras's vocabularies are tables
        return Live(kind, model, endpoints, keras_signature, variables=weights)
    if isinstance(model, tf.Module):
        methods = spec.signatures or _decorated(model, where)
        endpoints = {key: _method(model, key, method, where) for key, method in methods.items()}
        return Live("module", model, endpoints, variables=list(model.variables))
    raise BadInput(f"{where} returned {type(model).__name__}; return a tf_keras or Keras model, or a tf.Module")


def _initialize(model: Any, spec: ModelSpec, where: str) -> bool:
    """Give an unbuilt Keras model its weights: `build` with the config's shapes, or a call on dummy tensors.

    Returns whether it was found to take its inputs as a list.
    """
    listed = False
    if is_built(model):
        return listed
    if not spec.inputs:
        raise BadInput(
            f"{where}: the model is not built, so it has no weights; give its first layer an input shape, or name its "
            "inputs (shape and dtype) under 'inputs:' in the config, or by --input of fanout init"
        )
    shapes = {name: tensor.shape for name, tensor in spec.inputs.items()}
    try:
        if spec.initialize == "shape":
            model.build(next(iter(shapes.values())) if len(shapes) == 1 else shapes)
        else:
            listed = _first_call(model, {name: dummy(tensor) for name, tensor in spec.inputs.items()})
    except Exception as error:  # the model's own code runs here
        raise BadInput(
            f"{where}: initialising its weights by {spec.initialize} failed: {raised(error, 400)}"
        ) from error
    if spec.initialize == "shape" and not is_built(model):
        raise BadInput(
            f"{where}: the model is still unbuilt after build({shapes}); set 'initialize: call' in the config"
        )
    return listed


def _first_call(model: Any, tensors: dict[str, Any]) -> bool:
    """Call the model as it seems to want it, or else with a list in the order of the config; whether it takes the list.

    A Keras 3 model remembers the first call, whether it failed or not, and so cannot be asked.
    """
    try:
        call_keras(model, tensors)
        return False
    except Exception as error:  # the model's own code, which alone knows what it takes
        if len(tensors) == 1:
            raise
        try:
            call_keras(model, tensors, listed=True)
        except Exception:
            raise error from None
        return True


def _keras_call(model: Any, key: str, method: MethodSpec, spec: ModelSpec, where: str, *, listed: bool) -> Endpoint:
    declared = declared_inputs(model)
    inputs = method.inputs or spec.inputs or declared
    if declared and set(inputs) != set(declared):
        raise BadInput(
            f"{where}: 'inputs:' names {sorted(inputs)}, but the model's input layers are {sorted(declared)}"
        )
    if not inputs:
        raise BadInput(
            f"{where}: the inputs of the model's call are not known; name them under 'inputs:' in the config, or by "
            "--input of fanout init"
        )
    names = output_names(model)

    def call(tensors: dict[str, Any]) -> dict[str, Any]:
        ordered = {name: tensors[name] for name in inputs}  # a list has no other names
        return named_outputs(call_keras(model, ordered, listed=listed), names)

    return Endpoint(key, inputs, call)


def _decorated(module: Any, where: str) -> dict[str, MethodSpec]:
    """Without a `signatures:` mapping: every public tf.function that has an input signature, by its name."""
    methods, generic = {}, []
    for name in dir(type(module)):
        function = getattr(module, name, None) if not name.startswith("_") or name == "__call__" else None
        if not hasattr(function, "get_concrete_function"):
            continue
        if getattr(function, "input_signature", None) is None:
            generic.append(name)
        else:
            methods[DEFAULT_SIGNATURE if name == "__call__" else name] = MethodSpec(method=name)
    if not methods:
        named = f" ({', '.join(generic)} has none)" if generic else ""
        raise BadInput(
            f"{where}: the module has no method decorated with @tf.function(input_signature=[...]){named}; decorate one"
        )
    return methods


def _method(model: Any, key: str, method: MethodSpec, where: str) -> Endpoint:
    import tensorflow as tf

    function = getattr(model, method.method, None)
    if not callable(function):
        raise BadInput(f"{where}: signatures.{key}: {type(model).__name__} has no method {method.method!r}")
    if method.inputs:
        given = [tf.TensorSpec(s.shape, s.dtype, name=n) for n, s in method.inputs.items()]
        function = tf.function(function, input_signature=given)
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

    owner = model if kind_of(model) is None else None  # Keras gives variables names of their own
    return Endpoint(key, dict(zip(names, map(specs.of_tensor, leaves), strict=True)), call, owner)


def _as_written(leaf: Any, placeholder: Any) -> str | None:
    """An input's name. TensorFlow's signature has it in small letters where it is a parameter's; its placeholder knows."""
    written = internals_tf.written_name(placeholder)
    return written if written is not None and written.lower() == leaf.name else leaf.name


def _input_names(given: list[str | None]) -> list[str]:
    names: list[str] = []
    for index, name in enumerate(given):
        names.append(name if name and name not in names else f"input_{index}")
    return names
