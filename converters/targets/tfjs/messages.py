"""What Node is asked and answers, in files of one form: a JSON header, and the tensors of every call.

Files begin with a little-endian uint32, the size of the header, which gives each tensor's name, dtype and shape, and of a
string tensor the elements' `lengths` in bytes; the tensors' bytes follow, little-endian, one after another.

tfjs has the dtypes float32, int32, bool, string and complex64 only (tfjs-core/src/types.ts), so inputs of other
dtypes are converted, as the tensorflow.js converter converted the model's.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from converters.contract.errors import Damaged
from converters.contract.values import Tensors
from converters.formats.dtypes import dtype_name

_WIRE = {"float32": "<f4", "int32": "<i4", "bool": "?", "complex64": "<c8"}
_TFJS = {"bool": "bool", "complex64": "complex64"}
_TFJS |= dict.fromkeys(("float16", "bfloat16", "float32", "float64"), "float32")
_TFJS |= dict.fromkeys(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"), "int32")


@dataclass(frozen=True)
class Request:
    """One model to run: its `model.json`, its kind, and the inputs of each call, by signature input or layer name.

    `timed` asks for the latency too.
    """

    model: Path
    kind: Literal["graph", "layers"]
    cases: Sequence[Tensors]
    timed: bool = True


@dataclass(frozen=True)
class Answer:
    """What the runtime returned: the outputs of each case, by signature output or output layer name.

    Dtypes and shapes are those that tfjs reported. `latency_ms` is the median of up to five calls on the last case,
    outputs brought back included, of which none begins after a quarter of a second. With `error` set there are no outputs,
    and `lacks` says that the model was loaded and could not be computed, for want of a kernel perhaps, which every
    backend but cpu shows in ways of its own: the program's cpu then decides.
    """

    runtime: str
    outputs: list[Tensors] = field(default_factory=list)
    latency_ms: float | None = None
    error: str | None = None
    lacks: bool = False


def write_request(path: Path, request: Request) -> None:
    """Write the message; raises ValueError for a value, TypeError for a dtype, that tfjs cannot hold."""
    chunks: list[bytes] = []
    offset = 0
    cases = []
    for case in request.cases:
        tensors = []
        for name, array in case.items():
            entry, data = _encode(name, np.asarray(array))
            tensors.append({**entry, "offset": offset, "bytes": len(data)})
            chunks.append(data)
            offset += len(data)
        cases.append(tensors)
    described = {"kind": request.kind, "model": request.model.name, "timed": request.timed, "cases": cases}
    header = json.dumps(described).encode()
    path.write_bytes(b"".join([len(header).to_bytes(4, "little"), header, *chunks]))


def _encode(name: str, array: np.ndarray[Any, Any]) -> tuple[dict[str, Any], bytes]:
    entry: dict[str, Any] = {"name": name, "shape": list(array.shape)}
    if dtype_name(array) == "string":
        strings = [item.encode() if isinstance(item, str) else item for item in array.ravel().tolist()]
        data = b"".join(strings)  # Refuses what is not bytes.
        return {**entry, "dtype": "string", "lengths": [len(item) for item in strings]}, data
    dtype = _TFJS.get(array.dtype.name)
    if dtype is None:
        raise TypeError(f"input {name} is {array.dtype}, and tensorflow.js has no such dtype")
    with np.errstate(over="ignore"):
        converted = array.astype(_WIRE[dtype])
    lost = converted != array if dtype == "int32" else np.isinf(converted) & ~np.isinf(array)
    if np.any(lost):
        raise ValueError(f"input {name} holds {array[lost].flat[0]}, which {dtype} of tensorflow.js cannot hold")
    return {**entry, "dtype": dtype}, converted.tobytes()


def read_answer(path: Path, runtime: str) -> Answer:
    """Read the message that `runtime` has written; raises Damaged."""
    try:
        data = path.read_bytes()
        start = 4 + int.from_bytes(data[:4], "little")
        header = json.loads(data[4:start])
        if "error" in header:
            return Answer(runtime, error=header["error"], lacks=header["computing"] and not runtime.endswith(" cpu"))
        tensors = _Tensors(data, start)
        outputs = [{entry["name"]: tensors.read(entry) for entry in case} for case in header["cases"]]
        return Answer(runtime, outputs, header["latency"])
    except (OSError, ValueError, KeyError) as error:
        raise Damaged(f"the answer of {runtime} cannot be read: {error}") from error


class _Tensors:
    """The tensors of a message, which are read in their order from byte `start` on."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._start = start

    def read(self, entry: dict[str, Any]) -> np.ndarray[Any, Any]:
        """The next one, which the header's entry describes."""
        shape = tuple(entry["shape"])
        if entry["dtype"] == "string":
            strings = np.empty(len(entry["lengths"]), dtype=object)
            strings[:] = [self._take(length) for length in entry["lengths"]]
            return strings.reshape(shape)
        wire = np.dtype(_WIRE[entry["dtype"]])
        size = wire.itemsize * int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(self._take(size), wire).reshape(shape).astype(entry["dtype"])

    def _take(self, size: int) -> bytes:
        self._start += size
        return self._data[self._start - size : self._start]
