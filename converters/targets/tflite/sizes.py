"""Sizes that a file fixes, where the model leaves them open: GPU delegates, NPUs and LiteRT.js take nothing else."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import GetJsonSchemaHandler, PositiveInt, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from converters.contract.errors import Unsupported, said
from converters.contract.values import Signature, TensorSpec, Told
from converters.formats import frozen
from converters.formats import saved_model as model

BATCH = "batch"


class Sizes(Told):
    """What every dynamic batch is, and the whole shapes of inputs by their names."""

    batch: PositiveInt | None = None
    """Of every input whose first dimension is dynamic."""
    inputs: dict[str, tuple[PositiveInt, ...]] = {}
    """Whole shapes, by name."""

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        """In a config all are beside each other."""
        if not isinstance(value, Mapping) or "inputs" in value:
            return value
        if not value:
            raise ValueError("says no size; give batch: 1, or an input's name and its shape")
        own = isinstance(value.get(BATCH), list)  # an input of that name
        inputs = {name: shape for name, shape in value.items() if name != BATCH or own}
        return {BATCH: None if own else value.get(BATCH), "inputs": inputs}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        size = {"type": "integer", "exclusiveMinimum": 0}
        shape = {"type": "array", "items": size}
        batch = {"anyOf": [size, shape, {"type": "null"}], "description": "what every dynamic batch is"}
        either = {"batch": batch, "inputs": {"anyOf": [shape, {"type": "object", "additionalProperties": shape}]}}
        return {
            "type": "object",
            "minProperties": 1,
            "properties": either,
            "additionalProperties": {**shape, "description": "the whole shape of the input of that name"},
        }

    @property
    def label(self) -> str:
        """What the file's name ends with: batch1, or the shapes, as 1x128."""
        shapes = ["x".join(map(str, shape)) for shape in self.inputs.values()]
        return "-".join([*([f"{BATCH}{self.batch}"] if self.batch else []), *shapes])


def fixed(signature: Signature, given: Sizes) -> Signature:
    """The signature with these sizes in place of dynamic ones; what they do not speak of stays."""
    inputs = {name: _with(spec, given, given.inputs.get(name)) for name, spec in signature.inputs.items()}
    batch = next((each.shape[0] for each in inputs.values() if each.shape), None) if signature.dynamic_batch else None
    outputs = {
        name: spec.model_copy(update={"shape": (batch, *spec.shape[1:])}) if spec.dynamic_batch and spec.shape else spec
        for name, spec in signature.outputs.items()
    }
    return Signature(inputs=inputs, outputs=outputs)


def fault(signature: Signature, given: Sizes) -> str | None:
    """Why the sizes cannot be a signature's, or leave one open; None where nothing is open then."""
    for name, shape in given.inputs.items():
        if name not in signature.inputs:
            return f"shapes: there is no input {name!r}; the inputs are {', '.join(signature.inputs)}"
        open_shape = signature.inputs[name].shape
        if open_shape is not None and (
            len(open_shape) != len(shape) or any(a not in (None, b) for a, b in zip(open_shape, shape, strict=True))
        ):
            return f"shapes: {name!r} cannot be {list(shape)}, for the model's is {_shown(open_shape)}"
    for name, spec in fixed(signature, given).inputs.items():
        if spec.shape is None or None in spec.shape:
            return f"shapes: {name!r} is {_shown(spec.shape)}, and they leave a size of it open; give its whole shape"
    return None


def write(saved_model: Path, signatures: Mapping[str, Signature], folder: Path) -> None:
    """A SavedModel of these signatures alone, in their fixed sizes. Raises Unsupported where TensorFlow cannot make it."""
    import tensorflow as tf

    try:
        with tempfile.TemporaryDirectory(prefix="fanout-frozen-") as scratch:
            if frozen.reads_references(model.read(saved_model), signatures):  # which a function of another graph cannot
                saved_model = frozen.write(saved_model, list(signatures), Path(scratch) / "frozen")
            loaded = tf.saved_model.load(str(saved_model))
        module = tf.Module()
        module.model = loaded  # what its functions read lives as long as it does
        functions = {key: _function(loaded.signatures[key], each) for key, each in signatures.items()}
        tf.saved_model.save(module, str(folder), signatures=functions)
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise Unsupported(f"it cannot be made in fixed sizes: {said(error)}") from error


def _function(of_any_size: Any, signature: Signature) -> Any:
    import tensorflow as tf

    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in signature.inputs.items()}
    return tf.function(lambda **given: of_any_size(**given)).get_concrete_function(**specs)


def _with(spec: TensorSpec, given: Sizes, shape: tuple[int, ...] | None) -> TensorSpec:
    sized: tuple[int | None, ...] | None = shape
    if shape is None and given.batch is not None and spec.dynamic_batch and spec.shape:
        sized = (given.batch, *spec.shape[1:])
    return spec if sized is None else spec.model_copy(update={"shape": sized})


def _shown(shape: tuple[int | None, ...] | None) -> str:
    return (
        "of any rank" if shape is None else "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
    )
