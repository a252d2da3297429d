"""Convert one variant of one target in a child process, whatever becomes of it."""

from pathlib import Path

from converters.contract import Artifact, Frozen, Options, Source
from converters.errors import FanoutError, Unsupported
from converters.isolate import run
from converters.spec import ModelSpec
from converters.targets import TARGETS


class Conversion(Frozen):
    """What became of converting one variant: artifacts, or the error that ended it; a row for each signature.

    `seconds` were spent inside the child, which held `memory_mb` of its own at most.
    """

    target: str
    variant: str
    artifacts: list[Artifact]
    error: str | None = None
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
    error, seconds, memory_mb = None, 0.0, 0.0
    try:
        done = run(converter.convert, source, variant, out_dir, options, limits=spec.limits, log=log)
        artifacts, seconds, memory_mb = done.value, done.seconds, done.memory_mb
    except Unsupported as unsupported:
        artifacts = _for_each_signature(source, target, variant, str(unsupported))
    except FanoutError as failed:
        error = f"converting failed: {failed}"
        artifacts = _for_each_signature(source, target, variant, None)
    if log.is_file() and log.stat().st_size == 0:
        log.unlink()
    return Conversion(
        target=target,
        variant=variant,
        artifacts=artifacts,
        error=error,
        seconds=seconds,
        memory_mb=memory_mb,
    )


def _for_each_signature(source: Source, target: str, variant: str, reason: str | None) -> list[Artifact]:
    return [
        Artifact(target=target, variant=variant, signature=key, path=None, reason=reason) for key in source.signatures
    ]


def log_of(target: str, variant: str) -> str:
    """Where a conversion's log is, in the release."""
    return f"logs/{target}-{variant}-convert.log"
