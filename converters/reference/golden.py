"""Golden: inputs, and what the live model returned for them, recorded once before anything is exported.

The file is an .npz without pickles. A case's arrays are named `SIGNATURE/INDEX/inputs/NAME` and
`SIGNATURE/INDEX/outputs/NAME`; `variables` lists the live model's variables, one per line, as
`NAME DTYPE[SHAPE] sha256:DIGEST`; `coverage` is the JSON of what each signature's cases reach in the model, and `data` that of
where each one's inputs come from, `works` that of what each call costs, `apart` that of
which of them answer each sample as they do alone. String tensors
are stored as bytes of fixed width whose last byte, 0x01, ends the element, because NumPy drops trailing zeros.
"""

import math
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from pydantic import TypeAdapter

from converters.contract.errors import BadInput, Damaged
from converters.contract.settings import GoldenSpec
from converters.contract.values import Case, Data, Frozen, Signature, Tensors
from converters.formats.dtypes import as_bytes, as_dtype, as_strings, numpy_dtype, objects
from converters.reference.coverage import Coverage
from converters.reference.drawing import SAMPLES
from converters.reference.measure import measure, scale_of

_KEY = re.compile(r"(?P<signature>.+?)/(?P<index>\d+)/(?P<side>inputs|outputs)/(?P<name>.+)")
VARIABLES = "variables"
COVERAGE = "coverage"
PRECISION = "precision"
DATA = "data"
WORKS = "works"
APART = "apart"


class Golden(Frozen):
    """Cases by signature, one line per variable of the live model, and what of it each signature's cases reach.

    `data` says, by signature, what the inputs are, and so what calibrates on them or on others of their kind.
    `precision` is the narrowest floating-point dtype that the live model computes in: its outputs are no more exact.
    `works` are what each call costs (`cost.work`), for signatures of which that is known. `apart` says which signatures
    answer each sample of a call as they do alone.
    """

    cases: dict[str, list[Case]]
    variables: tuple[str, ...] = ()
    coverage: dict[str, Coverage] = {}
    precision: str = "float32"
    data: dict[str, Data] = {}
    works: dict[str, list[int]] = {}
    apart: dict[str, bool] = {}


_COVERAGES = TypeAdapter(dict[str, Coverage])
_DATA = TypeAdapter(dict[str, Data])
_WORKS = TypeAdapter(dict[str, list[int]])
_APART = TypeAdapter(dict[str, bool])


def save(golden: Golden, path: Path) -> None:
    """Write the .npz."""
    arrays: Tensors = {
        VARIABLES: np.array([line.encode() + b"\x01" for line in golden.variables] or [b"\x01"][:0], "S"),
        COVERAGE: np.frombuffer(_COVERAGES.dump_json(golden.coverage), np.uint8),
    }
    arrays[DATA] = np.frombuffer(_DATA.dump_json(golden.data), np.uint8)
    arrays[WORKS] = np.frombuffer(_WORKS.dump_json(golden.works), np.uint8)
    arrays[APART] = np.frombuffer(_APART.dump_json(golden.apart), np.uint8)
    arrays[PRECISION] = np.array(golden.precision.encode())
    for signature, cases in golden.cases.items():
        for index, case in enumerate(cases):
            for side in ("inputs", "outputs"):
                for name, value in getattr(case, side).items():
                    arrays[f"{signature}/{index}/{side}/{name}"] = _stored(value)
    np.savez(path, **arrays)


def load(path: Path) -> Golden:
    """Read what `save` wrote.

    Raises:
        Damaged: the file is missing, no .npz, or holds names that are not golden's.
    """
    try:
        # NumPy leaves a damaged file open if it is given its path, and returns a bare array if the file holds one.
        with path.open("rb") as file:
            _require_whole(file, path)
            stored = np.load(file, allow_pickle=False)
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise Damaged(f"{path}: golden data cannot be read: it holds a single array")
            return _golden(dict(stored), path)
    except (OSError, ValueError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise Damaged(f"{path}: golden data cannot be read: {error}") from error


def _require_whole(file: IO[bytes], path: Path) -> None:
    """Refuse arrays that declare more than the file holds; `save` compresses nothing. Raises Damaged, BadZipFile."""
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            with archive.open(info) as member:
                held = info.file_size if info.compress_type == zipfile.ZIP_STORED else -1
                if not 0 <= _declared(member) <= held <= size:
                    raise Damaged(f"{path}: {info.filename!r} declares more than it holds")
    file.seek(0)


def _declared(member: IO[bytes]) -> int:
    """The bytes that an array's header speaks of. Raises ValueError."""
    version = npy.read_magic(member)  # type: ignore[no-untyped-call]
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = header(member)  # type: ignore[no-untyped-call]
    return int(math.prod(shape)) * int(dtype.itemsize)


def _golden(arrays: Tensors, path: Path) -> Golden:
    facts: dict[str, Any] = {}
    for name in {VARIABLES, PRECISION} & arrays.keys():
        if arrays[name].dtype.kind != "S" or arrays[name].ndim != (name == VARIABLES):
            raise Damaged(f"{path}: {name!r} is no text")
    if VARIABLES in arrays:
        facts["variables"] = tuple(line[:-1].decode() for line in arrays.pop(VARIABLES).tolist())
    if COVERAGE in arrays:
        facts["coverage"] = _COVERAGES.validate_json(arrays.pop(COVERAGE).tobytes())
    if DATA in arrays:
        facts["data"] = _DATA.validate_json(arrays.pop(DATA).tobytes())
    if WORKS in arrays:
        facts["works"] = _WORKS.validate_json(arrays.pop(WORKS).tobytes())
    if APART in arrays:
        facts["apart"] = _APART.validate_json(arrays.pop(APART).tobytes())
    if PRECISION in arrays:
        facts["precision"] = arrays.pop(PRECISION).item().decode()
    sides: dict[tuple[int, str], dict[str, Tensors]] = {}
    for key, array in arrays.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise Damaged(f"{path}: {key!r} is not the name of a golden array")
        case = sides.setdefault((int(match["index"]), match["signature"]), {"inputs": {}, "outputs": {}})
        case[match["side"]][match["name"]] = _restored(array)
    cases: dict[str, list[Case]] = {}
    for index, signature in sorted(sides, key=lambda key: key[0]):
        cases.setdefault(signature, []).append(Case.model_validate(sides[index, signature]))
    return Golden(cases=cases, **facts)


def in_sizes(
    cases: Sequence[Case], signature: Signature, fixed: Signature, *, apart: bool, whole: bool = False
) -> list[Case]:
    """Those of a signature's calls that one of fixed sizes takes.

    Where each sample is answered `apart` from the others of its call, batches are cut into calls of the fixed size. The last
    of them is filled up with the first samples, unless all are to be `whole`: then what is left over is left out.
    """
    fitting = [case for case in cases if _fits(case, fixed, 1 if signature.dynamic_batch else 0)]
    if not signature.dynamic_batch or fixed.dynamic_batch:
        return fitting
    size = next(spec.shape[0] or 1 for spec in fixed.inputs.values() if spec.shape)
    if not apart:
        return [case for case in fitting if case.batch == size]
    return [part for case in fitting for part in _cut(case, size, whole)]


def _fits(case: Case, fixed: Signature, first: int) -> bool:
    shapes = [(case.inputs[name].shape, spec.shape) for name, spec in fixed.inputs.items()]
    return all(
        want is not None
        and len(have) == len(want)
        and all(w in (None, h) for h, w in zip(have[first:], want[first:], strict=True))
        for have, want in shapes
    )


def _cut(case: Case, size: int, whole: bool) -> Iterator[Case]:
    for start in range(0, case.batch, size):
        if whole and start + size > case.batch:
            return
        rows = np.arange(start, start + size) % case.batch
        inputs, outputs = ({name: value[rows] for name, value in side.items()} for side in (case.inputs, case.outputs))
        yield Case(inputs=inputs, outputs=outputs)


def answers_apart(case: Case, signature: Signature, answer: Callable[[Tensors], Tensors]) -> bool:
    """Whether the live model answers the first sample of a call as it does alone, by calling it; then it does each."""
    if not signature.dynamic_batch or case.batch < 2:
        return False
    if not all(spec.dynamic_batch for spec in signature.outputs.values()):
        return False
    try:
        alone = answer({name: value[:1] for name, value in case.inputs.items()})
    except BadInput:
        return False
    pairs = [(case.outputs[name][:1], value) for name, value in alone.items()]
    return all(one.shape == other.shape and measure(one, other, scale_of([one])) <= _ALIKE for one, other in pairs)


def joined(cases: Sequence[Case]) -> Case:
    """One call of all samples, of those of a dynamic batch."""
    first = cases[0]
    return Case(
        inputs={name: np.concatenate([case.inputs[name] for case in cases]) for name in first.inputs},
        outputs={name: np.concatenate([case.outputs[name] for case in cases]) for name in first.outputs},
    )


_ALIKE = 1e-2
"""Share of an output's scale: a sum in another order differs by less, even in float16; a mean over the batch by more."""


def save_inputs(inputs: Mapping[str, Sequence[Tensors]], path: Path) -> None:
    """Write the inputs of calls alone (representative data), by signature, in golden's format."""
    save(Golden(cases={key: [Case(inputs=call, outputs={}) for call in calls] for key, calls in inputs.items()}), path)


def from_data(
    data: Mapping[str, Any], signature_key: str, signature: Signature, spec: GoldenSpec, where: str
) -> list[Tensors]:
    """Inputs the user gave for one signature: `{input: array}`, samples along the first dimension.

    With a dynamic batch the samples are one call, and the first sample alone is another; otherwise each element along
    the first dimension is a call of its own, and the signature's shape excludes that dimension.

    Raises:
        BadInput: an input is missing, or has another rank or dtype kind than the signature's.
    """
    arrays: Tensors = {}
    for name, tensor in signature.inputs.items():
        if name not in data:
            raise BadInput(
                f"{where} gives no array for input {name!r} of signature {signature_key!r}; it gives {sorted(data)}"
            )
        try:
            array = as_dtype(np.asarray(data[name]), tensor.dtype)
        except (ValueError, TypeError) as error:
            raise BadInput(f"{where}: input {name!r} cannot be {tensor.dtype}: {error}") from error
        expected = tensor.shape if signature.dynamic_batch or tensor.shape is None else (None, *tensor.shape)
        if expected is not None and (
            array.ndim != len(expected) or any(e not in (None, a) for e, a in zip(expected, array.shape, strict=True))
        ):
            raise BadInput(
                f"{where}: input {name!r} has shape {list(array.shape)}, which does not fit {list(expected)}"
            )
        arrays[name] = array[: spec.samples or SAMPLES]
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise BadInput(
            f"{where}: the inputs of signature {signature_key!r} must have the same number of samples, at least one"
        )
    if signature.dynamic_batch:
        return [arrays, {name: array[:1] for name, array in arrays.items()}]
    # A slice, since an element of an array with one dimension would be no array.
    return [{name: a[i : i + 1].reshape(a.shape[1:]) for name, a in arrays.items()} for i in range(lengths.pop())]


def expected_variables(golden: Golden) -> list[Case]:
    """The live model's variables as one case without inputs, so that a weights file is compared like an output."""
    return [Case(inputs={}, outputs={VARIABLES: as_strings(golden.variables)})]


def _stored(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if value.dtype != object:
        return value
    flat = [as_bytes(item) + b"\x01" for item in value.ravel()]
    return np.array(flat or [b"\x01"][:0], dtype="S").reshape(value.shape)


def _restored(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if value.dtype == "V2":  # what the .npy format makes of bfloat16
        return value.view(numpy_dtype("bfloat16"))
    if value.dtype.kind != "S":
        return value
    return objects([item[:-1] for item in value.ravel().tolist()]).reshape(value.shape)
