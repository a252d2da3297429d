"""Choosing seeded golden inputs: such that the model computes, and that show as much of it as can be."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from converters.contract.errors import BadInput
from converters.contract.settings import GoldenSpec, InputRange, Tolerance
from converters.contract.values import Case, Signature, Tensors
from converters.reference import coverage, variation
from converters.reference.coverage import Coverage
from converters.reference.drawing import Hints, Numbers, Plan, concrete, draw, samples_of

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

_MOST_ELEMENTS = 1 << 24
"""A size is not tried with more elements in a call than this, 64 MiB of float32."""

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
    hollow: Callable[[Tensors], bool] = lambda _: False,
) -> Choice:
    """Seeded inputs that the model can compute, with finite outputs that differ between samples, if any have them.

    The first draw that the model computes settles dynamic dimensions; one of which it makes nothing, or is `hollow`, only where
    there is no other. It is the choice where its outputs are finite,
    differ enough for `tolerance` (variation.check), each element does, and every weight is reached, which
    `reach` measures. Otherwise other ranges and another seed are tried until outputs are sound, then more samples while
    they show more, then other ranges again. What the config says of an input, or the number of samples, always holds.

    Raises:
        BadInput: `run` raised it for every draw; says what to give in the config.
    """
    return _Search(signature, spec, run, tolerance, hints or {}, reach, hollow).choice()


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


class _Search:
    """The best choice so far for one signature, from the first draw that the model computes on. For what it is given see
    `choose`."""

    def __init__(
        self,
        signature: Signature,
        spec: GoldenSpec,
        run: Run,
        tolerance: Tolerance,
        hints: Hints,
        reach: Reach | None,
        hollow: Callable[[Tensors], bool],
    ) -> None:
        self._signature, self._spec, self._run = signature, spec, run
        self._tolerance, self._hints, self._reach = tolerance, hints, reach
        self._free = [
            name
            for name, tensor in signature.inputs.items()
            if (tensor.shape is None or None in tensor.shape[signature.dynamic_batch :])
            and spec.inputs.get(name, InputRange()).shape is None
        ]
        """The inputs with dynamic dimensions, besides the batch, that the config does not settle."""
        self._hollow = hollow
        self._started = time.monotonic()
        self._best, self._merit = self._judged(*self._first_that_runs())

    def choice(self) -> Choice:
        """The best there is after all that is tried."""
        for plan in self._variations():
            if self._merit.sound or self._past(SEARCH_SECONDS):
                break
            self._try(plan, lambda merit: merit.key > self._merit.key)
        if self._reach is None:
            return self._best
        for times, needed in self._times() if self._spec.samples is None else ():
            least = -1.0 if needed else self._merit.shown
            if not self._try_for_more(replace(self._best.plan, times=times), least) or self._past(SEARCH_SECONDS):
                break
        # Inputs of another range are stranger to the model, and quantized files lose precision to a wider one.
        for plan in self._variations():
            if self._merit.complete or self._past(REACH_SECONDS):
                break
            self._try_for_more(plan, self._merit.shown + WORTH)
        return self._best

    def _past(self, seconds: float) -> bool:
        return time.monotonic() - self._started > seconds

    def _try_for_more(self, plan: Plan, least: float) -> bool:
        return self._try(plan, lambda merit: merit.sound and merit.shown > least)

    def _try(self, plan: Plan, accepted: Callable[[_Merit], bool]) -> bool:
        """Take the plan if what it draws is accepted; whether it was."""
        try:
            choice, merit = self._judged(self._cases(self._draw(plan)), plan)
        except BadInput:
            return False
        if accepted(merit):
            self._best, self._merit = choice, merit
            return True
        return False

    def _judged(self, cases: list[Case], plan: Plan) -> tuple[Choice, _Merit]:
        reached = self._reach(cases[0].inputs) if self._reach is not None else None
        outputs = [value for case in cases for value in case.outputs.values() if value.dtype.kind in "fcV"]
        total = sum(value.size for value in outputs)
        finite = sum(int(np.isfinite(value.astype(np.complex128)).sum()) for value in outputs)
        check = variation.check(cases, self._signature, self._tolerance, self._spec.constant)
        share = reached.share if reached is not None else None
        varying, elements = coverage.alive(cases, self._signature)
        return Choice(cases, plan, reached), _Merit(
            finite=finite / total if total else 1.0,
            varies=check.status == "passed",
            reached=1.0 if share is None else share,
            alive=varying / elements if elements else 1.0,
            spread=check.measured or 0.0,
        )

    def _draw(self, plan: Plan) -> list[Tensors]:
        return draw(self._signature, self._spec, self._hints, plan)

    def _cases(self, calls: Sequence[Tensors]) -> list[Case]:
        return [Case(inputs=tensors, outputs=self._run(tensors)) for tensors in calls]

    def _first_that_runs(self) -> tuple[list[Case], Plan]:
        problem: BadInput | None = None
        empty: tuple[list[Case], Plan] | None = None
        sizes: set[int] = set()
        for plan in self._geometries():
            calls = self._draw(plan)
            try:
                cases = self._cases(calls)
            except BadInput as error:
                problem = problem or error
                sizes |= {n for name in self._free for n in calls[0][name].shape[self._signature.dynamic_batch :]}
                continue
            made = all(value.size for case in cases for value in case.outputs.values())
            if made and not (self._free and self._hollow(calls[0])):
                return cases, plan
            empty = empty or (cases, plan)
        if empty is not None:
            return empty
        raise BadInput(f"{problem}{self._remedy(sizes)}") from problem

    def _geometries(self) -> Iterator[Plan]:
        """Plans in the order they are tried until the model computes one."""
        of_any_rank = any(self._signature.inputs[name].shape is None for name in self._free)
        for alone in (False, True) if self._signature.dynamic_batch else (False,):
            for rank in (2, 1, 4, 3, 0) if of_any_rank else (2,):
                for size in SIZES if self._free and rank > 1 else SIZES[:1]:
                    plan = Plan(size=size, rank=rank, alone=alone)
                    if size == SIZES[0] or self._elements(plan) <= _MOST_ELEMENTS:
                        yield plan
            # Indices may be out of range, or words not in a table without a default.
            yield Plan(numbers="unit", unknown=False, alone=alone)

    def _elements(self, plan: Plan) -> int:
        """In all inputs of a call."""
        batch = samples_of(self._signature, self._spec, plan) if self._signature.dynamic_batch else 0
        given = {name: how.shape for name, how in self._spec.inputs.items()}
        tensors = self._signature.inputs.items()
        return sum(math.prod(concrete(tensor, batch, given.get(name), plan)) for name, tensor in tensors)

    def _remedy(self, sizes: set[int]) -> str:
        if not self._free:
            named = ", ".join(map(repr, self._signature.inputs))
            return f"; say how to draw {named} under 'golden.inputs', or give 'golden.data'"
        return (
            f" (tried sizes {', '.join(map(str, sorted(sizes)))}); give the shape of "
            f"{', '.join(map(repr, self._free))} under 'golden.inputs', or give 'golden.data'"
        )

    def _times(self) -> Iterator[tuple[int, bool]]:
        """How many times the usual samples to try, while they cost little, and whether they are needed anyhow.

        Needed are ENOUGH samples, and every word or index that the graph knows.
        """
        inputs, batched = self._best.cases[0].inputs, self._signature.dynamic_batch
        elements = {n: max(1, v.size // (len(v) or 1) if batched else v.size) for n, v in inputs.items()}
        known = {name: len(hint.values) + 1 if hint.values else hint.high or 0 for name, hint in self._hints.items()}
        needed = max([ENOUGH, *(known[name] // elements[name] + 1 for name in known)])
        usual = samples_of(self._signature, GoldenSpec(), Plan())
        weights = self._best.coverage.weights if self._best.coverage is not None else 0
        most = min(MOST_SAMPLES, MOST_ELEMENTS // sum(elements.values()), MOST_WORK // max(1, weights))
        times = 4
        while times * usual <= most:
            yield times, times // 4 * usual < needed
            times *= 4

    def _variations(self) -> list[Plan]:
        """What is tried in place of the best plan when its outputs are not good enough."""
        plan, shapes = self._best.plan, [tensor.shape or () for tensor in self._signature.inputs.values()]
        of_images = any(len(shape) >= 3 and shape[-1] in (1, 3, 4) for shape in shapes)
        ranges: tuple[Numbers, ...] = ("unit", "pixels", "wide") if of_images else ("wide", "unit", "pixels")
        return [
            *(replace(plan, numbers=numbers) for numbers in ranges),
            replace(plan, seed=1),
            replace(plan, numbers="wide", seed=2),
        ]
