"""Run artifacts in the runtimes that must run them, and in those that a machine may have, each in child processes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from converters.contract.errors import ChildDied, ChildTimedOut, FanoutError, MissingRuntime
from converters.contract.settings import Limits
from converters.contract.target import Cases, Runtime, Target
from converters.contract.values import Artifact, CheckResult, Prediction
from converters.processes import child, resident
from converters.reference import cost
from converters.steps.unit import Unit

T = TypeVar("T")

SHARE = 1 / 20
"""Of the time limit of a child process: so long may golden's calls of one artifact take in one runtime, as is foreseen for a
slow machine; 30 s where the config says nothing."""


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


@dataclass(frozen=True)
class Asked:
    """What runtimes are asked: `cases` are golden's calls, in which others may come before them, and `works` their costs.

    Calls of which that is not known, or not of all, are made in any case.
    """

    cases: Cases
    golden: Cases
    works: cost.Works

    def of(self, runtime: Runtime, key: str, seconds: float, *, spared: bool = False) -> tuple[int, ...]:
        """The indices of the calls that a runtime is asked for; none where each takes too long. `seconds` is the time limit.

        Of those, one that is spared is asked for the last. One that may be missing is asked for golden's alone.
        """
        works, before = self.works.get(key, ()), len(self.cases[key]) - len(self.golden[key])
        calls = tuple(range(before if runtime.optional else 0, len(self.cases[key])))
        if runtime.pace is not None and len(works) == len(calls):
            affordable = cost.affordable(works, runtime.pace * seconds * SHARE)
            calls = tuple(calls[index] for index in affordable)
        return calls[-1:] if spared else calls


def run(
    unit: Unit, sound: Mapping[str, Sequence[Artifact]], asked: Asked, children: Children
) -> Iterator[tuple[Artifact, Runtime, Prediction | CheckResult]]:
    """What every runtime made of every artifact, or the finding that says why it made nothing.

    Args:
        sound: the artifacts that each runtime must run, or if it is optional may. What one lacks a kernel for, or takes too
            long for, is run by its `instead`.
        asked: the inputs; golden's come last, since latency is measured on the last.
    """
    target = unit.definition
    waiting = {name: list(artifacts) for name, artifacts in sound.items() if not target.runtime(name).optional}
    ran: set[tuple[str, str]] = set()
    while waiting:
        runtime = target.runtime(next(iter(waiting)))
        wanted = [each for each in waiting.pop(runtime.name) if (runtime.name, key_of(each)) not in ran]
        ran |= {(runtime.name, key_of(artifact)) for artifact in wanted}
        why = _spared(unit, runtime, children) if wanted else None
        calls = {
            key_of(each): asked.of(runtime, key_of(each), unit.limits.seconds, spared=why is not None)
            for each in wanted
        }
        for artifact in (each for each in wanted if not calls[key_of(each)]):
            instead = _faster(target, runtime)
            if instead is not None:
                waiting.setdefault(instead, []).append(artifact)
            yield artifact, runtime, _too_slow(runtime, min(asked.works[key_of(artifact)]), unit.limits, instead)
        ready = [each for each in wanted if calls[key_of(each)]]
        chosen = {key: [asked.cases[key][index] for index in indices] for key, indices in calls.items()}
        for artifact, answer in zip(ready, _predict(unit, ready, runtime, chosen, children), strict=True):
            if isinstance(answer, CheckResult):
                yield artifact, runtime, answer
                continue
            prediction = _of_calls(answer, calls[key_of(artifact)], len(asked.cases[key_of(artifact)]), why)
            if prediction.spared and runtime.instead is not None:
                waiting.setdefault(runtime.instead, []).append(artifact)
            if prediction.lacks and runtime.instead is not None:
                waiting.setdefault(runtime.instead, []).append(artifact)
                yield artifact, runtime, _lacking(prediction, runtime.instead)
            else:
                yield artifact, runtime, prediction
    for name, artifacts in sound.items():
        if target.runtime(name).optional:
            yield from _if_there(unit, artifacts, target.runtime(name), asked, children)


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
        if isinstance(error, ChildDied) and runtime.instead is not None:
            # What a kernel does not refuse may end it; what the artifact is to blame for ends the others too.
            said = " ".join(str(error).split())
            return [Prediction(runtime=runtime.name, error=f"{said.rstrip('.!')}.", lacks=True) for _ in artifacts]
        return [CheckResult(name="runs", runtime=runtime.name, status="failed", detail=str(error)) for _ in artifacts]


def _if_there(
    unit: Unit,
    artifacts: Sequence[Artifact],
    runtime: Runtime,
    asked: Asked,
    children: Children,
) -> Iterator[tuple[Artifact, Runtime, Prediction | CheckResult]]:
    """What a runtime that a machine may lack makes of each artifact, or that there is none to ask, or that it lacks something."""
    assert runtime.find is not None
    required = unit.options.requires(runtime.name)
    calls = {key_of(each): asked.of(runtime, key_of(each), unit.limits.seconds) for each in artifacts}
    ready = [each for each in artifacts if calls[key_of(each)]]
    for artifact in (each for each in artifacts if not calls[key_of(each)]):
        slow = _too_slow(runtime, min(asked.works[key_of(artifact)]), unit.limits, None)
        yield artifact, runtime, slow.model_copy(update={"required": required})
    chosen = {key: [asked.cases[key][index] for index in indices] for key, indices in calls.items()}
    try:
        runtime.find()
        answers = _run(unit, ready, runtime, chosen, children) if ready else []
        for artifact, answer in zip(ready, answers, strict=True):
            prediction = _of_calls(answer, calls[key_of(artifact)], len(asked.cases[key_of(artifact)]), None)
            limit = prediction.lacks and not required
            yield artifact, runtime, _lacking(prediction, None) if limit else prediction
        return
    except (MissingRuntime, ChildDied) as error:  # what it lacks may end it too
        finding = CheckResult(
            name=runtime.name,
            runtime=runtime.program,
            status="failed" if required else "not_run",
            detail=f"the config requires it, but {error}" if required else str(error),
            required=required,
        )
    except FanoutError as error:
        finding = CheckResult(name=runtime.name, runtime=runtime.program, status="failed", detail=str(error))
    yield from ((artifact, runtime, finding) for artifact in ready)


def _run(
    unit: Unit, artifacts: Sequence[Artifact], runtime: Runtime, cases: Cases, children: Children
) -> list[Prediction]:
    asked = {key_of(artifact): cases[key_of(artifact)] for artifact in artifacts}
    return children.run(runtime.run, artifacts, asked, unit.limits.seconds, stays=runtime.stays, fresh=runtime.fresh)


def _faster(target: Target[Any], runtime: Runtime) -> str | None:
    """The runtime that runs what takes another too long."""
    instead = target.runtime(runtime.instead) if runtime.instead is not None else None
    faster = instead is not None and (instead.pace is None or instead.pace > (runtime.pace or 0))
    return runtime.instead if faster else None


def _spared(unit: Unit, runtime: Runtime, children: Children) -> str | None:
    """Why a runtime is asked for no more than the last call; one that cannot say will be told of when it is to run."""
    if runtime.spared is None or unit.options.asks_all_of(runtime.name):
        return None
    try:
        return children.run(runtime.spared, stays=runtime.stays, fresh=runtime.fresh)
    except FanoutError:
        return None


def _of_calls(answer: Prediction, calls: tuple[int, ...], every: int, spared: str | None) -> Prediction:
    """The answer, which says which of the calls it is for if it is not for all, and why it was spared the others."""
    if len(calls) == every:
        return answer
    answered = calls if answer.answered is None else tuple(calls[index] for index in answer.answered)
    also = [_of_calls(each, calls, every, spared) for each in answer.also]
    return answer.model_copy(update={"answered": answered, "spared": spared, "also": also})


def _too_slow(runtime: Runtime, work: int, limits: Limits, instead: str | None) -> CheckResult:
    """The finding that a runtime takes too long for a single call, which `instead` must make in its place, if there is one."""
    assert runtime.pace is not None
    allowed = limits.seconds * SHARE
    raised = work / runtime.pace / SHARE
    detail = (
        f"one call is {work / 1e9:.3g} thousand million multiply-adds, of which {runtime.name} does {runtime.pace / 1e9:.3g} a "
        f"second on a slow machine, and {allowed:.0f} s are allowed; "
    )
    remedy = f"set limits.seconds to {raised:.0f} or more, or give golden inputs of a smaller size"
    detail += f"checked in {instead} in its place" if instead is not None else remedy
    return CheckResult(name="runs", runtime=runtime.name, status="not_run", detail=detail, required=instead is None)


def _lacking(prediction: Prediction, instead: str | None) -> CheckResult:
    """The finding that a runtime has no kernel for the artifact, which `instead` must run in its place, if there is one."""
    detail = f"{prediction.error} Checked in {instead} in its place." if instead is not None else prediction.error or ""
    return CheckResult(name="runs", runtime=prediction.runtime, status="not_run", detail=detail, required=False)
