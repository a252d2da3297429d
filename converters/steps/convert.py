"""Convert one variant of one target in a child process, whatever becomes of it."""

import time
from collections.abc import Sequence

from converters.contract.errors import ChildDied, FanoutError, Unsupported
from converters.contract.layout import log_of
from converters.contract.values import Artifact, Frozen
from converters.processes import child
from converters.steps import again
from converters.steps.running import Children
from converters.steps.trying import tried
from converters.steps.unit import Unit


class Conversion(Frozen):
    """What became of converting one variant: artifacts, or the error that ended it; a row for each signature.

    `crashed` says that the child ended without a result, which another try may not do again. `seconds` were spent inside
    the child, which held `memory_mb` of its own at most.
    """

    target: str
    variant: str
    artifacts: list[Artifact]
    error: str | None = None
    crashed: bool = False
    seconds: float = 0.0
    memory_mb: float = 0.0


def convert(unit: Unit) -> Conversion:
    """Convert in a child process. A failure is part of the result; nothing the converter does raises here."""
    log = unit.release / log_of(unit.target, unit.variant)
    again.head_of_conversion(log, unit)
    artifacts: list[Artifact] = []
    error, crashed, seconds, memory_mb = None, False, 0.0, 0.0
    try:
        arguments = (unit.source, unit.variant, unit.release, unit.options)
        done = child.run(unit.definition.convert, *arguments, limits=unit.limits, log=log)
        artifacts, seconds, memory_mb = done.value, done.seconds, done.memory_mb
        if unit.kind.trial is not None:
            children, started = Children(unit.limits, log), time.monotonic()
            artifacts = tried(unit, unit.kind.trial, artifacts, children)
            seconds, memory_mb = seconds + time.monotonic() - started, max(memory_mb, children.memory_mb)
    except Unsupported as unsupported:
        artifacts = _for_each_signature(unit, str(unsupported))
    except FanoutError as failure:
        error, crashed = f"converting failed: {failure}", isinstance(failure, ChildDied)
        artifacts = _for_each_signature(unit, None)
    if again.is_empty(log):
        log.unlink()
    artifacts = [_noted(artifact, unit.source.notes) for artifact in artifacts]
    artifacts += [
        Artifact(target=unit.target, variant=unit.variant, signature=key, path=None, reason=reason)
        for key, reason in unit.source.refused.items()
    ]
    return Conversion(
        target=unit.target,
        variant=unit.variant,
        artifacts=artifacts,
        error=error,
        crashed=crashed,
        seconds=seconds,
        memory_mb=memory_mb,
    )


def failed(unit: Unit, why: str) -> Conversion:
    """The conversion that could not be done at all, and why."""
    artifacts = _for_each_signature(unit, None)
    return Conversion(target=unit.target, variant=unit.variant, artifacts=artifacts, error=f"converting failed: {why}")


def _noted(artifact: Artifact, notes: Sequence[str]) -> Artifact:
    """The artifact, saying how the model it was made from differs from the one that was given."""
    if artifact.path is None or not notes:
        return artifact
    reasons = [artifact.reason] if artifact.reason else []
    return artifact.model_copy(update={"reason": "; ".join([*reasons, *notes])})


def _for_each_signature(unit: Unit, reason: str | None) -> list[Artifact]:
    return [
        Artifact(target=unit.target, variant=unit.variant, signature=key, path=None, reason=reason)
        for key in unit.source.signatures
    ]
