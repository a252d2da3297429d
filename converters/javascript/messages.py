"""What Node is asked and answers, in files of one form: a JSON header, and the tensors of every call.

Files begin with a little-endian uint32, the size of the header, which gives each tensor's name, dtype and shape, and of a
string tensor the elements' `lengths` in bytes; the tensors' bytes follow, little-endian, one after another.

tfjs has the dtypes float32, int32, bool, string and complex64 only (tfjs-core/src/types.ts), so its inputs of other
dtypes are converted, as the tensorflow.js converter converted the model's. LiteRT.js is given those of the file.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from converters.contract.errors import Damaged
from converters.contract.values import Prediction, Tensors
from converters.formats.dtypes import dtype_name, lost, objects
from converters.javascript.dtypes import holds

_TFJS = frozenset({"float32", "int32", "bool", "complex64"})


@dataclass(frozen=True)
class Request:
    """One model to run: its `model.json`, its kind, and the inputs of each call, by signature input or layer name; of a TF Lite
    file the `signature` too.

    `timed` asks for the latency too. `every` asks, of a layers model, for what each call of each layer returns, by
    LAYER/CALL/TENSOR, and for "unread", the arguments of layers that tensorflow.js does not look at, as LAYER/ARGUMENT; it
    gives the shapes that are expected, by the same names. `locate` asks, where a graph model's call fails, at which node.
    """

    model: Path
    kind: Literal["graph", "layers", "tflite"]
    cases: Sequence[Tensors]
    timed: bool = True
    every: Mapping[str, Sequence[int | None]] | None = None
    locate: bool = False
    signature: str = ""


def write_request(path: Path, request: Request) -> None:
    """Write the message; raises ValueError for a value, TypeError for a dtype, that what runs it cannot hold."""
    chunks: list[bytes] = []
    offset = 0
    cases = []
    for case in request.cases:
        tensors = []
        for name, array in case.items():
            entry, data = _encode(name, np.asarray(array), request.kind)
            tensors.append({**entry, "offset": offset, "bytes": len(data)})
            chunks.append(data)
            offset += len(data)
        cases.append(tensors)
    asked = {"kind": request.kind, "timed": request.timed, "every": request.every, "locate": request.locate}
    described = {**asked, "signature": request.signature, "model": request.model.name, "cases": cases}
    header = json.dumps(described).encode()
    path.write_bytes(b"".join([len(header).to_bytes(4, "little"), header, *chunks]))


def _encode(name: str, array: np.ndarray[Any, Any], kind: str) -> tuple[dict[str, Any], bytes]:
    entry: dict[str, Any] = {"name": name, "shape": list(array.shape)}
    if dtype_name(array) == "string":
        strings = [item.encode() if isinstance(item, str) else item for item in array.ravel().tolist()]
        data = b"".join(strings)  # Refuses what is not bytes.
        return {**entry, "dtype": "string", "lengths": [len(item) for item in strings]}, data
    if kind == "tflite":
        return {**entry, "dtype": array.dtype.name}, _little(array).tobytes()
    dtype = holds(array.dtype.name)
    if dtype not in _TFJS:
        raise TypeError(f"input {name} is {array.dtype}, and tensorflow.js has no such dtype")
    if np.any(gone := lost(array, dtype)):
        raise ValueError(f"input {name} holds {array[gone].flat[0]}, which {dtype} of tensorflow.js cannot hold")
    converted = _little(array.astype(dtype))
    return {**entry, "dtype": dtype}, converted.tobytes()


def _little(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.astype(array.dtype.newbyteorder("<"))


def read_answer(path: Path, runtime: str) -> Prediction:
    """What `runtime` has written: outputs by signature output or output layer name, in the dtypes and shapes of tfjs.

    What cannot be computed though the model was loaded may want a kernel, which every backend but cpu shows in ways of
    its own: the program's cpu then decides. Raises Damaged.
    """
    try:
        with path.open("rb") as message:
            header = json.loads(message.read(int.from_bytes(message.read(4), "little")))
            if "error" in header:
                lacks = header["computing"] and not runtime.endswith(" cpu")
                return Prediction(runtime=runtime, error=header["error"], lacks=lacks)
            outputs = [{entry["name"]: _decode(entry, message) for entry in case} for case in header["cases"]]
            answer = Prediction(runtime=runtime, outputs=outputs, times_ms=header["times"])
            how = header.get("ran")
            return answer if how is None else Prediction(runtime=runtime, ran=how, also=[answer])
    except (OSError, ValueError, KeyError) as error:
        raise Damaged(f"the answer of {runtime} cannot be read: {error}") from error


def _decode(entry: dict[str, Any], message: BinaryIO) -> np.ndarray[Any, Any]:
    """The next tensor of a message, which the header's entry describes."""
    shape = tuple(entry["shape"])
    if entry["dtype"] == "string":
        return objects([message.read(length) for length in entry["lengths"]]).reshape(shape)
    wire = np.dtype(entry["dtype"]).newbyteorder("<")
    return np.frombuffer(message.read(wire.itemsize * math.prod(shape)), wire).reshape(shape).astype(entry["dtype"])
