"""Run artifacts in the runtimes that must run them, and in those that a machine may have, each in child processes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from converters.contract.errors import ChildTimedOut, FanoutError, MissingRuntime
from converters.contract.settings import Limits
from converters.contract.target import Cases, Runtime
from converters.contract.values import Artifact, CheckResult, Prediction
from converters.processes import child, resident
from converters.steps.unit import Unit

T = TypeVar("T")


class Children:
    """Runs functions in child processes within `limits`; `memory_mb` is the most that one of them held of its own."""

    def __init__(self, limits: Limits, log: Path | None) -> None:
        self._limits, self._log = limits, log
        self.memory_mb = 0.0

    def run(self, function: Callable[..., T], *arguments: Any, stays: str | None, fresh: bool) -> T:
        """In a child of a kind that stays, or in one of its own, whose output goes to the log. Raises FanoutError."""
        if stays is not None:
            done = resident.run(stays, function, *arguments, limits=self._limits, fresh=fresh)
        else:
            done = child.run(function, *arguments, limits=self._limits, log=self._log, fresh=fresh)
        self.memory_mb = max(self.memory_mb, done.memory_mb)
        return done.value


def key_of(artifact: Artifact) -> str:
    """The key of an artifact's signature; '' for a file of weights."""
    return artifact.signature or ""


def run(
    unit: Unit, sound: Mapping[str, Sequence[Artifact]], cases: Cases, golden: Cases, children: Children
) -> Iterator[tuple[Artifact, Runtime, Prediction | CheckResult]]:
    """What every runtime made of every artifact, or the finding that says why it made nothing.

    Args:
        sound: the artifacts that each runtime must run. What one lacks a kernel for is run by its `instead`.
        cases: the inputs; golden's come last, since latency is measured on the last.
        golden: golden's alone, for the optional runtimes, which are looked for where anything is sound.
    """
    target = unit.definition
    waiting = {name: list(artifacts) for name, artifacts in sound.items()}
    ran: set[tuple[str, str]] = set()
    while waiting:
        runtime = target.runtime(next(iter(waiting)))
        ready = [each for each in waiting.pop(runtime.name) if (runtime.name, key_of(each)) not in ran]
        for artifact, prediction in zip(ready, _predict(unit, ready, runtime, cases, children), strict=True):
            ran.add((runtime.name, key_of(artifact)))
            if isinstance(prediction, Prediction) and prediction.lacks and runtime.instead is not None:
                waiting.setdefault(runtime.instead, []).append(artifact)
                yield artifact, runtime, _lacking(prediction, runtime.instead)
            else:
                yield artifact, runtime, prediction
    everything = list({key_of(each): each for artifacts in sound.values() for each in artifacts}.values())
    for runtime in target.runtimes if everything else ():
        if runtime.find is not None:
            predictions = _if_there(unit, everything, runtime, runtime.find, golden, children)
            yield from ((artifact, runtime, each) for artifact, each in zip(everything, predictions, strict=True))


def _predict(
    unit: Unit, artifacts: Sequence[Artifact], runtime: Runtime, cases: Cases, children: Children
) -> list[Prediction | CheckResult]:
    """A prediction for each artifact, or the finding that says why there is none.

    Where the child that ran them all together came to grief, each runs in a child of its own, so that a bad file fails
    its own row alone.
    """
    if not artifacts:
        return []
    try:
        return list(_run(unit, artifacts, runtime, cases, children))
    except MissingRuntime as error:
        return [CheckResult(name="runs", runtime=runtime.name, status="not_run", detail=str(error)) for _ in artifacts]
    except FanoutError as error:
        if len(artifacts) > 1 and not isinstance(error, ChildTimedOut):
            return [_predict(unit, [artifact], runtime, cases, children)[0] for artifact in artifacts]
        return [CheckResult(name="runs", runtime=runtime.name, status="failed", detail=str(error)) for _ in artifacts]


def _if_there(
    unit: Unit,
    artifacts: Sequence[Artifact],
    runtime: Runtime,
    find: Callable[[], object],
    cases: Cases,
    children: Children,
) -> Sequence[Prediction | CheckResult]:
    """What a runtime that a machine may lack makes of each artifact, or that there is none to ask."""
    try:
        find()
        return _run(unit, artifacts, runtime, cases, children)
    except MissingRuntime as error:
        required = unit.options.requires(runtime.name)
        finding = CheckResult(
            name=runtime.name,
            runtime=runtime.program,
            status="failed" if required else "not_run",
            detail=f"the config requires it, but {error}" if required else str(error),
            required=required,
        )
    except FanoutError as error:
        finding = CheckResult(name=runtime.name, runtime=runtime.program, status="failed", detail=str(error))
    return [finding for _ in artifacts]


def _run(
    unit: Unit, artifacts: Sequence[Artifact], runtime: Runtime, cases: Cases, children: Children
) -> list[Prediction]:
    asked = {key_of(artifact): cases[key_of(artifact)] for artifact in artifacts}
    return children.run(runtime.run, artifacts, asked, unit.limits.seconds, stays=runtime.stays, fresh=runtime.fresh)


def _lacking(prediction: Prediction, instead: str) -> CheckResult:
    """The finding that a runtime has no kernel for the artifact, which `instead` must run in its place."""
    detail = f"{prediction.error} Checked in {instead} in its place."
    return CheckResult(name="runs", runtime=prediction.runtime, status="not_run", detail=detail, required=False)
