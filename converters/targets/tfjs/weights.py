"""The weights of a tensorflow.js model: as stored, as the numbers they stand for, and how far from another model's.

A quantized weight is dequantized as scale * q + min, or from float16 (tfjs-core/src/io/types.ts, WeightsManifestEntry).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Weight:
    """A weight as stored; `grid` is the manifest's entry `quantization`, empty where it is not quantized."""

    stored: Array
    dtype: str
    grid: Mapping[str, Any]

    @property
    def exact(self) -> Array:
        """The numbers it stands for, in double precision where they are computed."""
        if "scale" in self.grid:
            return np.asarray(self.stored.astype(np.float64) * self.grid["scale"] + self.grid["min"])
        return self.stored

    @property
    def value(self) -> Array:
        """What a runtime must hold, in the dtype of the graph."""
        if not self.grid:
            return self.stored
        numbers = np.round(self.exact) if self.dtype == "int32" else self.exact
        return np.asarray(numbers, self.dtype)


def read(model: Any, folder: Path) -> dict[str, Weight]:
    """The weights of a document `model.json` whose files are in the folder, by name.

    Raises:
        OSError, KeyError, ValueError, TypeError, NotImplementedError: a file or the manifest cannot be read.
    """
    from tensorflowjs import read_weights

    groups = model["weightsManifest"]
    stored = [{**group, "weights": [_as_stored(entry) for entry in group["weights"]]} for group in groups]
    arrays = read_weights.read_weights(stored, str(folder), flatten=True)
    entries = [entry for group in groups for entry in group["weights"]]
    return {
        entry["name"]: Weight(each["data"], entry["dtype"], entry.get("quantization", {}))
        for entry, each in zip(entries, arrays, strict=True)
    }


def _as_stored(entry: Any) -> dict[str, Any]:
    return {"name": entry["name"], "shape": entry["shape"], "dtype": entry.get("quantization", entry)["dtype"]}


def write(weights: Mapping[str, Weight], folder: Path) -> Any:
    """Write what the weights stand for, unquantized; returns the manifest."""
    from tensorflowjs import write_weights

    group = [{"name": name, "data": weight.value} for name, weight in weights.items()]
    return write_weights.write_weights([group], str(folder), write_manifest=False)


def steps(weight: Weight, model: Weight) -> float:
    """The largest distance of an element from the model's, in steps of the grid that its format has for the model's values.

    That is for float16 the spacing of numbers there, for integers what the range of the weight's values divides into; what
    is not quantized, or all alike, or not finite, must be equal. Infinite where the weight is of another shape or dtype.
    """
    if weight.dtype != model.dtype or weight.stored.shape != model.stored.shape:
        return np.inf
    expected, quantized = model.value, weight.stored.dtype
    if not weight.grid or weight.dtype != "float32":
        equal = np.array_equal(weight.value, expected, equal_nan=expected.dtype.kind in "fc")
        return 0.0 if equal else np.inf
    numbers, wanted = weight.exact.astype(np.float64), expected.astype(np.float64)
    if quantized == np.float16:
        _, exponents = np.frexp(wanted)
        step = np.ldexp(1.0, np.maximum(exponents - 11, -24))  # 11 bits, the least of which is 2**-24
    else:
        step = np.full(wanted.shape, (np.ptp(wanted) if wanted.size else 0.0) / np.iinfo(quantized).max)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        equal = (weight.value == expected) | (np.isnan(numbers) & np.isnan(wanted))
        distances = np.where(equal, 0.0, np.abs(numbers - wanted) / step)
    return float(np.max(np.nan_to_num(distances, nan=np.inf), initial=0.0))
