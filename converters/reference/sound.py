"""Is a lossy file converted right? Its weights, layers and grids against the model's, whatever its inputs are.

Limits are from what was measured on files as they are made and harmed in one place (TF Lite's float16, dynamic and int8 of
52 models of all usual kinds, MobileNetV2 among them; see tests/targets/tflite/test_sound.py for the kinds of harm).
"""

from collections.abc import Sequence

from converters.contract.soundness import Soundness
from converters.contract.values import CheckResult

HALF_STEP = 0.5
"""Rounding to the nearest number of a grid moves a number by half a step at most."""
ROUNDING = 0.01
"""Steps by which the model's own number may be off, since converters fold constants in float32. The most seen is 0.0003."""
NOISE = 4.0
"""How many times the noise that its formats explain a layer may add. Off by a whole step everywhere, as kernels for integers
may be that round in between, are sqrt(12) = 3.46 times; the most seen is 1.7."""
BEYOND = 0.02
"""Share of a grid's width by which values may lie beyond it, of the very inputs that it was calibrated with: five steps of 255.
The most seen is 0.002, which is half a step."""
BEYOND_OTHERS = 0.25
"""The same for inputs other than those of calibration; the most seen is 0.08, of 64 samples."""
FILLED = 0.1
"""Share of a grid's width that values must take, those of its layer or of the layer behind it. The least seen
is 0.175, where rows of padding alone are calibrated on too, and 0.46 elsewhere."""
FILLED_BY_GIVEN = 0.2
"""The same where a user's own inputs are those that grids are made for, so that nothing unusual is among them."""
MOST_NAMED = 3


def check(soundness: Soundness, runtime: str, *, calibrated: bool = False, given: bool = False) -> list[CheckResult]:
    """The findings: one for the weights, one for the layers, and two for grids where there are any.

    `calibrated` says that the inputs are those that the grids are made for, `given` that they are a user's own.
    """
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
        noisy = _finding(runtime, layers, NOISE, what)
        found.append(noisy.model_copy(update={"detail": "; ".join([noisy.detail, *soundness.partly[:MOST_NAMED]])}))
    if soundness.grids:
        beyond = [(grid.beyond, grid.name) for grid in soundness.grids]
        what = f"{len(beyond)} grids; largest share of a width by which the model's values lie beyond it"
        found.append(_finding(runtime, beyond, BEYOND if calibrated else BEYOND_OTHERS, what))
        filled = [(grid.filled, grid.name) for grid in soundness.grids]
        what = f"{len(filled)} grids; smallest share of a width that the model's values take"
        found.append(
            _finding(runtime, filled, FILLED_BY_GIVEN if calibrated and given else FILLED, what, at_least=True)
        )
    if not found and soundness.twin is None:
        detail = "nothing in the file could be compared with the model"
        found.append(CheckResult(name="sound", runtime=runtime, status="failed", detail=detail))
    return found


def _finding(
    runtime: str, measured: Sequence[tuple[float, str]], limit: float, what: str, *, at_least: bool = False
) -> CheckResult:
    def badness(each: tuple[float, str]) -> float:
        value = -each[0] if at_least else each[0]
        return value if value == value else float("inf")  # NaN is beyond every limit

    ranked = sorted(measured, key=badness, reverse=True)
    worst = ranked[0][0]
    bad = [name for value, name in ranked if not (value >= limit if at_least else value <= limit)]
    return CheckResult(
        name="sound",
        runtime=runtime,
        status="failed" if bad else "passed",
        measured=worst if abs(worst) < float("inf") else None,
        limit=limit,
        at_least=at_least,
        detail=f"{what}: {', '.join((bad or [ranked[0][1]])[:MOST_NAMED])}",
    )
