"""Tensors of a TF Lite file as values: their constants, and the grids of numbers that quantized ones can hold."""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from converters.contract.errors import Damaged
from converters.targets.tflite import flatbuffer

Array: TypeAlias = np.ndarray[Any, Any]
_STORED = {"COMPLEX64": "complex64", "COMPLEX128": "complex128", "BOOL": "bool", "BFLOAT16": "uint16"}
_PACKED = {"INT4": (4, 8), "UINT4": (4, 0), "INT2": (2, 2)}
"""Bits of an element, and what is taken off one that has its highest bit set, twice."""


@dataclass(frozen=True)
class Grid:
    """Numbers that a quantized tensor can hold: (q - zero) * scale for q from `low` to `high`; scales by channel of `axis`.

    With a `block`, scales are by row and by so many elements of it.
    """

    scales: Array
    zeros: Array
    axis: int
    low: int
    high: int
    block: int = 0

    def spread(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Scales and zero points, float64, in a shape that broadcasts over a tensor of this one.

        Raises Damaged where there is not one for each channel.
        """
        if self.block:
            if (math.prod(shape), shape[:-1]) != (self.scales.size * self.block, self.scales.shape[:-1]):
                raise Damaged(
                    f"a tensor of shape {list(shape)} has {self.scales.size} scales for blocks of {self.block}"
                )
            return np.repeat(self.scales, self.block, -1), np.repeat(self.zeros, self.block, -1)
        if len(self.scales) == 1:
            return self.scales[0], self.zeros[0]
        if not self.axis < len(shape) or len(self.scales) != shape[self.axis] or len(self.zeros) != len(self.scales):
            raise Damaged(f"a tensor of shape {list(shape)} has {len(self.scales)} scales for dimension {self.axis}")
        wide = [1] * len(shape)
        wide[self.axis] = -1
        return self.scales.reshape(wide), self.zeros.reshape(wide)

    def is_as(self, other: "Grid") -> bool:
        """Whether the same bytes are the same numbers on both."""
        return np.array_equal(self.scales, other.scales) and np.array_equal(self.zeros, other.zeros)

    @property
    def key(self) -> tuple[float, float]:
        """Scale and zero point of a grid that is one for the whole tensor."""
        return float(self.scales[0]), float(self.zeros[0])


@dataclass(frozen=True)
class Tensor:
    """One tensor: its dtype by the schema's name, its declared shape, its stored elements (None unless it is constant)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    stored: Array | None
    grid: Grid | None
    variable: bool

    @property
    def real(self) -> Array:
        """The constant's elements as numbers of the model: float64 where the file quantizes them or has them in float16."""
        assert self.stored is not None
        if self.grid is None:
            return self.stored.astype(np.float64) if self.stored.dtype.kind == "f" else self.stored
        scales, zeros = self.grid.spread(self.stored.shape)
        return np.asarray((self.stored.astype(np.float64) - zeros) * scales)


def read(model: Any, subgraph: Any, tensor: Any) -> Tensor:
    """A TensorT of a SubGraphT of a ModelT. Raises Damaged where a buffer does not hold what its tensor says."""
    name, dtype = tensor.name.decode(errors="replace"), flatbuffer.dtype_name(tensor.type)
    shape = indices(tensor.shape)
    data = model.buffers[tensor.buffer].data if tensor.buffer else None
    stored = None if data is None or not len(data) else elements(name, dtype, shape, np.asarray(data, np.uint8))
    blocks = _blocks(model, subgraph, tensor, shape)
    grid = blocks if blocks is not None else _grid(tensor.quantization, dtype)
    return Tensor(name, dtype, shape, stored, grid, bool(tensor.isVariable))


def elements(name: str, dtype: str, shape: tuple[int, ...], data: Array) -> Array:
    """The elements in a buffer's bytes. Raises Damaged where they are not as many as the shape says."""
    if dtype in ("STRING", "RESOURCE", "VARIANT"):
        return data
    count = int(np.prod(shape, dtype=np.int64))
    if dtype in _PACKED:
        bits, sign = _PACKED[dtype]
        parts = np.stack([(data >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)], -1).reshape(-1)
        elements = parts.astype(np.int8)
        elements[elements >= sign] -= np.int8(2 * sign) if sign else np.int8(0)
        elements = elements[:count]
    else:
        kind = np.dtype(_STORED.get(dtype, dtype.lower()))
        if len(data) % kind.itemsize:
            raise Damaged(f"the constant {name!r} has {len(data)} bytes, which are no {dtype.lower()} elements")
        elements = np.frombuffer(data.tobytes(), kind)
    if len(elements) != count:
        raise Damaged(f"the constant {name!r} of shape {list(shape)} has {len(elements)} elements")
    return np.asarray(elements.reshape(shape))


def _blocks(model: Any, subgraph: Any, tensor: Any, shape: tuple[int, ...]) -> Grid | None:
    """The grid of weights that have a scale for each block, which are a tensor of their own; zero points are none."""
    details: Any = getattr(tensor.quantization, "details", None)
    size = getattr(details, "blockSize", 0)
    if not size:
        return None
    index = int(details.scales)
    if not 0 <= index < len(subgraph.tensors) or not shape or shape[-1] % size:
        raise Damaged(f"weights of shape {list(shape)} have scales in tensor {index} for blocks of {size}")
    held = read(model, subgraph, subgraph.tensors[index])
    if held.stored is None:
        raise Damaged(f"the scales of blocks, {held.name!r}, are no constant")
    scales = held.stored.astype(np.float64).reshape(*shape[:-1], -1)
    low, high = _limits(flatbuffer.dtype_name(tensor.type))
    return Grid(scales, np.zeros_like(scales), 0, low, high, size)


def _grid(quantization: Any, dtype: str) -> Grid | None:
    scales = getattr(quantization, "scale", None)
    if scales is None or not len(scales) or dtype.startswith("FLOAT"):
        return None
    zeros = quantization.zeroPoint
    zeros = np.zeros(len(scales)) if zeros is None or not len(zeros) else np.asarray(zeros, np.float64)
    return Grid(np.asarray(scales, np.float64), zeros, int(quantization.quantizedDimension), *_limits(dtype))


def _limits(dtype: str) -> tuple[int, int]:
    bits = _PACKED[dtype][0] if dtype in _PACKED else np.dtype(dtype.lower()).itemsize * 8
    low = 0 if dtype.startswith("U") else -(2 ** (bits - 1))
    return low, low + 2**bits - 1


def indices(given: Any) -> tuple[int, ...]:
    """A vector of the flatbuffer, which may be left out where it is empty."""
    return tuple(int(index) for index in given) if given is not None else ()
