"""Inputs of golden, calibration and evaluation: those that were given, and those that are drawn."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from converters.config.spec import ModelSpec
from converters.contract import settings
from converters.contract.errors import BadInput
from converters.contract.settings import Tolerance
from converters.contract.values import Signature, Tensors
from converters.formats import precision
from converters.processes import userland
from converters.reference import choosing, drawing, golden
from converters.source.live import Endpoint, Live
from converters.targets.registry import TARGETS


def drawn(live: Live, endpoint: Endpoint, spec: ModelSpec, computed_in: str) -> tuple[choosing.Choice, list[Tensors]]:
    """Golden, and inputs to calibrate on, of one signature whose data nobody gave."""
    signature, hints, tolerance = endpoint.signature, endpoint.hints(), widest(spec, computed_in)
    reach = partial(live.reach, endpoint)
    chosen = choosing.choose(signature, spec.golden, endpoint.answer, tolerance, hints, reach)
    inputs = [case.inputs for case in chosen.cases]
    return chosen, drawing.draw_calibration(signature, spec.golden, hints, chosen.plan, inputs)


def widest(spec: ModelSpec, computed_in: str = "float32") -> Tolerance:
    """The widest tolerance that golden is compared with: outputs that differ enough for it do for every target."""
    tolerances = [
        options.tolerance.get(variant) or precision.allowing(TARGETS[name].variant(variant).tolerance, computed_in)
        for name, options in spec.targets.items()
        for variant in options.variants
    ]
    return Tolerance(
        error=max((tolerance.error for tolerance in tolerances), default=0.0),
        mismatch=max((tolerance.mismatch for tolerance in tolerances), default=0.0),
    )


def require_known(
    golden_spec: settings.GoldenSpec, classifiers: Sequence[str], signatures: Mapping[str, Signature]
) -> None:
    """Refuse a field about a tensor that the model has not."""
    for field, named, side in (
        ("golden.inputs", golden_spec.inputs, "inputs"),
        ("golden.constant", golden_spec.constant, "outputs"),
        ("classifiers", classifiers, "outputs"),
    ):
        names = sorted({name for signature in signatures.values() for name in getattr(signature, side)})
        for name in named:
            if name not in names:
                raise BadInput(f"{field}: the model has no {side[:-1]} {name!r}; it has {', '.join(names)}")


def given(
    reference: str | None, spec: ModelSpec, field: str, signatures: Mapping[str, Signature]
) -> dict[str, Mapping[str, Any]]:
    """The user's data by signature, made of `{key: {input: array}}`, or of `{input: array}` for all of them."""
    if reference is None:
        return {}
    data = userland.call(reference, spec.base, field)
    if not isinstance(data, Mapping):
        raise BadInput(f"{field} ({reference}) returned {type(data).__name__}; return {{input name: array}}")
    if any(isinstance(value, Mapping) for value in data.values()):
        chosen = {key: data[key] for key in signatures if isinstance(data.get(key), Mapping)}
    else:
        chosen = {key: data for key, signature in signatures.items() if set(signature.inputs) & set(data)}
    if not chosen:
        names = {key: sorted(signature.inputs) for key, signature in signatures.items()}
        raise BadInput(f"{field} ({reference}) gives {sorted(data)}, but the inputs by signature are {names}")
    return chosen


def save_representative(spec: ModelSpec, signatures: Mapping[str, Signature], path: Path) -> None:
    """Write the config's representative data, in golden's format. Raises BadInput."""
    everything = spec.golden.model_copy(update={"samples": 1 << 30})
    where = f"representative ({spec.representative})"
    chosen = {}
    for key, data in given(spec.representative, spec, "representative", signatures).items():
        calls = golden.from_data(data, key, signatures[key], everything, where)
        chosen[key] = calls[:1] if signatures[key].dynamic_batch else calls  # the first holds all samples, or one
    golden.save_inputs(chosen, path)
