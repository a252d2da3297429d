"""Inputs and outputs that a file takes and returns as integers: which, and the numbers that these stand for."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from converters.contract.values import Ends, Scale, Signature, Tensors
from converters.targets.tflite import flatbuffer


def quantized(model: Any) -> dict[str, Ends]:
    """By signature key, those that have a scale and are no floats."""
    found = {}
    for key, definition in flatbuffer.definitions(model).items():
        tensors = model.subgraphs[definition.subgraphIndex].tensors
        found[key] = Ends(inputs=_scales(tensors, definition.inputs), outputs=_scales(tensors, definition.outputs))
    return found


def as_numbers(signature: Signature, ends: Ends) -> Signature:
    """The signature of what its integers stand for."""
    inputs, outputs = (
        {n: spec.model_copy(update={"dtype": "float32"}) if n in scales else spec for n, spec in specs.items()}
        for specs, scales in ((signature.inputs, ends.inputs), (signature.outputs, ends.outputs))
    )
    return Signature(inputs=inputs, outputs=outputs)


def taken(inputs: Tensors, details: Mapping[str, Any]) -> Tensors:
    """Numbers as a runner takes them, by its `get_input_details`: rounded to integers, where it has a scale for them."""
    return {name: _rounded(value, details[name]) if name in details else value for name, value in inputs.items()}


def returned(outputs: Mapping[str, Any], details: Mapping[str, Any]) -> Tensors:
    """The numbers that a runner's outputs stand for, copied, by its `get_output_details`; without a detail as they are."""
    copied = {name: np.array(value) for name, value in outputs.items()}
    return {name: _number(value, details[name]) if name in details else value for name, value in copied.items()}


def details(scales: Mapping[str, Scale]) -> dict[str, Any]:
    """What a runner's details say of these."""
    return {n: {"dtype": np.dtype(s.dtype).type, "quantization": (s.scale, s.zero_point)} for n, s in scales.items()}


def _scales(tensors: Any, entries: Any) -> dict[str, Scale]:
    found = {}
    for entry in entries or ():
        tensor = tensors[entry.tensorIndex]
        dtype, held = flatbuffer.dtype_name(tensor.type).lower(), tensor.quantization
        if dtype in _INTEGERS and held is not None and held.scale is not None and len(held.scale) == 1:
            zero = int(held.zeroPoint[0]) if held.zeroPoint is not None and len(held.zeroPoint) else 0
            found[entry.name.decode()] = Scale(dtype=dtype, scale=float(held.scale[0]), zero_point=zero)
    return found


_INTEGERS = frozenset({"int8", "uint8", "int16"})


def _rounded(value: np.ndarray[Any, Any], detail: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    scale, zero = detail["quantization"]
    if not scale or value.dtype.kind != "f" or np.dtype(detail["dtype"]).name not in _INTEGERS:
        return value
    limits = np.iinfo(detail["dtype"])
    steps = np.where(np.isnan(value), 0.0, value.astype(np.float64)) / scale
    return np.asarray(np.clip(np.rint(steps) + zero, limits.min, limits.max).astype(detail["dtype"]))


def _number(value: np.ndarray[Any, Any], detail: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    scale, zero = detail["quantization"]
    if not scale or value.dtype.name not in _INTEGERS:
        return value
    return np.asarray(((value.astype(np.float64) - zero) * scale).astype(np.float32))
