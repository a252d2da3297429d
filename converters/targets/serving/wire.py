"""Arrays as TF Serving's two interfaces carry them: TensorProto for gRPC, JSON in column format for REST.

Sources: tensorflow/core/framework/tensor.proto and tensor.cc (a short list of values repeats its last one);
tensorflow_serving/util/json_tensor.cc; https://www.tensorflow.org/tfx/serving/api_rest.

JSON holds less than a tensor: it knows no dtype and no shape of what is empty, so both come from the signature. Bytes
travel in as {"b64": ...} and come out so only from outputs named `*_bytes`; elsewhere as they are, UTF-8 or not.
NaN, Infinity and -Infinity are written as such, which is no JSON but what the ModelServer reads and writes. float32 and
float64 come back exactly, since the ModelServer writes as many digits as that takes.
"""

import base64
import binascii
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from converters.contract.errors import Damaged
from converters.contract.values import Signature, Tensors, TensorSpec
from converters.formats.dtypes import CODES, DTYPES, NAMES, dtype_name
from converters.formats.protos import load

_FIELDS = {
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int_val"),
    **dict.fromkeys(("float16", "bfloat16"), "half_val"),
    **{name: f"{name}_val" for name in ("int64", "bool", "uint32", "uint64", "string")},
    "float32": "float_val",
    "float64": "double_val",
    "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
}
"""Dtype -> the field of a TensorProto that lists its values. float16 and bfloat16 are listed as their bits."""
_JSON = frozenset(
    ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "bool", "string")
)
"""The dtypes that json_tensor.cc reads (AddValueToTensor) and writes (AddSingleValueAndAdvance)."""


def to_proto(array: np.ndarray[Any, Any]) -> Any:
    """The array as a TensorProto."""
    dtype = dtype_name(array)
    proto = load("tensorflow.core.framework.tensor_pb2").TensorProto(dtype=CODES[dtype])
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype == "string":
        proto.string_val.extend(item.encode() if isinstance(item, str) else item for item in array.ravel().tolist())
    else:
        proto.tensor_content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return proto


def from_proto(proto: Any) -> np.ndarray[Any, Any]:
    """The TensorProto as an array.

    Raises:
        Damaged: its dtype has no array, or it holds more or fewer bytes or values than its shape says.
    """
    if proto.dtype not in NAMES:
        raise Damaged(f"it is of data type {proto.dtype} (types.proto), which has no array")
    dtype = NAMES[proto.dtype]
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    count = math.prod(shape)
    if proto.tensor_content:
        values = np.frombuffer(proto.tensor_content, DTYPES[dtype].newbyteorder("<")).astype(DTYPES[dtype])
    else:
        listed = list(getattr(proto, _FIELDS[dtype]))
        if dtype in ("float16", "bfloat16"):
            values = np.array(listed, np.uint16).view(DTYPES[dtype])
        elif dtype.startswith("complex"):
            values = np.array(listed, f"float{DTYPES[dtype].itemsize * 4}").view(DTYPES[dtype])
        else:
            values = np.empty(len(listed), DTYPES[dtype])
            values[:] = listed
        if 0 < len(values) < count:
            values = np.concatenate([values, np.repeat(values[-1:], count - len(values))])
    if len(values) != count:
        raise Damaged(f"it holds {len(values)} values for the shape {list(shape)}")
    return values.reshape(shape)


def not_in_json(signature: Signature) -> str | None:
    """Which input or output of a signature REST cannot carry, as a phrase; None where it carries them all."""
    for side, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for name, spec in sorted(specs.items()):
            if spec.dtype not in _JSON:
                return f"{side} {name!r} is {spec.dtype}"
    return None


def to_json(key: str, inputs: Tensors) -> bytes:
    """A predict request's body, in column format."""
    columns = {name: nested(np.asarray(value)) for name, value in inputs.items()}
    return json.dumps({"signature_name": key, "inputs": columns}).encode()


def nested(array: np.ndarray[Any, Any]) -> Any:
    """The array in lists of lists, a scalar bare."""
    if dtype_name(array) != "string":
        # A float32 becomes the double of the same value, so that every digit of it is sent.
        return array.tolist()
    if array.ndim:
        return [nested(np.asarray(part, object)) for part in array]
    item = array.item()
    return {"b64": base64.b64encode(item.encode() if isinstance(item, str) else item).decode()}


def parse_json(body: bytes) -> Any:
    """The ModelServer's JSON; bytes that are no UTF-8 are kept. Raises Damaged."""
    try:
        return json.loads(body.decode("utf-8", "surrogateescape"), strict=False)
    except ValueError as error:
        raise Damaged(f"its answer is no JSON: {error}") from error


def from_json(answer: Any, outputs: Mapping[str, TensorSpec]) -> Tensors:
    """A predict answer in column format. Where there is one output, it stands alone, without its name. Raises Damaged."""
    if not isinstance(answer, Mapping) or "outputs" not in answer:
        raise Damaged(f"its answer holds no 'outputs': {str(answer)[:200]}")
    columns = answer["outputs"]
    if len(outputs) == 1:
        columns = {next(iter(outputs)): columns}
    if not isinstance(columns, Mapping):
        raise Damaged(f"its answer names no outputs: {str(columns)[:200]}")
    return {
        name: json_array(value, outputs[name], f"output {name!r}") if name in outputs else np.empty(0, object)
        for name, value in columns.items()
    }


def json_array(value: Any, spec: TensorSpec, what: str) -> np.ndarray[Any, Any]:
    """Lists of lists as an array of the spec's dtype, and of its shape where they are empty. Raises Damaged."""
    shape = _shape(value)
    leaves = list(_leaves(value, len(shape), what))
    if len(leaves) != math.prod(shape):
        raise Damaged(f"{what}: its lists are of differing lengths")
    array: np.ndarray[Any, Any] = np.empty(len(leaves), DTYPES[spec.dtype])
    try:
        array[:] = [_element(leaf, array.dtype.kind) for leaf in leaves]
    except (TypeError, ValueError, OverflowError, binascii.Error) as error:
        raise Damaged(f"{what} is {spec.dtype}, but its answer holds something else: {error}") from error
    if not leaves and spec.shape is not None:
        shape = (*shape, *(size or 0 for size in spec.shape[len(shape) :]))
    return array.reshape(shape)


def _shape(value: Any) -> tuple[int, ...]:
    return (len(value), *(_shape(value[0]) if value else ())) if isinstance(value, list) else ()


def _leaves(value: Any, depth: int, what: str) -> Iterator[Any]:
    if isinstance(value, list) != (depth > 0):
        raise Damaged(f"{what}: its lists are of differing depths")
    if depth == 0:
        yield value
        return
    for part in value:
        yield from _leaves(part, depth - 1, what)


_KINDS: dict[str, type | tuple[type, ...]] = {"b": bool, "i": int, "u": int, "f": (int, float), "O": str}
"""NumPy's kind of dtype -> what its elements are in JSON."""


def _element(leaf: Any, kind: str) -> Any:
    """One element. NumPy would make a number of almost anything, so what JSON says it is must fit the dtype."""
    if kind == "O" and isinstance(leaf, Mapping) and leaf.keys() == {"b64"}:
        return base64.b64decode(leaf["b64"], validate=True)
    if not isinstance(leaf, _KINDS[kind]) or (kind != "b" and isinstance(leaf, bool)):
        raise TypeError(f"{str(leaf)[:60]!r}")
    return leaf.encode("utf-8", "surrogateescape") if isinstance(leaf, str) else leaf


def to_json_examples(key: str, examples: Sequence[Any]) -> bytes:
    """A classify or regress request's body: each tf.Example as an object of its features' lists."""
    described = []
    for example in examples:
        features: dict[str, list[Any]] = {}
        for name, feature in example.features.feature.items():
            kind = feature.WhichOneof("kind")
            values = list(getattr(feature, kind).value) if kind else []
            features[name] = [nested(np.asarray(v, object)) for v in values] if kind == "bytes_list" else values
        described.append(features)
    return json.dumps({"signature_name": key, "examples": described}).encode()
