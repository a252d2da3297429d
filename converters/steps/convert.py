"""Convert one variant of one target in a child process, whatever becomes of it."""

from collections.abc import Sequence
from pathlib import Path

from converters.config.spec import ModelSpec
from converters.contract.errors import ChildDied, FanoutError, Unsupported
from converters.contract.values import Artifact, Frozen, Options, Source, Trier
from converters.processes import resident
from converters.processes.child import run
from converters.targets.registry import TARGETS


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


def plan(source: Source, spec: ModelSpec) -> list[tuple[str, str]]:
    """(target, variant) of every conversion the spec asks for, in the order of a manifest."""
    return [
        (target, variant)
        for target, options in spec.targets.items()
        for variant in TARGETS[target].variants(source, options)
    ]


def convert(source: Source, target: str, variant: str, out_dir: Path, spec: ModelSpec) -> Conversion:
    """Convert in a child process. A failure is part of the result; nothing the converter does raises here."""
    log = out_dir / log_of(target, variant)
    options: Options = spec.targets[target]
    converter = TARGETS[target]
    artifacts: list[Artifact] = []
    error, crashed, seconds, memory_mb = None, False, 0.0, 0.0
    try:
        done = run(converter.convert, source, variant, out_dir, options, limits=spec.limits, log=log)
        artifacts, seconds, memory_mb = done.value, done.seconds, done.memory_mb
        if isinstance(converter, Trier) and (runtime := converter.TRIED.get(variant)) is not None:
            kind, fresh = converter.KEPT[runtime], runtime in converter.FRESH
            tried = resident.run(kind, converter.try_out, source, artifacts, limits=spec.limits, fresh=fresh)
            seconds, memory_mb = seconds + tried.seconds, max(memory_mb, tried.memory_mb)
    except Unsupported as unsupported:
        artifacts = _for_each_signature(source, target, variant, str(unsupported))
    except FanoutError as failed:
        error, crashed = f"converting failed: {failed}", isinstance(failed, ChildDied)
        artifacts = _for_each_signature(source, target, variant, None)
    if log.is_file() and log.stat().st_size == 0:
        log.unlink()
    artifacts = [_noted(artifact, source.notes) for artifact in artifacts]
    artifacts += [
        Artifact(target=target, variant=variant, signature=key, path=None, reason=reason)
        for key, reason in source.refused.items()
    ]
    return Conversion(
        target=target,
        variant=variant,
        artifacts=artifacts,
        error=error,
        crashed=crashed,
        seconds=seconds,
        memory_mb=memory_mb,
    )


def failed(source: Source, target: str, variant: str, why: str) -> Conversion:
    """The conversion that could not be done at all, and why."""
    artifacts = _for_each_signature(source, target, variant, None)
    return Conversion(target=target, variant=variant, artifacts=artifacts, error=f"converting failed: {why}")


def _noted(artifact: Artifact, notes: Sequence[str]) -> Artifact:
    """The artifact, saying how the model it was made from differs from the one that was given."""
    if artifact.path is None or not notes:
        return artifact
    said = [artifact.reason] if artifact.reason else []
    return artifact.model_copy(update={"reason": "; ".join([*said, *notes])})


def _for_each_signature(source: Source, target: str, variant: str, reason: str | None) -> list[Artifact]:
    return [
        Artifact(target=target, variant=variant, signature=key, path=None, reason=reason) for key in source.signatures
    ]


def log_of(target: str, variant: str, work: str = "convert") -> str:
    """Where the log of a conversion (or, as `work`, of examining its layers) is, in the release."""
    return f"logs/{target}-{variant}-{work}.log"
