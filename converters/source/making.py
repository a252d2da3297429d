"""Inputs of golden and calibration where none were given: drawn with a seed, and fitted where the model has statistics."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from converters.config.spec import ModelSpec
from converters.contract.errors import raised
from converters.contract.settings import GoldenSpec, InputRange
from converters.contract.values import Case, Data, Signature, Tensors
from converters.formats import graph
from converters.reference import cost, coverage, drawing, fitting
from converters.reference import goal as goals
from converters.reference.choosing import Choice
from converters.reference.constants import DIVISIONS, NORMALISATIONS
from converters.reference.coverage import Coverage
from converters.reference.drawing import Hints, Plan
from converters.reference.goal import Goal
from converters.source.costs import Costs
from converters.source.inputs import drawn
from converters.source.live import Endpoint, Live

_TELLING = frozenset({*NORMALISATIONS, *DIVISIONS, "Rsqrt", "Sqrt", "Mul"})
"""Without one of these ops a graph says nothing of the data that its model was trained on."""
_MOST_BYTES = 1 << 30
"""Of weights: beyond 2 GiB a graph cannot hold them as constants."""


@dataclass(frozen=True, eq=False)
class Made:
    """Golden and inputs to calibrate on, what golden reaches, and what the inputs are."""

    cases: list[Case]
    calibration: list[Tensors]
    coverage: Coverage | None
    data: Data


def make(live: Live, endpoint: Endpoint, spec: ModelSpec, computed_in: str, costs: Costs) -> Made:
    """Inputs of one signature whose data nobody gave.

    They are drawn from the ranges that the graph tells, where the config tells none. Fitted ones take their place where
    they match the model's statistics; in golden, drawn ones stay beside them if those show more of the model. Of a model
    whose calls cost much there are fewer.
    """
    fewer = costs.fewer(endpoint, spec.golden)
    if fewer is not None:
        spec = spec.model_copy(update={"golden": spec.golden.model_copy(update={"samples": fewer})})
    signature, hints = endpoint.signature, endpoint.hints()
    goal = _goal(live, endpoint, spec.golden, hints)
    ranges = {name: InputRange(low=low, high=high) for name, (low, high) in goal.limits.items()} if goal else {}
    told = spec.golden.model_copy(update={"inputs": _merged(spec.golden, ranges)})
    chosen, calibration = drawn(live, endpoint, spec.model_copy(update={"golden": told}), computed_in, costs, fewer)
    fitted = _fitted(live, endpoint, told, hints, chosen, goal) if goal is not None and goal.statistics else None
    if fitted is None:
        return Made(chosen.cases, calibration, chosen.coverage, "drawn")
    least = _shows(chosen.cases, chosen.coverage, signature)
    others = chosen.cases[1:-1] if signature.dynamic_batch and not chosen.plan.alone else []
    for calls in _golden_of(fitted, signature, told):
        cases = [Case(inputs=call, outputs=endpoint.answer(call)) for call in calls]
        reached, whole = live.reach(endpoint, calls[0]), [cases[0], *others, *cases[1:]]
        if _shows(whole, reached, signature) >= least:
            return Made(whole, fitted, reached, "fitted")
    both = [calls[0], chosen.cases[0].inputs]
    reached = live.reach(endpoint, _joined(both) if signature.dynamic_batch else both[1])
    return Made([*cases, *chosen.cases], fitted, reached, "fitted")


def _merged(spec: GoldenSpec, ranges: dict[str, InputRange]) -> dict[str, InputRange]:
    """What the config says of inputs, and the graph's ranges; of one's shape the config may speak beside the graph."""
    shaped = {
        name: told.model_copy(update={"shape": spec.inputs[name].shape}) if name in spec.inputs else told
        for name, told in ranges.items()
    }
    return {**spec.inputs, **shaped}


def _goal(live: Live, endpoint: Endpoint, spec: GoldenSpec, hints: Hints) -> Goal | None:
    """What the model says of the inputs of which neither the config nor their use in the graph says anything."""
    settled = {name for name, how in spec.inputs.items() if how.low is not None or how.high is not None or how.values}
    settled |= {name for name, hint in hints.items() if hint.high is not None or hint.values or hint.make is not None}
    ops = {node.op for definition in live.graphs() for node in graph.nodes(definition)}
    if settled >= set(endpoint.inputs) or ops.isdisjoint(_TELLING):
        return None
    if sum(value.nbytes for value in live.weights().values()) > _MOST_BYTES:
        return None
    try:
        return goals.of_graph(endpoint.flat(), endpoint.inputs, sorted(settled))
    except Exception as error:  # what a session runs cannot be frozen for many reasons
        _log(endpoint, error)
        return None


def _fitted(
    live: Live, endpoint: Endpoint, spec: GoldenSpec, hints: Hints, chosen: Choice, goal: Goal
) -> list[Tensors] | None:
    """Calls with inputs that match the statistics; None where they could not be matched."""
    allowed = fitting.budget(cost.multiply_adds(goal.graph.graph_def) * len(live.endpoints))
    if allowed is None:
        return None
    samples, steps = allowed
    try:
        fitted = fitting.fit(goal, _beginning(endpoint.signature, spec, hints, chosen.plan, samples), steps)
    except Exception as error:  # an op without a gradient, or one that the frozen graph cannot run
        _log(endpoint, error)
        return None
    return fitted.calls if fitted.matched else None


def _log(endpoint: Endpoint, error: Exception) -> None:
    logging.getLogger(__name__).warning("signatures.%s: inputs are drawn: %s", endpoint.key, raised(error, 200))


def _beginning(signature: Signature, spec: GoldenSpec, hints: Hints, plan: Plan, samples: int) -> list[Tensors]:
    """Calls drawn as golden's are: one of so many samples, or so many at most."""
    calls = drawing.draw(signature, spec.model_copy(update={"samples": samples}), hints, plan)
    return calls[:1] if signature.dynamic_batch and not plan.alone else calls[:samples]


def _golden_of(fitted: list[Tensors], signature: Signature, spec: GoldenSpec) -> Iterator[list[Tensors]]:
    """Calls of as many of the samples as the config wants, and of a dynamic batch one of another size too.

    Then, where it wants no number, with others beside them, whose every element is that of some fitted sample.
    """
    if not signature.dynamic_batch or len(fitted) > 1:
        yield fitted
        return
    (call,) = fitted
    one = {name: value[:1] for name, value in call.items()}
    yield [{name: value[: spec.samples] for name, value in call.items()}, one]
    if spec.samples is None and len(next(iter(call.values()))) == fitting.SAMPLES:
        rng = np.random.default_rng(spec.seed)
        mixed = [{name: rng.permuted(value, axis=0) for name, value in call.items()} for _ in range(_MIXED)]
        yield [_joined([call, *mixed]), one]


_MIXED = 7
"""Times the fitted samples of a small model."""


def _shows(cases: Sequence[Case], reached: Coverage | None, signature: Signature) -> float:
    """Shares of the weights that are reached and of the outputs' elements that differ, together."""
    varying, elements = coverage.alive(cases, signature)
    share = reached.share if reached is not None else None
    return round((1.0 if share is None else share) + (varying / elements if elements else 1.0), 4)


def _joined(calls: Sequence[Tensors]) -> Tensors:
    return {name: np.concatenate([call[name] for call in calls]) for name in calls[0]}
