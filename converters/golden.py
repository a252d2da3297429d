"""Golden: inputs, and what the live model returned for them, recorded once before anything is exported.

The file is an .npz without pickles. A case's arrays are named `SIGNATURE/INDEX/inputs/NAME` and
`SIGNATURE/INDEX/outputs/NAME`; `variables` lists the live model's variables, one per line, as
`NAME DTYPE[SHAPE] sha256:DIGEST`. String tensors are stored as bytes of fixed width whose last byte, 0x01, ends
the element, because NumPy drops trailing zeros.
"""

import dataclasses
import hashlib
import math
import re
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from converters import parity
from converters.contract import Case, Frozen, Signature, Tensors, TensorSpec, Tolerance
from converters.errors import BadInput, Damaged

_KEY = re.compile(r"(?P<signature>.+?)/(?P<index>\d+)/(?P<side>inputs|outputs)/(?P<name>.+)")
VARIABLES = "variables"
PRECISION = "precision"


class InputRange(Frozen):
    """How to draw one golden input: uniform in [low, high), in a concrete shape; or the values to draw from."""

    low: float | None = None
    high: float | None = None
    shape: tuple[int, ...] | None = Field(default=None, description="one sample's shape, without a dynamic batch")
    values: tuple[str | float, ...] | None = Field(default=None, description="draw from these")

    @model_validator(mode="after")
    def _not_empty(self) -> "InputRange":
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"'low' must be below 'high', not {self.low:g} and {self.high:g}")
        return self

    def bounds(self, width: float) -> tuple[float, float]:
        """Low and high, `width` apart where only one is given (from 0, where that is within)."""
        if self.low is None and self.high is not None:
            return min(0.0, self.high - width), self.high
        low = self.low or 0.0
        return low, low + width if self.high is None else self.high


class GoldenSpec(Frozen):
    """The `golden:` part of a config."""

    data: str | None = Field(
        default=None, description="FILE.py:FUNCTION returning {input: array}, or that by signature"
    )
    samples: int = Field(default=16, ge=2, description="samples to draw, or to take of the data at most")
    seed: int = 0
    inputs: dict[str, InputRange] = Field(default={}, description="how to draw an input, by its name")
    constant: tuple[str, ...] = Field(default=(), description="outputs that are the same for every input, on purpose")


@dataclass(frozen=True)
class Plan:
    """One way to draw what neither the config nor the graph decides.

    `numbers` is where numbers lie: standard normal (integers below 10), spread wider, in [0, 1) (integers below 2), or
    in [0, 255). `size` stands for every dynamic dimension but the batch, and `rank` is that of inputs of unknown rank.
    With `alone`, a dynamic batch holds one sample in every call. Without `unknown`, only words that a table knows.
    """

    numbers: Literal["normal", "wide", "unit", "pixels"] = "normal"
    size: int = 8
    rank: int = 2
    alone: bool = False
    unknown: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Hint:
    """What the graph does with an input, as far as it tells what the input's elements should be.

    Integers index something of `high` entries; `values` are the keys of a table, to which `unknown` is none, and with
    `sentences` several of them are joined by blanks; `make` draws one element, such as a serialized tf.Example.
    """

    high: int | None = None
    values: tuple[Any, ...] = ()
    unknown: Any = None
    sentences: bool = False
    make: Callable[[np.random.Generator, Plan], bytes] | None = None


Hints = Mapping[str, Hint]
"""By input name."""


class Golden(Frozen):
    """Cases by signature, and one line per variable of the live model.

    `precision` is the narrowest floating-point dtype that the live model computes in: its outputs are no more exact.
    """

    cases: dict[str, list[Case]]
    variables: tuple[str, ...] = ()
    precision: str = "float32"


def describe_variable(name: str, value: np.ndarray[Any, Any]) -> str:
    """One line that two variables share exactly when name, dtype, shape and every byte agree."""
    content = repr(value.tolist()).encode() if value.dtype == object else np.ascontiguousarray(value).tobytes()
    shape = ",".join(map(str, value.shape))
    return f"{name} {value.dtype.name}[{shape}] sha256:{hashlib.sha256(content).hexdigest()}"


def save(golden: Golden, path: Path) -> None:
    """Write the .npz."""
    arrays: Tensors = {
        VARIABLES: np.array([line.encode() + b"\x01" for line in golden.variables] or [b"\x01"][:0], "S")
    }
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
    sides: dict[str, dict[int, dict[str, Tensors]]] = {}
    variables: tuple[str, ...] = ()
    precision = "float32"
    try:
        # NumPy leaves a damaged file open if it is given its path, and returns a bare array if the file holds one.
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise Damaged(f"{path}: golden data cannot be read: it holds a single array")
            for key in stored.files:
                if key == VARIABLES:
                    variables = tuple(line[:-1].decode() for line in stored[key].tolist())
                    continue
                if key == PRECISION:
                    precision = stored[key].item().decode()
                    continue
                match = _KEY.fullmatch(key)
                if match is None:
                    raise Damaged(f"{path}: {key!r} is not the name of a golden array")
                case = sides.setdefault(match["signature"], {}).setdefault(int(match["index"]), {})
                case.setdefault(match["side"], {})[match["name"]] = _restored(stored[key])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise Damaged(f"{path}: golden data cannot be read: {error}") from error
    cases = {
        signature: [Case(inputs=c.get("inputs", {}), outputs=c.get("outputs", {})) for _, c in sorted(by_index.items())]
        for signature, by_index in sides.items()
    }
    return Golden(cases=cases, variables=variables, precision=precision)


def save_inputs(inputs: Mapping[str, Sequence[Tensors]], path: Path) -> None:
    """Write the inputs of calls alone (representative data), by signature, in golden's format."""
    save(Golden(cases={key: [Case(inputs=call, outputs={}) for call in calls] for key, calls in inputs.items()}), path)


def draw(signature: Signature, spec: GoldenSpec, hints: Hints | None = None, plan: Plan | None = None) -> list[Tensors]:
    """Seeded inputs for one signature, one dict per call.

    With a dynamic batch: one call of `spec.samples` samples and one of another batch size, 1. Otherwise four calls of
    the signature's own shape, since samples can then differ only between calls.
    """
    plan = plan or Plan()
    if not signature.dynamic_batch:
        sizes = [0] * 4
    elif plan.alone:
        sizes = [1] * spec.samples
    else:
        sizes = [spec.samples, 1]
    return _calls(signature, spec, hints or {}, plan, sizes)


def draw_calibration(signature: Signature, spec: GoldenSpec, hints: Hints, plan: Plan) -> list[Tensors]:
    """Inputs as golden's, of another seed and more of them, to calibrate on: one call, or one per sample.

    CALIBRATION samples, or as many as CALIBRATION_BYTES hold (but no fewer than golden).
    """
    plan = dataclasses.replace(plan, seed=plan.seed + _CALIBRATION_SEED)
    (one,) = _calls(signature, spec, hints, plan, [1 if signature.dynamic_batch else 0])
    fitting = CALIBRATION_BYTES // max(1, sum(value.nbytes for value in one.values()))
    samples = min(CALIBRATION, max(fitting, spec.samples if signature.dynamic_batch else 4))
    return _calls(signature, spec, hints, plan, [samples] if signature.dynamic_batch else [0] * samples)


CALIBRATION = 64
CALIBRATION_BYTES = 64 << 20
_CALIBRATION_SEED = 7919


def _calls(signature: Signature, spec: GoldenSpec, hints: Hints, plan: Plan, sizes: Sequence[int]) -> list[Tensors]:
    rng = np.random.default_rng([spec.seed, plan.seed] if plan.seed else spec.seed)
    return [
        {
            name: _drawn(rng, tensor, size, spec.inputs.get(name, InputRange()), hints.get(name, Hint()), plan)
            for name, tensor in signature.inputs.items()
        }
        for size in sizes
    ]


SIZES = (8, 1, 16, 32, 64, 224)
"""Sizes that dynamic dimensions are given, in the order they are tried; one at a time, so that shared ones agree."""
SEARCH_SECONDS = 30.0
"""After this long the best inputs so far are taken."""


def choose(
    signature: Signature,
    spec: GoldenSpec,
    run: Callable[[Tensors], Tensors],
    tolerance: Tolerance,
    hints: Hints | None = None,
) -> tuple[list[Case], Plan]:
    """Seeded inputs that the model can compute, with outputs that are finite and differ between samples, if any do.

    The first draw that the model computes settles dynamic dimensions. Where its outputs are not finite, or differ too
    little for `tolerance` (parity.check_variation), other ranges and another seed are tried, and the first of those
    with the best outputs is taken. What the config says of an input holds in every draw.

    Raises:
        BadInput: `run` raised it for every draw; says what to give in the config.
    """
    hints, started = hints or {}, time.monotonic()
    cases, plan = _first_that_runs(signature, spec, run, hints)
    best = _merit(cases, signature, tolerance, spec.constant)
    for other in _variations(plan, signature):
        if best[:2] == (1.0, True) or time.monotonic() - started > SEARCH_SECONDS:
            break
        try:
            found = _run_all(draw(signature, spec, hints, other), run)
        except BadInput:
            continue
        merit = _merit(found, signature, tolerance, spec.constant)
        if merit > best:
            cases, plan, best = found, other, merit
    return cases, plan


def _first_that_runs(
    signature: Signature, spec: GoldenSpec, run: Callable[[Tensors], Tensors], hints: Hints
) -> tuple[list[Case], Plan]:
    problem: BadInput | None = None
    empty: tuple[list[Case], Plan] | None = None
    tried: list[dict[str, tuple[int, ...]]] = []
    for plan in _geometries(signature, spec):
        calls = draw(signature, spec, hints, plan)
        try:
            cases = _run_all(calls, run)
        except BadInput as error:
            problem = problem or error
            tried.append({name: value.shape for name, value in calls[0].items()})
            continue
        if all(value.size for case in cases for value in case.outputs.values()):
            return cases, plan
        empty = empty or (cases, plan)
    if empty is not None:
        return empty
    raise BadInput(f"{problem}{_remedy(signature, spec, tried)}") from problem


def _run_all(calls: Sequence[Tensors], run: Callable[[Tensors], Tensors]) -> list[Case]:
    return [Case(inputs=tensors, outputs=run(tensors)) for tensors in calls]


def _geometries(signature: Signature, spec: GoldenSpec) -> Iterator[Plan]:
    """Plans in the order they are tried until the model computes one."""
    free = _free(signature, spec)
    of_any_rank = any(signature.inputs[name].shape is None for name in free)
    for alone in (False, True) if signature.dynamic_batch else (False,):
        for rank in (2, 1, 4, 3, 0) if of_any_rank else (2,):
            for size in SIZES if free and rank > 1 else SIZES[:1]:
                plan = Plan(size=size, rank=rank, alone=alone)
                if size == SIZES[0] or _elements(signature, spec, plan) <= _MOST_ELEMENTS:
                    yield plan
        # Indices may be out of range, or words not in a table without a default.
        yield Plan(numbers="unit", unknown=False, alone=alone)


_MOST_ELEMENTS = 1 << 24
"""A size is not tried with more elements in a call than this, 64 MiB of float32."""


def _elements(signature: Signature, spec: GoldenSpec, plan: Plan) -> int:
    batch = spec.samples if signature.dynamic_batch else 0
    given = {name: how.shape for name, how in spec.inputs.items()}
    shapes = (_concrete(tensor, batch, given.get(name), plan) for name, tensor in signature.inputs.items())
    return sum(math.prod(shape) for shape in shapes)


def _free(signature: Signature, spec: GoldenSpec) -> list[str]:
    """The inputs with dynamic dimensions, besides the batch, that the config does not settle."""
    return [
        name
        for name, tensor in signature.inputs.items()
        if (tensor.shape is None or None in tensor.shape[signature.dynamic_batch :])
        and spec.inputs.get(name, InputRange()).shape is None
    ]


def _remedy(signature: Signature, spec: GoldenSpec, tried: Sequence[Mapping[str, tuple[int, ...]]]) -> str:
    free = _free(signature, spec)
    if not free:
        named = ", ".join(map(repr, signature.inputs))
        return f"; say how to draw {named} under 'golden.inputs', or give 'golden.data'"
    sizes = sorted({size for shapes in tried for name in free for size in shapes[name][signature.dynamic_batch :]})
    return (
        f" (tried sizes {', '.join(map(str, sizes))}); give the shape of {', '.join(map(repr, free))} under "
        "'golden.inputs', or give 'golden.data'"
    )


def _variations(plan: Plan, signature: Signature) -> list[Plan]:
    """What is tried after `plan` when its outputs are not good enough."""
    ranges: list[Literal["normal", "wide", "unit", "pixels"]] = ["wide", "unit", "pixels"]
    if any(_is_image(tensor) for tensor in signature.inputs.values()):
        ranges = ["unit", "pixels", "wide"]
    return [
        *(dataclasses.replace(plan, numbers=numbers) for numbers in ranges),
        dataclasses.replace(plan, seed=1),
        dataclasses.replace(plan, numbers="wide", seed=2),
    ]


def _is_image(tensor: TensorSpec) -> bool:
    return tensor.shape is not None and len(tensor.shape) >= 3 and tensor.shape[-1] in (1, 3, 4)


def _merit(
    cases: Sequence[Case], signature: Signature, tolerance: Tolerance, constant: Sequence[str]
) -> tuple[float, bool, float]:
    """The share of finite elements, whether a comparison could fail, and how far it could: more is better."""
    outputs = [value for case in cases for value in case.outputs.values() if value.dtype.kind in "fcV"]
    total = sum(value.size for value in outputs)
    finite = sum(int(np.isfinite(value.astype(np.complex128)).sum()) for value in outputs)
    check = parity.check_variation(cases, signature, tolerance, constant)
    return (finite / total if total else 1.0, check.status == "passed", check.measured or 0.0)


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
            array = _as_dtype(np.asarray(data[name]), tensor.dtype)
        except (ValueError, TypeError) as error:
            raise BadInput(f"{where}: input {name!r} cannot be {tensor.dtype}: {error}") from error
        expected = tensor.shape if signature.dynamic_batch or tensor.shape is None else (None, *tensor.shape)
        if expected is not None and (
            array.ndim != len(expected) or any(e not in (None, a) for e, a in zip(expected, array.shape, strict=True))
        ):
            raise BadInput(
                f"{where}: input {name!r} has shape {list(array.shape)}, which does not fit {list(expected)}"
            )
        arrays[name] = array[: spec.samples]
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


def as_strings(lines: Iterable[str]) -> np.ndarray[Any, Any]:
    """A string tensor of shape [n]."""
    items = [line.encode() for line in lines]
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _drawn(
    rng: np.random.Generator, tensor: TensorSpec, batch: int, how: InputRange, hint: Hint, plan: Plan
) -> np.ndarray[Any, Any]:
    shape = _concrete(tensor, batch, how.shape, plan)
    if how.values is not None:
        hint = Hint(values=how.values)
    elif how.low is not None or how.high is not None:
        return _within(rng, shape, tensor.dtype, how)
    return elements(rng, shape, tensor.dtype, hint, plan)


def _within(rng: np.random.Generator, shape: tuple[int, ...], dtype_name: str, how: InputRange) -> np.ndarray[Any, Any]:
    """Numbers in the range of the config; a range means nothing to strings and bools."""
    if dtype_name in ("string", "bool"):
        return elements(rng, shape, dtype_name, Hint(), Plan())
    dtype = _numpy_dtype(dtype_name)
    if dtype.kind in "iu":
        low, high = how.bounds(10)
        return np.asarray(rng.integers(math.ceil(low), math.ceil(high), size=shape)).astype(dtype)
    return np.asarray(rng.uniform(*how.bounds(1), size=shape)).astype(dtype)


def elements(
    rng: np.random.Generator, shape: tuple[int, ...], dtype_name: str, hint: Hint, plan: Plan
) -> np.ndarray[Any, Any]:
    """An array of that shape and dtype, drawn by hint and plan."""
    if hint.values:
        chosen = rng.choice(_candidates(hint, plan), size=shape)
        if dtype_name != "string":
            return np.asarray(chosen).astype(_numpy_dtype(dtype_name))
        if hint.sentences:
            return _texts(shape, lambda: b" ".join(map(_as_bytes, rng.choice(_candidates(hint, plan), size=4))))
        words = iter(np.asarray(chosen, dtype=object).ravel().tolist())
        return _texts(shape, lambda: _as_bytes(next(words)))
    if dtype_name == "string":
        make = hint.make
        if make is not None:
            return _texts(shape, lambda: make(rng, plan))
        return _texts(shape, lambda: bytes(rng.integers(97, 123, size=rng.integers(1, 9)).astype(np.uint8)))
    dtype = _numpy_dtype(dtype_name)
    if dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, size=shape)).astype(bool)
    if hint.high is not None or dtype.kind in "iu":
        high = hint.high or _INTEGERS_BELOW[plan.numbers]
        if dtype.kind in "iu":
            high = min(high, int(np.iinfo(dtype).max) + 1)
        return np.asarray(rng.integers(0, high, size=shape)).astype(dtype)
    if dtype.kind == "c":
        return np.asarray(_numbers(rng, shape, plan) + 1j * _numbers(rng, shape, plan)).astype(dtype)
    return np.asarray(_numbers(rng, shape, plan)).astype(dtype)


_INTEGERS_BELOW = {"normal": 10, "wide": 100, "unit": 2, "pixels": 256}


def _numbers(rng: np.random.Generator, shape: tuple[int, ...], plan: Plan) -> Any:
    if plan.numbers in ("unit", "pixels"):
        return rng.uniform(0, 1 if plan.numbers == "unit" else 255, size=shape)
    return rng.normal(size=shape) * (4 if plan.numbers == "wide" else 1)


def _candidates(hint: Hint, plan: Plan) -> np.ndarray[Any, Any]:
    known = [*hint.values, *([hint.unknown] if hint.unknown is not None and plan.unknown else [])]
    array = np.empty(len(known), dtype=object)
    array[:] = known
    return array


def _texts(shape: tuple[int, ...], make: Callable[[], bytes]) -> np.ndarray[Any, Any]:
    """A string tensor of elements made one after another."""
    flat = np.empty(math.prod(shape), dtype=object)
    flat[:] = [make() for _ in range(flat.size)]
    return flat.reshape(shape)


def _concrete(tensor: TensorSpec, batch: int, sample: Sequence[int] | None, plan: Plan) -> tuple[int, ...]:
    """The signature's shape with a number for every dynamic dimension: the plan's where the config says nothing."""
    if sample is not None:
        return (batch, *sample) if batch and tensor.shape is not None else tuple(sample)
    if tensor.shape is None:
        return ((batch or 8,) + (plan.size,) * (plan.rank - 2) + (plan.size if plan.rank < 4 else 3,))[: plan.rank]
    shape = tuple(plan.size if dimension is None else dimension for dimension in tensor.shape)
    return (batch, *shape[1:]) if batch else shape


def _numpy_dtype(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def _as_dtype(array: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """The array in the dtype. Raises ValueError or TypeError where the values are none of that dtype's."""
    if name == "string":
        flat = np.empty(array.size, dtype=object)
        flat[:] = [_as_bytes(item) for item in array.ravel()]
        return flat.reshape(array.shape)
    dtype = _numpy_dtype(name)
    with np.errstate(invalid="ignore"):
        converted = array.astype(dtype)
    if dtype.kind in "biu" and not np.array_equal(converted, array):
        raise ValueError("it holds other values")
    return converted


def _as_bytes(item: Any) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()


def _stored(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if value.dtype != object:
        return value
    flat = [_as_bytes(item) + b"\x01" for item in value.ravel()]
    return np.array(flat or [b"\x01"][:0], dtype="S").reshape(value.shape)


def _restored(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if value.dtype == "V2":  # what the .npy format makes of bfloat16
        return value.view(_numpy_dtype("bfloat16"))
    if value.dtype.kind != "S":
        return value
    flat = np.empty(value.size, dtype=object)
    flat[:] = [item[:-1] for item in value.ravel().tolist()]
    return flat.reshape(value.shape)
