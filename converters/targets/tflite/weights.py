"""The constants of a lossy TF Lite file against those of the float32 file, in steps of the file's own grids."""

from collections.abc import Iterator

import numpy as np

from converters.contract.soundness import WeightError
from converters.targets.tflite.graph import Operator
from converters.targets.tflite.matching import Pair
from converters.targets.tflite.tensors import Tensor

_FOLDED = 4 * float(np.finfo(np.float32).eps)
"""By what share a number on a grid may be off: scales are products of a few float32."""


def errors(pair: Pair) -> Iterator[WeightError]:
    """One for each pair of constants that matching operators are given."""
    seen = set()
    for ours, theirs in pair.layers:
        for one, other in zip(ours.inputs, theirs.inputs, strict=False):
            constants = _constants(pair, one, other)
            if constants is None or (place := (pair.deployed.origin(one), pair.reference.origin(other))) in seen:
                continue
            seen.add(place)
            yield WeightError(
                name=constants[1].name, steps=_steps(*constants, clipped=_shared(pair, ours, constants[0]))
            )


def _constants(pair: Pair, ours: int, theirs: int) -> tuple[Tensor, Tensor] | None:
    if ours < 0 or theirs < 0:
        return None
    one, other = pair.deployed.constant(ours), pair.reference.constant(theirs)
    return (one, other) if one is not None and other is not None else None


def _shared(pair: Pair, operator: Operator, constant: Tensor) -> bool:
    """Whether a constant's grid is that of the values it is put beside (as in CONCATENATION), which may not reach to it."""
    if constant.grid is None or len(constant.grid.scales) > 1:
        return False
    tensors = [pair.deployed.tensors[index] for index in (*operator.inputs, *operator.outputs) if index >= 0]
    grids = [tensor.grid for tensor in tensors if tensor.stored is None and tensor.grid is not None]
    return any(grid.key == constant.grid.key for grid in grids)


def _steps(ours: Tensor, theirs: Tensor, *, clipped: bool) -> float:
    assert ours.stored is not None
    assert theirs.stored is not None
    if ours.stored.shape != theirs.stored.shape:
        return float("inf")
    if theirs.stored.dtype.kind not in "f":
        return 0.0 if ours.dtype == theirs.dtype and np.array_equal(ours.stored, theirs.stored) else float("inf")
    value, wanted = ours.real, theirs.real
    if not value.size:
        return 0.0
    if ours.grid is not None:
        step, zero = ours.grid.spread(value.shape)
        folded = _FOLDED * np.abs(wanted)
        if clipped:
            wanted = np.clip(wanted, (ours.grid.low - zero) * step, (ours.grid.high - zero) * step)
    elif ours.stored.dtype.kind == "f":
        largest = float(np.finfo(ours.stored.dtype).max)
        wanted = np.where(np.isfinite(wanted), np.clip(wanted, -largest, largest), wanted)  # as the converter has them
        step, folded = np.spacing(np.abs(wanted).astype(ours.stored.dtype)).astype(np.float64), np.zeros(())
    else:
        return float("inf")
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.maximum(np.abs(value - wanted) - folded, 0.0) / np.abs(step)
        equal = (value == wanted) | (np.isnan(value) & np.isnan(wanted))
        return float(np.max(np.where(equal, 0.0, steps)))
