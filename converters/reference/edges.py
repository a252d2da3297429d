"""Further calls for golden that hold what a draw by chance does not: each is made of drawn samples by a small change.

What the graph compares, sorts or looks for (drawing.Special), the ends of a range, strings that are empty, long or of
other scripts, and other sizes of the dimensions that are dynamic. A change that the model does not compute is left out.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from converters.contract.errors import BadInput
from converters.contract.settings import GoldenSpec, InputRange
from converters.contract.values import Case, Signature, Tensors
from converters.formats.dtypes import is_inexact
from converters.reference.changes import CHANGES, Change, Given, Limits
from converters.reference.drawing import Hint, Hints, Plan, draw_calls
from converters.reference.measure import Array, scale_of

SECONDS = 10.0
"""After this long the further calls so far are taken."""
MOST_ELEMENTS = 1 << 20
"""Of the inputs of a call of another size, or twice as many as golden's first call has."""
LOUDEST = 2.0
"""How much larger than golden's the outputs of a further call may be where it has golden's batch size, since errors are
then measured by the largest of all (compare.compare)."""

_OTHER_SIZES: tuple[tuple[tuple[float, int, int], ...], ...] = (
    ((4, 5, 11), (3, 0, 8), (3, 0, 0), (2, 0, 0)),
    ((0.5, 1, 1), (0.5, 0, 0)),
)
"""Two further sizes, larger and smaller, each with what is tried in turn: so many times golden's, more, a step between
dimensions. Odd numbers first, since padding and strides come out alike for even ones."""


@dataclass(frozen=True)
class Edge:
    """A further call, and whether to calibrate on it too."""

    case: Case
    calibrates: bool


def added(
    signature: Signature,
    spec: GoldenSpec,
    hints: Hints,
    plan: Plan,
    cases: Sequence[Case],
    run: Callable[[Tensors], Tensors],
) -> list[Edge]:
    """Further calls of a signature whose golden `cases` were drawn by `plan`, as far as the model computes them.

    Outputs are finite where all of golden's are, but for NaN that the graph looks for. `run` raises BadInput for what the
    model does not compute.
    """
    started = time.monotonic()
    found: list[Edge] = []
    for attempts, limits in _attempts(signature, spec, hints, plan, cases):
        if time.monotonic() - started > SECONDS:
            break
        for calls in attempts:
            made = _computed(calls, run, cases, finite=not limits.missing)
            if made is not None:
                found += [Edge(case, limits.calibrates) for case in made]
                break
    return found


def largest_shapes(signature: Signature, usual: Case, others: Sequence[Case]) -> dict[str, tuple[int, ...]]:
    """By input, one sample's shape in that of the further calls that has the largest samples; nothing where none are larger."""
    start = 1 if signature.dynamic_batch else 0

    def elements(case: Case) -> int:
        return sum(int(np.prod(value.shape[start:], dtype=np.int64)) for value in case.inputs.values())

    largest = max(others, key=elements, default=usual)
    if elements(largest) <= elements(usual):
        return {}
    return {name: value.shape[start:] for name, value in largest.inputs.items()}


def _attempts(
    signature: Signature, spec: GoldenSpec, hints: Hints, plan: Plan, cases: Sequence[Case]
) -> Iterator[tuple[Iterator[list[Tensors]], Limits]]:
    """Of each kind: calls to try in turn, until the model computes them."""
    for change, limits in CHANGES:
        changed = _changed(signature, spec, hints, plan, cases, change)
        if changed is not None:
            yield iter([changed]), limits
    for sizes in _OTHER_SIZES:
        yield _of_other_sizes(signature, spec, hints, plan, cases, sizes), Limits()


def _changed(
    signature: Signature, spec: GoldenSpec, hints: Hints, plan: Plan, cases: Sequence[Case], change: Change
) -> list[Tensors] | None:
    """A call (one for each sample where the batch is static) with a change made to each input that it concerns."""
    together = signature.dynamic_batch and not plan.alone
    rng = np.random.default_rng([spec.seed, _SEED])
    samples: dict[str, list[Array]] = {}
    changed: dict[str, list[Array]] = {}
    for name, tensor in signature.inputs.items():
        first = cases[0].inputs[name]
        # Slices, since an element of an array with one dimension would be no array.
        apart = [first[i : i + 1].reshape(first.shape[1:]) for i in range(len(first))] if together else []
        samples[name] = apart or [case.inputs[name] for case in cases]
        how, hint = spec.inputs.get(name, InputRange()), hints.get(name, Hint())
        made = change(Given(samples[name], tensor, how, hint, plan, rng))
        if made is not None:
            changed[name] = made
    if not changed:
        return None
    most = len(cases[0].inputs[next(iter(samples))]) - 1 if together else len(cases)  # another batch size than golden's
    count = min(most, *(len(made) for made in changed.values()))
    calls = [{name: changed.get(name, each)[i] for name, each in samples.items()} for i in range(count)]
    if not together:
        return calls
    return [{name: np.stack([call[name] for call in calls]) for name in samples}]


_SEED = 104729


def _of_other_sizes(
    signature: Signature,
    spec: GoldenSpec,
    hints: Hints,
    plan: Plan,
    cases: Sequence[Case],
    sizes: Sequence[tuple[float, int, int]],
) -> Iterator[list[Tensors]]:
    """A call of each of the sizes in turn, if any dimension but the batch is free."""
    usual = cases[0].inputs
    most = max(MOST_ELEMENTS, 2 * sum(value.size for value in usual.values()))
    batch = 0 if not signature.dynamic_batch else 1 if plan.alone or cases[0].batch == 2 else 2
    for times, more, step in sizes:
        size = max(1, int(times * plan.size) + more)
        other = replace(plan, size=size, step=step * plan.size // 8, seed=plan.seed + _SEED)
        (call,) = draw_calls(signature, spec, hints, replace(other, alone=False), [batch])
        start = 1 if batch else 0
        alike = all(call[name].shape[start:] == value.shape[start:] for name, value in usual.items())
        if not alike and sum(value.size for value in call.values()) <= most:
            yield [call]


def _computed(
    calls: Sequence[Tensors], run: Callable[[Tensors], Tensors], usual: Sequence[Case], *, finite: bool
) -> list[Case] | None:
    """The calls with their outputs; None where these are not such as `added` says."""
    try:
        cases = [Case(inputs=call, outputs=run(call)) for call in calls]
    except BadInput:
        return None
    for name in usual[0].outputs:
        before, after = ([case.outputs[name] for case in some] for some in (usual, cases))
        if not is_inexact(before[0]):
            continue
        if finite and all(map(_finite, before)) and not all(map(_finite, after)):
            return None
        if cases[0].batch == usual[0].batch and scale_of(after) > LOUDEST * scale_of(before):
            return None
    return cases


def _finite(array: Array) -> bool:
    return bool(np.isfinite(array.astype(np.complex128)).all())
