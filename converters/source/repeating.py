"""Whether the live model returns the same again: what is random, or keeps state, cannot be compared with a file."""

from collections.abc import Sequence

from converters.contract.errors import BadInput
from converters.contract.values import Case, Tensors
from converters.reference.measure import measure, scale_of
from converters.source.live import Endpoint, Live

_ROUNDINGS = 128
"""Sums in another order differ by some roundings; the least noise that a layer would add on purpose by thousands."""
_STEPS = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""By what the model computes in (precision.of_graphs), the distance of the numbers above 1."""


def require_repeatable(live: Live, cases: dict[str, list[Case]], computed_in: str, where: str) -> list[str]:
    """Leave out (Live.refused) each signature of `cases` that does not return the same again; their keys.

    Raises:
        BadInput: no signature is left; says why of each.
    """
    found = {key: unrepeatable(live.endpoints[key], recorded, computed_in) for key, recorded in cases.items()}
    reasons = {key: reason for key, reason in found.items() if reason is not None}
    if reasons and reasons.keys() == live.endpoints.keys():
        alike = {reason: [repr(key) for key in reasons if reasons[key] == reason] for reason in reasons.values()}
        told = "; ".join(f"signature {' and '.join(keys)} {reason}" for reason, keys in alike.items())
        raise BadInput(f"{where}: {told}")
    for key in reasons:
        del live.endpoints[key]
        if live.keras_signature == key:
            live.keras_signature = None
    live.refused |= {key: f"it {reason}" for key, reason in reasons.items()}
    return list(reasons)


def unrepeatable(endpoint: Endpoint, cases: Sequence[Case], computed_in: str) -> str | None:
    """Why calls with the same inputs return other outputs than `cases`: a predicate and a remedy; None where they do not.

    First each call begins with the state that golden's did: what then differs is random. Then state is left as calls
    leave it. Where the graph neither draws nor writes, one call is enough to see what only its Python code does.
    """
    state = endpoint.state
    if not (state.items or state.draws or state.effects):
        cases = [min(cases, key=lambda case: sum(value.size for value in case.inputs.values()))]
    allowed = _ROUNDINGS * _STEPS[computed_in]
    for case in cases:
        name = _differing(case, endpoint.answer(case.inputs), allowed)
        if name is not None:
            ops = ", ".join(state.draws or state.effects)
            return _random(f"{name!r} for the same inputs{f' ({ops})' if ops else ''}")
    if not state.items:
        return None
    with state.kept() as changed:
        for case in (*cases, *cases):
            name = _differing(case, endpoint.leave(case.inputs, "golden outputs"), allowed)
            if name is None:
                continue
            kept = ", ".join(map(repr, changed()))
            if state.draws:
                return _random(f"{name!r} ({', '.join(state.draws)}, from {kept}, which each call changes)")
            return (
                f"keeps state: {name!r} depends on {kept}, which each call changes, so that what it returns depends on "
                "the calls before; make what it keeps an input and an output"
            )
    return None


def _random(what: str) -> str:
    return (
        f"is random: each call returns another {what}, so that no file can be compared with it; make the numbers that "
        "it draws an input, or predict without them, as layers called with training=False do"
    )


def _differing(case: Case, again: Tensors, allowed: float) -> str | None:
    """The first output that is not what was recorded."""
    for name, recorded in case.outputs.items():
        other = again[name]
        if other.shape != recorded.shape:
            return name
        if not measure(recorded, other, scale_of([recorded])) <= allowed:  # NaN where they are not finite alike
            return name
    return None
