"""What a graph does with the numbers of its inputs before anything else, and so where they lie."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from converters.formats.graph import split, tensor_name
from converters.reference.constants import SAME, SHAPED, Constants, data

_LARGEST = {number: bits for bits in (4, 5, 6, 8, 10, 12, 14, 15, 16, 31) for number in (1 << bits, (1 << bits) - 1)}
"""The largest number of so many bits, which numbers of that many are divided by, or one more."""
_SIGNED = (15, 31)
"""Bits of samples of sound, beside their sign."""


@dataclass(frozen=True)
class Affine:
    """Elements of a tensor that are `scale` * those of an input + `offset`.

    They are elements `start` to `stop` of the tensor's last dimension, or all where `stop` is None. With `reshaped` they
    may be at another place than in the input.
    """

    input: str
    scale: float = 1.0
    offset: float = 0.0
    start: int = 0
    stop: int | None = None
    reshaped: bool = False


def affine(constants: Constants, inputs: Mapping[str, str], tensor: str) -> list[Affine]:
    """What a tensor is of the inputs (tensor -> name), where it is inputs alone, scaled by scalars, side by side."""
    if tensor in inputs:
        return [Affine(inputs[tensor])]
    node = constants.of(tensor)
    if node.op in (*SAME, *SHAPED):
        parts = affine(constants, inputs, tensor_name(node.input[0]))
        return [replace(part, reshaped=part.reshaped or node.op in SHAPED) for part in parts]
    if node.op == "ConcatV2":
        return _side_by_side(constants, inputs, node)
    step = constants.scaled(node)
    if step is None:
        return []
    source, scale, offset = step
    return [
        replace(part, scale=part.scale * scale, offset=part.offset * scale + offset)
        for part in affine(constants, inputs, source)
    ]


def _side_by_side(constants: Constants, inputs: Mapping[str, str], node: Any) -> list[Affine]:
    *names, axis = data(node)
    at = constants.value(axis)
    parts: list[Affine] = []
    start = 0
    for name in names:
        inner, width = affine(constants, inputs, tensor_name(name)), _columns(constants, name)
        if len(inner) != 1 or inner[0].stop is not None or width is None or at is None or int(at) not in (-1, 1):
            return []
        parts.append(replace(inner[0], start=start, stop=start + width))
        start += width
    return parts


def _columns(constants: Constants, tensor: str) -> int | None:
    """Of a matrix, as far as the graph says."""
    shapes = constants.of(tensor).attr["_output_shapes"].list.shape
    index = split(tensor)[1]
    if index >= len(shapes) or shapes[index].unknown_rank or len(shapes[index].dim) != 2:
        return None
    size = int(shapes[index].dim[1].size)
    return size if size >= 0 else None


def limits(constants: Constants, tensor: str, standardised: Collection[str]) -> tuple[float, float] | None:
    """The range of an input that is scaled by scalars before all else: what they map to [0, 1], or to what is symmetric.

    Rescaling(1 / 255) tells 0 to 255, and so does Rescaling(1 / 127.5, -1). None where that is no range of numbers of some
    bits, nor 0 to 1; a mean that is taken from a tensor of `standardised` is no such scalar.
    """
    scale, offset = 1.0, 0.0
    while tensor not in standardised:
        readers = [node for node in constants.readers.get(tensor, []) if node.op != "Shape"]
        step = constants.scaled(readers[0]) if len(readers) == 1 else None
        if step is not None:
            scale, offset = scale * step[1], offset * step[1] + step[2]
        elif len(readers) != 1 or readers[0].op not in (*SAME, *SHAPED, "Transpose"):
            break
        tensor = f"{readers[0].name}:0"
    if scale <= 0 or offset > 0:
        return None
    high = _short(1 / scale if offset == 0 else -2 * offset / scale)
    bits = _LARGEST.get(round(high)) if high == round(high) else None
    if bits is None:
        return (0.0, 1.0) if offset < 0 and high == 1 else None
    return (-high if bits in _SIGNED else 0.0), high


def _short(number: float) -> float:
    """Without what float32 adds: 255 for 254.99998."""
    return float(f"{number:.5g}")


def casts(constants: Constants, tensor: str) -> list[str]:
    """The tensors that an input becomes where all that is done with it is casting it."""
    readers = [node for node in constants.readers.get(tensor, []) if node.op != "Shape"]
    return [f"{node.name}:0" for node in readers] if all(node.op == "Cast" for node in readers) else []
