"""Whether comparing with some golden outputs could fail at all."""

from collections.abc import Sequence

import numpy as np

from converters.contract.settings import Tolerance
from converters.contract.values import Case, CheckResult, Signature
from converters.formats.dtypes import is_inexact
from converters.reference.coverage import samples_of
from converters.reference.measure import FAR, Array, measure


def check(
    cases: Sequence[Case], signature: Signature, tolerance: Tolerance, constant: Sequence[str] = ()
) -> CheckResult:
    """Whether comparing with these golden outputs could fail at all.

    Every float output must differ between samples by FAR times its tolerance; outputs compared exactly (integers,
    bools, strings) may be constant as long as some output varies. `constant` names outputs that the config
    declares to be the same for every input.
    """
    exact, vacuous, ratios = [], [], []
    for name in signature.outputs:
        inexact = is_inexact(cases[0].outputs[name])
        spread = _spread(samples_of(cases, signature, name))
        if not inexact:
            exact.append(spread > tolerance.mismatch)
        elif name not in constant:
            ratios.append(spread / tolerance.error if tolerance.error else np.inf * spread if spread else 0.0)
            if not ratios[-1] >= FAR:
                vacuous.append(
                    f"{name!r} differs between samples by {spread:.2g} of its scale, "
                    f"less than {FAR:g} x the tolerance {tolerance.error:g}"
                )
    if not vacuous and not ratios and not any(exact):
        vacuous.append("no output differs between samples")
    worst = min(ratios) if ratios else None
    remedy = "; this comparison cannot fail: give golden inputs for which the outputs differ, or train the model"
    return CheckResult(
        name="varies",
        runtime="golden",
        status="failed" if vacuous else "passed",
        measured=worst if worst is None or np.isfinite(worst) else None,
        limit=FAR if worst is not None else None,
        at_least=True,
        detail="; ".join(vacuous) + remedy
        if vacuous
        else "smallest spread between samples / tolerance (at least the limit)",
    )


def _spread(samples: Sequence[Array]) -> float:
    """The largest distance between neighbouring samples, in the unit of `measure`.

    Elements that are not finite in either say nothing: golden of 1 and NaN is as vacuous as golden of 1 alone.
    """
    if len({sample.shape for sample in samples}) > 1:
        return float("inf")
    if len(samples) < 2:
        return 0.0
    here = np.stack(samples)
    there = np.roll(here, 1, axis=0)
    if is_inexact(here):
        both = np.isfinite(here) & np.isfinite(there)
        here, there = np.where(both, here, 0), np.where(both, there, 0)
    return measure(here, there)
