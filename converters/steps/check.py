"""Check one conversion: inspect each file, run it in every runtime it is meant for, judge what that returned.

Where there is labelled data, each runtime computes it too. Where a variant that loses something on purpose fell short,
its layers are examined.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from converters.contract.errors import FanoutError, MissingRuntime
from converters.contract.layout import SAVED_MODEL, log_of
from converters.contract.values import Artifact, CheckResult, Prediction
from converters.processes import child
from converters.reference import golden, labelled, sound
from converters.release.manifest import Losses, Row
from converters.release.verdict import row
from converters.steps import again, running
from converters.steps.convert import Conversion
from converters.steps.inspecting import inspect
from converters.steps.judging import Judge
from converters.steps.running import Children, key_of
from converters.steps.unit import Unit

FELL_SHORT = ("values", "batch", "snr", "cosine", "top1", "metric")
"""The checks that a quantization can fail for its own sake."""


def check(unit: Unit, conversion: Conversion, *, keep_log: bool = True, withheld: str | None = None) -> list[Row]:
    """One row for each artifact, with every check's finding.

    With `keep_log`, what examining layers printed is kept in the release, where nothing else is written. `withheld` says why
    a metric of the release's own is not to be run, where it is not.

    Raises:
        Damaged: golden or the labelled data cannot be read.
    """
    started = time.monotonic()
    evaluation = labelled.load(unit.release, unit.spec.evaluation, unit.source.signatures, withheld)
    judge = Judge(unit, golden.load(unit.source.golden), evaluation)
    children = Children(unit.limits, unit.log)
    if unit.log is not None:
        _begin(unit.log, "checks", unit)
    held = [artifact for artifact in conversion.artifacts if artifact.path is not None]
    lacking = {key_of(each): found for each in held if (found := judge.lacking(each)) is not None}
    findings, ready, ends = inspect(
        unit, [each for each in held if key_of(each) not in lacking], judge.signatures, children
    )
    findings |= {key: [finding] for key, finding in lacking.items()}
    returned: dict[str, list[Prediction]] = {key_of(artifact): [] for artifact in held}
    for artifact, runtime, prediction in running.run(unit, ready, judge.asked, children):
        findings[key_of(artifact)] += judge.findings(artifact, runtime, prediction)
        if isinstance(prediction, Prediction):
            returned[key_of(artifact)].append(prediction)
    losses: dict[str, Losses | None] = {}
    for artifact in held:
        key = key_of(artifact)
        if key in lacking:
            continue
        findings[key] += judge.of_the_data(artifact, findings[key], unit.spec.golden.constant)
        findings[key] += _sound(unit, artifact, findings[key], judge, returned[key], children)
        losses[key] = _examine(unit, artifact, findings[key], judge, keep_log)
    seconds = {"convert": round(conversion.seconds, 3), "check": round(time.monotonic() - started, 3)}
    memory_mb = {"convert": conversion.memory_mb, "check": children.memory_mb}

    def made(artifact: Artifact) -> Row:
        checks, lost = findings.get(key_of(artifact), []), losses.get(key_of(artifact)) if artifact.path else None
        made = row(artifact, checks, conversion.error, seconds, unit.release, losses=lost, memory_mb=memory_mb)
        key = key_of(artifact)
        told = {"data": judge.data.get(key), "shapes": _shapes(unit, key), "quantized": ends.get(key)}
        return made.model_copy(update=told | {"answers": list(judge.answers(artifact, returned.get(key, [])))})

    return [made(artifact) for artifact in conversion.artifacts]


def failed(unit: Unit, conversion: Conversion, why: str) -> list[Row]:
    """The rows of a conversion that could not be checked at all, and why."""
    seconds, memory_mb = {"convert": round(conversion.seconds, 3)}, {"convert": conversion.memory_mb}

    def made(artifact: Artifact) -> Row:
        error = conversion.error or (f"checking failed: {why}" if artifact.path else None)
        return row(artifact, [], error, seconds, unit.release, memory_mb=memory_mb)

    return [made(artifact) for artifact in conversion.artifacts]


def _sound(
    unit: Unit,
    artifact: Artifact,
    checks: Sequence[CheckResult],
    judge: Judge,
    returned: Sequence[Prediction],
    children: Children,
) -> list[CheckResult]:
    """Where a variant loses something on purpose: whether its weights and layers are what they must be.

    What cannot be loaded or run fails for that alone.
    """
    soundness = unit.definition.sound
    cannot = any(check.status == "failed" and check.name in ("loads", "runs") for check in checks)
    if unit.kind.quality is None or soundness is None or cannot:
        return []
    given = artifact, unit.source.saved_model, judge.inputs_of(artifact, judge.answered(artifact, returned))
    try:
        found = children.run(soundness, *given, stays=f"soundness of {unit.target}", fresh=False)
    except FanoutError as error:
        status: Literal["failed", "not_run"] = "not_run" if isinstance(error, MissingRuntime) else "failed"
        return [CheckResult(name="sound", runtime=unit.target, status=status, detail=str(error))]
    key = key_of(artifact)
    given_by_user = judge.data.get(key) == "given"
    findings = sound.check(found, unit.target, calibrated=judge.calibrates(key), given=given_by_user)
    return [*findings, *judge.lossless(artifact, found, returned)]


def _examine(
    unit: Unit, artifact: Artifact, checks: Sequence[CheckResult], judge: Judge, keep_log: bool
) -> Losses | None:
    """Where a lossy variant's outputs fell short: what each layer lost, or why that cannot be said."""
    layers = unit.definition.layers
    fell_short = any(check.status == "failed" and check.name in FELL_SHORT for check in checks)
    if unit.kind.quality is None or layers is None or not fell_short:
        return None
    log = unit.release / log_of(*unit.name, "layers") if keep_log else None
    inputs = judge.inputs_of(artifact, 0)
    if log is not None:
        _begin(log, "examines the layers of", unit)
    try:
        done = child.run(layers, artifact, unit.release / SAVED_MODEL, inputs, limits=unit.limits, log=log)
    except FanoutError as error:
        return Losses(layers=[], error=str(error))
    return Losses(layers=done.value)


def _shapes(unit: Unit, key: str) -> dict[str, tuple[int, ...]] | None:
    """What the variant fixes of a signature's inputs."""
    given, has = unit.source.signatures.get(key), unit.signatures.get(key)
    if given is None or has is None or given == has:
        return None
    return {name: tuple(size or 0 for size in spec.shape or ()) for name, spec in has.inputs.items()}


def _begin(log: Path, does: str, unit: Unit) -> None:
    again.head(log, f"{does} {unit.name.title} of {unit.spec.name} {unit.source.version}", ["fanout", "check", "."])
