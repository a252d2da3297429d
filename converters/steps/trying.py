"""Try what was just converted in its runtime: what a target cannot hold is found here, and is unsupported, not failed.

A conversion cannot grade itself: what passes here is checked like everything else, and what falls short is unsupported only
where the target says which layer of the runtime's is at fault. Anything else is left for the checks to fail.
"""

from collections.abc import Sequence

from converters.contract.errors import FanoutError
from converters.contract.target import Runtime, Trial, Trouble
from converters.contract.values import Artifact, CheckResult, Prediction
from converters.reference import golden
from converters.release.files import files_of
from converters.steps import running
from converters.steps.judging import Judge
from converters.steps.running import Children, key_of
from converters.steps.unit import Unit


def tried(unit: Unit, trial: Trial, artifacts: Sequence[Artifact], children: Children) -> list[Artifact]:
    """The artifacts, and in place of those that the runtime cannot hold, whose files are removed, the reason."""
    judge = Judge(unit, golden.load(unit.source.golden), None)
    held = [artifact for artifact in artifacts if artifact.path is not None]
    reasons = {}
    for artifact, runtime, answer in running.run(unit, {trial.runtime: held}, judge.asked, children):
        trouble = _trouble(judge, artifact, runtime, answer)
        if trouble is not None:
            try:
                cause = children.run(trial.cause, unit.source, artifact, trouble, stays=None, fresh=False)
            except FanoutError:  # what is wrong is said by the checks, which run into the same
                continue
            if cause is not None:
                reasons[artifact.signature] = cause
    return [_refused(each, reasons[each.signature]) if each.signature in reasons else each for each in artifacts]


def _trouble(judge: Judge, artifact: Artifact, runtime: Runtime, answer: Prediction | CheckResult) -> Trouble | None:
    """What was wrong with a runtime's answer; None where nothing was, or there is none."""
    error = answer.detail if isinstance(answer, CheckResult) else answer.error
    if isinstance(answer, CheckResult) and answer.status == "not_run":
        return None
    if all(finding.status != "failed" for finding in judge.findings(artifact, runtime, answer)):
        return None
    return Trouble(judge.golden[key_of(artifact)], judge.bounds.tolerance, error)


def _refused(artifact: Artifact, reason: str) -> Artifact:
    assert artifact.path is not None
    for file in files_of(artifact.path):
        file.unlink()
    if artifact.path.name == "model.json":
        artifact.path.parent.rmdir()
    return artifact.model_copy(update={"path": None, "reason": reason})
