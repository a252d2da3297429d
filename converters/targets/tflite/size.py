"""Whether a TF Lite file can be as large as a model needs."""

from collections.abc import Iterable
from typing import Any

from converters.formats import frozen

LIMIT_BYTES = 2**31 - 1
"""Largest flatbuffer: its offsets are signed 32-bit integers (flatbuffers, FLATBUFFERS_MAX_BUFFER_SIZE)."""
_FLOAT32_BYTES = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 4, "int8-io": 4, "int16x8": 4}
"""What a float32 weight takes in the largest file on the way: int8 is made of a float32 file, for its calibration."""


def too_large(graph: Any, keys: Iterable[str], variant: str, limit: int = LIMIT_BYTES) -> str | None:
    """Why a file with these signatures of a MetaGraphDef would exceed `limit` bytes; None where it would not."""
    needed = frozen.variable_bytes(graph, keys, _FLOAT32_BYTES[variant])
    if needed <= limit:
        return None
    smaller = [name for name, size in _FLOAT32_BYTES.items() if frozen.variable_bytes(graph, keys, size) <= limit]
    remedy = f"use {' or '.join(smaller)}" if smaller else "split the model"
    calibrated = _FLOAT32_BYTES[variant] == 4 and variant != "float32"
    via = f", which {variant} is calibrated in," if calibrated else ""
    return (
        f"its weights take {needed / 2**30:.2f} GiB in {'float32' if calibrated else variant}{via} and a TF Lite "
        f"file holds {limit / 2**30:.2f} GiB at most; {remedy}"
    )
