"""Judging the files of a release on inputs of their users', which nobody recorded: found by tests as `samples` is."""

from collections.abc import Sequence
from pathlib import Path

import field_models
import numpy as np
import samples
from samples import Sample

from converters.config.spec import ModelSpec
from converters.contract.target import Runtime
from converters.contract.values import Artifact, Case, CheckResult, Prediction, Tensors
from converters.processes import child, resident
from converters.reference import compare
from converters.release.manifest import Row
from converters.steps.judging import Judge
from converters.steps.unit import plan
from converters.targets.registry import TARGETS

CODE = Path(field_models.__file__).read_text()


def rows(sample: Sample) -> list[tuple[Row, list[CheckResult]]]:
    """Every row of a model of `field_models`, and what was found wrong on fresh inputs in a row that passed."""
    _, _, name = sample.spec.model.rpartition(":")
    calls = [{key: np.asarray(value) for key, value in call.items()} for call in field_models.FRESH[name]()]
    cases = child.run(_answered, sample.spec, calls, limits=sample.spec.limits).value
    found = []
    for target, variant in plan(sample.source, sample.spec):
        made = samples.converted(sample, target, variant)
        for row in made.check():
            passed = row.status == "passed" and row.path is not None and row.signature is not None
            found.append((row, _wrong(sample, row, made.root / str(row.path), cases) if passed else []))
    return found


def _answered(spec: ModelSpec, calls: Sequence[Tensors]) -> list[Case]:
    """What the live model returns."""
    from converters.source.bring_up import bring_up

    (endpoint,) = bring_up(spec).endpoints.values()
    endpoint.trace()
    return [Case(inputs=call, outputs=endpoint.answer(call)) for call in calls]


def _wrong(sample: Sample, row: Row, path: Path, cases: Sequence[Case]) -> list[CheckResult]:
    target, key = TARGETS[row.target], row.signature or ""
    artifact = Artifact(target=row.target, variant=row.variant, signature=row.signature, path=path)
    structure = child.run(target.inspect, artifact, limits=sample.spec.limits).value
    bounds = Judge(samples.unit_of(sample, row.target, row.variant, path.parent), sample.golden, None).bounds
    found = []
    for name in structure.runtimes:
        answer = _asked(sample, artifact, target.runtime(name), [case.inputs for case in cases])
        if answer.lacks and (instead := target.runtime(name).instead) is not None:
            answer = _asked(sample, artifact, target.runtime(instead), [case.inputs for case in cases])
        assert answer.error is None, answer.error
        found += compare.compare(cases, answer, sample.source.signatures[key], target.holds, bounds)
    return [result for result in found if result.status != "passed"]


def _asked(sample: Sample, artifact: Artifact, runtime: Runtime, calls: Sequence[Tensors]) -> Prediction:
    arguments = ([artifact], {artifact.signature or "": calls}, sample.spec.limits.seconds)
    kind = runtime.stays or runtime.name
    (answer,) = resident.run(kind, runtime.run, *arguments, limits=sample.spec.limits, fresh=runtime.fresh).value
    return answer
