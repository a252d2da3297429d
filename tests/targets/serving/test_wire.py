"""Arrays as TensorProtos and as TF Serving's JSON: TensorFlow reads what is written, and the other way round."""

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from converters.contract.errors import Damaged
from converters.contract.values import Signature, TensorSpec
from converters.processes.child import run
from converters.targets.serving import wire

NUMBERS = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "float16",
    "complex64", "complex128",
]  # fmt: skip
IN_JSON = [name for name in NUMBERS if name not in ("float16", "uint16", "int16", "complex64", "complex128")] + [
    "int16"
]


def strings(*items: bytes) -> np.ndarray[Any, Any]:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def examples() -> list[np.ndarray[Any, Any]]:
    """Arrays of every dtype, scalars and empty ones among them."""
    rng = np.random.default_rng(0)
    made = [(rng.normal(size=(2, 3)) * 50).astype(name) for name in NUMBERS if not name.startswith("u")]
    made += [rng.integers(0, 200, size=(2, 3)).astype(name) for name in NUMBERS if name.startswith("u")]
    made += [
        np.array([[1.5, np.nan, np.inf]], ml_dtypes.bfloat16),
        np.array(2.5, np.float32),
        np.empty((0, 3), np.int64),
    ]
    return [*made, strings(b"caf\xc3\xa9", b"\xff\x00", b"").reshape(3, 1), np.full((4,), 7.0, np.float32)]


def through_tensorflow() -> list[str]:
    """Which arrays come back otherwise when TensorFlow reads, or writes, their TensorProtos."""
    import tensorflow as tf

    wrong = []
    for array in examples():
        kind = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
        read = tf.make_ndarray(wire.to_proto(array))
        written = wire.from_proto(tf.make_tensor_proto(array, kind, array.shape))
        for got in (read, written):
            same = got.tolist() == array.tolist() if array.dtype == object else got.tobytes() == array.tobytes()
            if not (same and got.dtype == array.dtype and got.shape == array.shape):
                wrong.append(f"{array.dtype}{array.shape}: {got!r}")
    return wrong


@pytest.mark.tensorflow
def test_tensor_protos_are_tensorflows() -> None:
    assert run(through_tensorflow).value == []


def short_lists() -> list[Any]:
    """What comes of TensorProtos whose lists are as C++ writes them."""
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto

    def proto(dtype: int, sizes: list[int], **values: Any) -> Any:
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])
        return TensorProto(dtype=dtype, tensor_shape=shape, **values)

    good = [
        proto(1, [2, 2], float_val=[1.0, 2.0]),
        proto(19, [2], half_val=[0x3C00, 0xC000]),
        proto(14, [2], half_val=[0x3F80, 0xC000]),
        proto(8, [2], scomplex_val=[1.0, 2.0, 3.0, 4.0]),
        proto(22, [1], uint32_val=[2**32 - 1]),
        proto(7, [], string_val=[b"x"]),
    ]
    answers = [wire.from_proto(one).tolist() for one in good]
    for bad in (proto(1, [2], float_val=[1, 2, 3]), proto(1, [2], tensor_content=b"1234"), proto(20, [])):
        try:
            wire.from_proto(bad)
        except Damaged as error:
            answers.append(str(error))
    return answers


@pytest.mark.tensorflow
def test_from_proto_reads_lists_and_refuses_what_does_not_fit() -> None:
    assert run(short_lists).value == [
        [[1.0, 2.0], [2.0, 2.0]], [1.0, -2.0], [1.0, -2.0], [1 + 2j, 3 + 4j], [2**32 - 1], b"x",
        "it holds 3 values for the shape [2]", "it holds 1 values for the shape [2]",
        "it is of data type 20 (types.proto), which has no array",
    ]  # fmt: skip


def spec(array: np.ndarray[Any, Any]) -> TensorSpec:
    return TensorSpec(shape=array.shape, dtype="string" if array.dtype == object else array.dtype.name)


@given(
    st.sampled_from(IN_JSON).flatmap(
        lambda name: arrays.arrays(name, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    )
)
def test_json_keeps_every_bit_of_numbers(array: np.ndarray[Any, Any]) -> None:
    sent = wire.parse_json(wire.to_json("serving_default", {"x": array}))
    assert sent["signature_name"] == "serving_default"
    outputs = {"x": spec(array)}
    got = wire.from_json({"outputs": sent["inputs"]["x"]}, outputs)["x"]
    assert (got.dtype, got.shape) == (array.dtype, array.shape)
    assert np.array_equal(got, array, equal_nan=array.dtype.kind == "f")


@given(st.lists(st.binary(max_size=8), max_size=4))
def test_json_keeps_bytes_of_strings(items: list[bytes]) -> None:
    array = strings(*items)
    encoded = wire.to_json("k", {"x": array})
    got = wire.from_json({"outputs": wire.parse_json(encoded)["inputs"]["x"]}, {"x": spec(array)})["x"]
    assert got.tolist() == items


def test_from_json_reads_strings_that_are_no_utf8_and_nan_as_the_server_writes_them() -> None:
    body = b'{"outputs": {"word": ["caf\xc3\xa9", "\xff\\u0000"], "number": [NaN, -Infinity]}}'
    outputs = {"word": TensorSpec(shape=(None,), dtype="string"), "number": TensorSpec(shape=(None,), dtype="float32")}
    got = wire.from_json(wire.parse_json(body), outputs)
    assert got["word"].tolist() == [b"caf\xc3\xa9", b"\xff\x00"]
    assert np.isnan(got["number"][0])
    assert got["number"][1] == -np.inf


@pytest.mark.parametrize(
    ("value", "dtype", "said"),
    [
        ([[1, 2], [3]], "int32", "its lists are of differing lengths"),
        ([[1, 2], 3], "int32", "its lists are of differing depths"),
        ([1.5], "int32", "is int32, but its answer holds something else: '1.5'"),
        ([True], "float32", "is float32, but its answer holds something else: 'True'"),
        ([1], "bool", "is bool, but its answer holds something else: '1'"),
        ([300], "uint8", "is uint8, but its answer holds something else"),
        (["x"], "float32", "is float32, but its answer holds something else: 'x'"),
        ([None], "string", "is string, but its answer holds something else: 'None'"),
        ([{"b64": "!"}], "string", "is string, but its answer holds something else"),
    ],
)
def test_from_json_raises_damaged_when_the_answer_is_not_of_the_signature(value: Any, dtype: str, said: str) -> None:
    with pytest.raises(Damaged, match=said):
        wire.from_json({"outputs": value}, {"y": TensorSpec(shape=(None,), dtype=dtype)})


@pytest.mark.parametrize("answer", [[], {"error": "no"}, {"outputs": [1]}])
def test_from_json_raises_damaged_when_there_are_no_outputs(answer: Any) -> None:
    two = {name: TensorSpec(shape=(None,), dtype="float32") for name in "yz"}
    with pytest.raises(Damaged):
        wire.from_json(answer, two)


def test_parse_json_raises_damaged_when_it_is_none() -> None:
    with pytest.raises(Damaged, match="its answer is no JSON"):
        wire.parse_json(b"<html>")


def test_not_in_json_names_what_rest_cannot_carry() -> None:
    whole = TensorSpec(shape=(None,), dtype="int64")
    half = TensorSpec(shape=(None,), dtype="float16")
    assert wire.not_in_json(Signature(inputs={"x": whole}, outputs={"y": whole})) is None
    assert wire.not_in_json(Signature(inputs={"x": whole}, outputs={"y": half})) == "output 'y' is float16"
    assert json.loads(wire.to_json("k", {"x": np.array(3)})) == {"signature_name": "k", "inputs": {"x": 3}}
