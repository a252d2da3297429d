"""Choosing seeded golden inputs: such that the model computes, and that show as much of it as can be."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from converters.contract.errors import BadInput
from converters.contract.settings import GoldenSpec, InputRange, Tolerance
from converters.contract.values import Case, Signature, Tensors, TensorSpec
from converters.reference import compare, coverage
from converters.reference.coverage import Coverage
from converters.reference.drawing import Hints, Plan, concrete, draw, samples_of

SIZES = (8, 1, 16, 32, 64, 224)
"""Sizes that dynamic dimensions are given, in the order they are tried; one at a time, so that shared ones agree."""
SEARCH_SECONDS = 30.0
"""After this long the best inputs so far are taken."""
REACH_SECONDS = 10.0
"""Likewise, where they are good but for some weights or outputs that they do not reach."""
MOST_ELEMENTS = 1 << 20
"""More samples are drawn while their inputs have no more elements than this: a tenth of a second of a small model."""
MOST_SAMPLES = 4096
MOST_WORK = 1 << 24
"""Likewise while samples times weights are no more, since every target runs them, even tensorflow.js without a GPU."""
WORTH = 0.02
"""Share of the weights, or of the outputs' elements, for which another range of numbers is taken."""
ENOUGH = 64
"""Samples that a small model is given, so that the largest errors of quantized files are among theirs."""

Run = Callable[[Tensors], Tensors]
Reach = Callable[[Tensors], Coverage]
"""What of the model some inputs reach."""


@dataclass(frozen=True)
class Choice:
    """Cases, the plan that drew them, and what they reach where that was asked."""

    cases: list[Case]
    plan: Plan
    coverage: Coverage | None


def choose(
    signature: Signature,
    spec: GoldenSpec,
    run: Run,
    tolerance: Tolerance,
    hints: Hints | None = None,
    reach: Reach | None = None,
) -> Choice:
    """Seeded inputs that the model can compute, with finite outputs that differ between samples, if any have them.

    The first draw that the model computes settles dynamic dimensions. It is the choice where its outputs are finite,
    differ enough for `tolerance` (parity.check_variation), each element does, and every weight is reached, which
    `reach` measures. Otherwise other ranges and another seed are tried until outputs are sound, then more samples while
    they show more, then other ranges again. What the config says of an input, or the number of samples, always holds.

    Raises:
        BadInput: `run` raised it for every draw; says what to give in the config.
    """
    hints, started = hints or {}, time.monotonic()
    cases, plan = _first_that_runs(signature, spec, run, hints)

    def better(other: Plan, accepted: Callable[[_Merit], bool]) -> tuple[Choice, _Merit]:
        try:
            choice, its = judged(_run_all(draw(signature, spec, hints, other), run), other)
        except BadInput:
            return best, merit
        return (choice, its) if accepted(its) else (best, merit)

    def judged(cases: list[Case], plan: Plan) -> tuple[Choice, _Merit]:
        choice = Choice(cases, plan, reach(cases[0].inputs) if reach is not None else None)
        return choice, _merit(choice, signature, tolerance, spec.constant)

    best, merit = judged(cases, plan)
    for other in _variations(plan, signature):
        if merit.sound or time.monotonic() - started > SEARCH_SECONDS:
            break
        best, merit = better(other, partial(_better_than, merit.key))
    if reach is None:
        return best
    for times, wanted in _times(best, signature, hints) if spec.samples is None else ():
        before, least = best, -1.0 if wanted else merit.shown
        best, merit = better(dataclasses.replace(best.plan, times=times), partial(_shows_more, least))
        if best is before or time.monotonic() - started > SEARCH_SECONDS:
            break
    # Inputs of another range are stranger to the model, and quantized files lose precision to a wider one.
    for other in _variations(best.plan, signature):
        if merit.complete or time.monotonic() - started > REACH_SECONDS:
            break
        best, merit = better(other, partial(_shows_more, merit.shown + WORTH))
    return best


def _times(choice: Choice, signature: Signature, hints: Hints) -> Iterator[tuple[int, bool]]:
    """How many times the usual samples to try, while they cost little, and whether that is wanted whatever it shows.

    Wanted are ENOUGH samples, and every word or index that the graph knows.
    """
    inputs = choice.cases[0].inputs
    elements = {n: max(1, v.size // (len(v) or 1) if signature.dynamic_batch else v.size) for n, v in inputs.items()}
    known = {name: len(hint.values) + 1 if hint.values else hint.high or 0 for name, hint in hints.items()}
    wanted = max([ENOUGH, *(known[name] // elements[name] + 1 for name in known)])
    usual = samples_of(signature, GoldenSpec(), Plan())
    weights = choice.coverage.weights if choice.coverage is not None else 0
    most = min(MOST_SAMPLES, MOST_ELEMENTS // sum(elements.values()), MOST_WORK // max(1, weights))
    times = 4
    while times * usual <= most:
        yield times, times // 4 * usual < wanted
        times *= 4


@dataclass(frozen=True)
class _Merit:
    """Of a draw: the share of finite elements, whether a comparison could fail, what it reaches, and how far it varies."""

    finite: float
    varies: bool
    reached: float
    alive: float
    spread: float

    @property
    def key(self) -> tuple[float, ...]:
        """More is better."""
        return (self.finite, self.varies, self.shown, self.spread)

    @property
    def shown(self) -> float:
        """How much of the model and of its outputs; a difference of less than a ten-thousandth is none."""
        return round(self.reached + self.alive, 4)

    @property
    def sound(self) -> bool:
        """Whether a comparison with it means something."""
        return self.finite == 1.0 and self.varies

    @property
    def complete(self) -> bool:
        """Whether nothing could be better."""
        return self.sound and self.reached == 1.0 and self.alive == 1.0


def _first_that_runs(signature: Signature, spec: GoldenSpec, run: Run, hints: Hints) -> tuple[list[Case], Plan]:
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


def _run_all(calls: Sequence[Tensors], run: Run) -> list[Case]:
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
    batch = samples_of(signature, spec, plan) if signature.dynamic_batch else 0
    given = {name: how.shape for name, how in spec.inputs.items()}
    shapes = (concrete(tensor, batch, given.get(name), plan) for name, tensor in signature.inputs.items())
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


def _better_than(key: tuple[float, ...], merit: _Merit) -> bool:
    return merit.key > key


def _shows_more(least: float, merit: _Merit) -> bool:
    return merit.sound and merit.shown > least


def _merit(choice: Choice, signature: Signature, tolerance: Tolerance, constant: Sequence[str]) -> _Merit:
    cases = choice.cases
    outputs = [value for case in cases for value in case.outputs.values() if value.dtype.kind in "fcV"]
    total = sum(value.size for value in outputs)
    finite = sum(int(np.isfinite(value.astype(np.complex128)).sum()) for value in outputs)
    check = compare.check_variation(cases, signature, tolerance, constant)
    share = choice.coverage.share if choice.coverage is not None else None
    varying, elements = coverage.alive(cases, signature)
    return _Merit(
        finite=finite / total if total else 1.0,
        varies=check.status == "passed",
        reached=1.0 if share is None else share,
        alive=varying / elements if elements else 1.0,
        spread=check.measured or 0.0,
    )
