"""Is a lossy file converted right? Its weights and layers against the model's, whatever its inputs are."""

from converters.contract.values import CheckResult, Soundness

HALF_STEP = 0.5
"""Rounding to the nearest number of a grid moves a number by half a step at most."""
ROUNDING = 0.01
"""Steps by which the model's own number may be off, since converters fold constants in float32."""
NOISE = 4.0
"""How many times the noise that its formats explain a layer may add."""
MOST_NAMED = 3


def check(soundness: Soundness, runtime: str) -> list[CheckResult]:
    """The findings: one for the weights, and one for the layers where the variant rounds what they compute."""
    if soundness.problems:
        detail = "; ".join(soundness.problems[:MOST_NAMED])
        return [CheckResult(name="sound", runtime=runtime, status="failed", detail=detail)]
    weights = [(error.steps, error.name) for error in soundness.weights]
    layers = [(noise.ratio, f"{noise.layer} ({noise.op})") for noise in soundness.layers]
    found = []
    if weights:
        what = f"{len(weights)} constants; largest distance from the model's, in steps of the file's own grid"
        found.append(_finding(runtime, weights, HALF_STEP + ROUNDING, what))
    if layers:
        what = f"{len(layers)} layers; largest noise of one, given the model's own inputs, over what rounding explains"
        found.append(_finding(runtime, layers, NOISE, what))
    if not found:
        detail = "nothing in the file could be compared with the model"
        found.append(CheckResult(name="sound", runtime=runtime, status="failed", detail=detail))
    return found


def _finding(runtime: str, measured: list[tuple[float, str]], limit: float, what: str) -> CheckResult:
    # NaN is above every limit.
    ranked = sorted(measured, key=lambda each: -each[0] if each[0] == each[0] else float("-inf"))
    worst, bad = ranked[0][0], [name for value, name in ranked if not value <= limit]
    return CheckResult(
        name="sound",
        runtime=runtime,
        status="failed" if bad else "passed",
        measured=worst if abs(worst) < float("inf") else None,
        limit=limit,
        detail=f"{what}: {', '.join((bad or [ranked[0][1]])[:MOST_NAMED])}",
    )
