"""Inputs that are drawn, and what a config says of inputs against those that the model has."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from converters.config.spec import ModelSpec
from converters.contract import names
from converters.contract.errors import BadInput
from converters.contract.settings import InputRange, Tolerance
from converters.contract.values import Case, Signature, Tensors
from converters.formats import precision, specs
from converters.reference import choosing, drawing, edges, golden
from converters.reference.drawing import Plan
from converters.source.costs import Costs
from converters.source.live import Endpoint, Live
from converters.targets.registry import TARGETS


def drawn(
    live: Live, endpoint: Endpoint, spec: ModelSpec, computed_in: str, costs: Costs, fewer: int | None = None
) -> tuple[choosing.Choice, list[Tensors]]:
    """Golden, and inputs to calibrate on, of one signature whose data nobody gave; no more than `fewer` of the latter."""
    signature, hints, tolerance = endpoint.signature, endpoint.hints(), widest(spec, computed_in)
    reach, hollow = partial(live.reach, endpoint), partial(costs.hollow, endpoint)
    chosen = choosing.choose(signature, spec.golden, endpoint.answer, tolerance, hints, reach, hollow)

    def answer(inputs: Tensors) -> Tensors:
        if sizes(inputs) != usual and hollow(inputs):
            raise BadInput("nothing is left of inputs of this size within the model")
        return endpoint.answer(inputs)

    def sizes(inputs: Tensors) -> list[tuple[int, ...]]:
        return [value.shape[signature.dynamic_batch :] for value in inputs.values()]

    usual = sizes(chosen.cases[0].inputs)
    more = edges.added(signature, spec.golden, hints, chosen.plan, chosen.cases, answer)
    inputs = [case.inputs for case in (*chosen.cases, *(edge.case for edge in more if edge.calibrates))]
    # Of most values larger ones have the larger extremes.
    shapes = edges.largest_shapes(signature, chosen.cases[0], [edge.case for edge in more])
    sized = {
        name: spec.golden.inputs.get(name, InputRange()).model_copy(update={"shape": s}) for name, s in shapes.items()
    }
    told = spec.golden.model_copy(update={"inputs": {**spec.golden.inputs, **sized}})
    calibration = drawing.draw_calibration(signature, told, hints, chosen.plan, inputs, fewer)
    first, *others = chosen.cases
    more += [edges.Edge(case, calibrates=False) for case in _of_fixed_sizes(endpoint, spec, chosen.plan, chosen.cases)]
    # The last is what latency is measured with, and what a servable is warmed up with: one sample.
    return replace(chosen, cases=[first, *(edge.case for edge in more), *others]), calibration


_CALLS = 4
"""Of each of the fixed sizes."""


def _of_fixed_sizes(endpoint: Endpoint, spec: ModelSpec, plan: Plan, cases: Sequence[Case]) -> list[Case]:
    """Calls of the sizes that files are to have, as far as there are none of them and the model computes them."""
    signature, hints, found = endpoint.signature, endpoint.hints(), list[Case]()
    for fixed in (each for options in spec.targets.values() for each in options.fixes(signature)):
        if fixed == signature or golden.in_sizes([*cases, *found], signature, fixed, apart=False):
            continue
        shapes = {name: each.shape or () for name, each in fixed.inputs.items()}
        whole = {name: tuple(size or 0 for size in shape) for name, shape in shapes.items()}
        batch = next(iter(whole.values()))[0] if signature.dynamic_batch else 0
        told = {
            name: spec.golden.inputs.get(name, InputRange()).model_copy(
                update={"shape": shape[1:] if signature.dynamic_batch else shape}
            )
            for name, shape in whole.items()
        }
        drawn_so = spec.golden.model_copy(update={"inputs": {**spec.golden.inputs, **told}})
        calls = drawing.draw_calls(signature, drawn_so, hints, plan, [batch] * _CALLS)
        try:
            found += [Case(inputs=call, outputs=endpoint.answer(call)) for call in calls]
        except BadInput as error:
            print(f"golden has no call of a fixed size: {error}")
    return found


def widest(spec: ModelSpec, computed_in: str = "float32") -> Tolerance:
    """The widest tolerance of what loses nothing on purpose: outputs that differ enough for it do for every target."""
    tolerances = [
        options.of(options.tolerance, variant)
        or precision.allowing(TARGETS[name].variant(variant).tolerance, computed_in)
        for name, options in spec.targets.items()
        for variant in options.variants
        if TARGETS[name].variant(variant).quality is None
    ]
    return Tolerance(
        error=max((tolerance.error for tolerance in tolerances), default=0.0),
        mismatch=max((tolerance.mismatch for tolerance in tolerances), default=0.0),
    )


def require_plain(where: str, live: Live) -> None:
    """Refuse a model with a name that cannot be shown or be part of a path, or an input that nobody could hold.

    Raises:
        BadInput: names the signature and the input or output.
    """
    for key, signature in live.signatures.items():
        for name in (key, *signature.inputs, *signature.outputs):
            if (fault := names.fault(name)) is not None:
                raise BadInput(f"{where}: signatures.{key!r}: the name {name!r} {fault}; rename it")
        for name, spec in signature.inputs.items():
            if (problem := specs.problem(spec)) is not None:
                raise BadInput(f"{where}: signatures.{key}: input {name!r}: {problem}")


def require_known(spec: ModelSpec, signatures: Mapping[str, Signature]) -> None:
    """Refuse a field about a tensor that the model has not, and labels that are not as many as its classes."""
    named: Iterable[str]
    for field, named, side in (
        ("golden.inputs", spec.golden.inputs, "inputs"),
        ("golden.constant", spec.golden.constant, "outputs"),
        ("classifiers", spec.classifiers, "outputs"),
        ("labels", spec.labels, "outputs"),
        ("preprocessing", spec.preprocessing, "inputs"),
    ):
        known = sorted({name for signature in signatures.values() for name in getattr(signature, side)})
        for name in named:
            if name not in known:
                raise BadInput(f"{field}: the model has no {side[:-1]} {name!r}; it has {', '.join(known)}")
    for name, labels in spec.labels.items():
        shapes = [signature.outputs[name].shape for signature in signatures.values() if name in signature.outputs]
        sizes = {shape[-1] for shape in shapes if shape and shape[-1] is not None}
        if sizes and sizes != {len(labels)}:
            size = ", ".join(map(str, sorted(sizes)))
            raise BadInput(f"labels.{name}: there are {len(labels)} names for an output whose last dimension is {size}")
