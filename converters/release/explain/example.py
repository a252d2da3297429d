"""Requests and answers as files, made of golden, in the form that TF Serving's REST interface has them.

By columns (https://www.tensorflow.org/tfx/serving/api_rest, "Specifying input tensors in column format"): that form holds every
signature. Of one output the answer holds the values alone, without its name.
"""

import base64
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

import numpy as np

from converters.contract.layout import EXAMPLES, REQUEST, RESPONSE
from converters.contract.values import Case, Signature, Tensors
from converters.formats.dtypes import as_bytes, dtype_name
from converters.reference import golden
from converters.targets.serving import wire

MOST_VALUES = 2**18
"""Of a request and its answer together: an image of 256 x 256 pixels in three colours; above, JSON is no form for a sample."""
MOST_TEXT = 2**20
"""Bytes of their strings."""
_NO_NUMBERS = frozenset({"complex64", "complex128", "bfloat16"})
_DECIMALS = (6, 9, 12)


Size: TypeAlias = dict[str, tuple[int, ...]]
"""Shapes by the names of inputs or outputs."""


class Example(NamedTuple):
    """A call of a signature that a release's examples make: golden's of that number (cut, where its `sizes` are fixed).

    `folder` holds request.json and response.json, unless `why_not` says why a sample is no JSON; `shapes` are those of inputs
    and outputs by name.
    """

    folder: str
    case: int
    shapes: tuple[Size, Size]
    why_not: str | None
    sizes: bool = False

    @property
    def request(self) -> str:
        """The path in the release."""
        return f"{self.folder}/{REQUEST}"

    @property
    def response(self) -> str:
        """The path in the release."""
        return f"{self.folder}/{RESPONSE}"


def folder_of(key: str) -> str:
    """Where a signature's examples are; a name without a dot is none of a program beside them."""
    return f"{EXAMPLES}/{quote(key, safe='').replace('.', '%2E')}"


def write(root: Path, key: str, cases: Sequence[Case]) -> Example:
    """Write the smaller one of golden's first and last call, those between may be special; of two that JSON can hold."""
    ends = list(dict.fromkeys((0, len(cases) - 1)))
    number = min(ends, key=lambda each: (_why_not(cases[each]) is not None, _values(cases[each])))
    return _written(root, key, folder_of(key), number, cases[number])


def write_sized(
    root: Path, key: str, cases: Sequence[Case], plain: Example, sides: tuple[Signature, Signature], *, apart: bool
) -> Example | None:
    """The same for a file of fixed sizes: the plain one where that fits. None where golden has no call of them.

    `sides` are the model's signature and the file's.
    """
    signature, fixed = sides
    if all(plain.shapes[0][name] == spec.shape for name, spec in fixed.inputs.items()):
        return plain
    fitting = golden.in_sizes([cases[plain.case], *cases], signature, fixed, apart=apart)
    if not fitting:
        return None
    label = "-".join("x".join(map(str, spec.shape or ())) for spec in fixed.inputs.values())
    made = _written(root, key, f"{folder_of(key)}/{label}", plain.case, fitting[0])
    return made._replace(sizes=True)


def _written(root: Path, key: str, folder: str, number: int, case: Case) -> Example:
    shapes = ({n: v.shape for n, v in case.inputs.items()}, {n: v.shape for n, v in case.outputs.items()})
    made = Example(folder, number, shapes, _why_not(case))
    if made.why_not is None:
        (root / folder).mkdir(parents=True, exist_ok=True)
        request = {"signature_name": key, "inputs": {n: wire.nested(_short(v)) for n, v in case.inputs.items()}}
        (root / made.request).write_text(json.dumps(request) + "\n")
        (root / made.response).write_text(json.dumps(answer(case.outputs)) + "\n")
    return made


def answer(outputs: Tensors) -> dict[str, Any]:
    """What TF Serving's REST interface answers with."""
    columns = {name: _answered(name, _short(value)) for name, value in outputs.items()}
    return {"outputs": columns if len(columns) != 1 else next(iter(columns.values()))}


def _answered(name: str, value: np.ndarray[Any, Any]) -> Any:
    if dtype_name(value) != "string":
        return value.tolist()
    return _texts(value.tolist(), encoded=name.endswith("_bytes"))


def _texts(value: Any, *, encoded: bool) -> Any:
    if isinstance(value, list):
        return [_texts(each, encoded=encoded) for each in value]
    return {"b64": base64.b64encode(as_bytes(value)).decode()} if encoded else as_bytes(value).decode()


def _short(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array with as few digits as it takes to be the same again in its own dtype; in float64, where it is of floats."""
    if value.dtype.kind != "f":
        return value
    wide = value.astype(np.float64)
    for decimals in _DECIMALS:
        short = np.round(wide, decimals)
        if np.array_equal(short.astype(value.dtype), value):
            return np.asarray(short)
    return wide


def _values(case: Case) -> int:
    return sum(value.size for side in (case.inputs, case.outputs) for value in side.values())


def _why_not(case: Case) -> str | None:
    """Why JSON does not hold the call, as the end of a sentence."""
    if (count := _values(case)) > MOST_VALUES:
        return f"it has {count:,} values"
    sides = [
        (name, value, side is case.outputs) for side in (case.inputs, case.outputs) for name, value in side.items()
    ]
    for name, value, returned in sides:
        if value.dtype.name in _NO_NUMBERS:
            return f"{name} is {value.dtype.name}, of which JSON has no numbers"
        if value.dtype.kind == "f" and not np.all(np.isfinite(value)):
            return f"{name} holds infinite numbers, or what is no number"
        if value.dtype == object:
            texts = [as_bytes(item) for item in value.ravel()]
            if math.fsum(map(len, texts)) > MOST_TEXT:
                return f"{name} holds {sum(map(len, texts)):,} bytes of text"
            if returned and not name.endswith("_bytes") and not all(map(_is_text, texts)):
                return f"{name} holds bytes that are no text"
    return None


def _is_text(item: bytes) -> bool:
    try:
        item.decode()
    except UnicodeDecodeError:
        return False
    return True
