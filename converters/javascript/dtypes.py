"""The dtypes of tensorflow.js: float32, int32, bool, string and complex64 alone (tfjs-core/src/types.ts)."""

NARROW = frozenset({"uint8", "int8", "uint16", "int16", "uint32", "uint64"})
_HELD = {
    **dict.fromkeys(NARROW | {"int64"}, "int32"),
    **dict.fromkeys(("float64", "float16", "bfloat16"), "float32"),
}
"""Numeric dtypes of tensors -> those they are in tensorflow.js."""


def holds(dtype: str) -> str:
    """tensorflow.js has float32, int32, bool, string and complex64; it holds other numbers as the first two."""
    return _HELD.get(dtype, dtype)
