"""Is what a runtime returned what the live model computed? Findings, by the one comparison there is."""

from collections.abc import Sequence

from converters.contract.errors import FanoutError
from converters.contract.settings import Quality, Tolerance
from converters.contract.soundness import Soundness
from converters.contract.target import Cases, Runtime
from converters.contract.values import Artifact, Case, CheckResult, Prediction, Signature, Tensors, TensorSpec
from converters.formats import precision
from converters.formats.dtypes import dtype_name, lost
from converters.reference import compare, coverage, variation
from converters.reference.answers import Answer, answers
from converters.reference.bounds import Bounds
from converters.reference.golden import VARIABLES, Golden, expected_variables, in_sizes
from converters.reference.labelled import Evaluation
from converters.steps.running import Asked, key_of
from converters.steps.unit import Unit

_WEIGHTS = Signature(inputs={}, outputs={VARIABLES: TensorSpec(shape=(None,), dtype="string")})
"""A weights file is compared as if it were a signature without inputs whose output is the list of variables."""


class Judge:
    """Compares with golden, and with the live model's metric where there is labelled data."""

    def __init__(self, unit: Unit, golden: Golden, evaluation: Evaluation | None) -> None:
        self._unit = unit
        self._coverage = golden.coverage
        self.data = golden.data
        self._quality = unit.options.of(unit.options.quality, unit.variant) or Quality()
        self._evaluation = evaluation.first(unit.options.evaluation_samples) if evaluation is not None else None
        given = unit.source.signatures
        self._sized = {key for key, each in unit.signatures.items() if each != given[key]}
        if self._evaluation is not None and (key := self._evaluation.signature) in self._sized:
            self._evaluation = self._evaluation.in_sizes(given[key], unit.signatures[key])
        self._precision = golden.precision
        self.bounds = Bounds(
            tolerance=self._tolerance_of(unit.variant),
            quality=self._quality,
            lossy=unit.kind.quality is not None,
            worst=unit.options.of(unit.options.tolerance, unit.variant) is not None,
            classifiers=unit.spec.classifiers,
        )
        self.signatures = {**unit.signatures, "": _WEIGHTS}
        works = {key: works for key, works in golden.works.items() if key not in self._sized}
        cases = {
            key: in_sizes(each, given[key], unit.signatures[key], apart=golden.apart.get(key, False))
            if key in self._sized
            else each
            for key, each in golden.cases.items()
        }
        # What was drawn may be more than a target's dtypes hold; what was given it must take.
        self._kept: dict[str, Sequence[int]] = {
            key: [number for number, case in enumerate(each) if golden.data.get(key) == "given" or self._holds(case)]
            or range(len(each))
            for key, each in cases.items()
        }
        self._works = {key: [each[number] for number in self._kept[key]] for key, each in works.items() if each}
        cases = {key: [cases[key][number] for number in numbers] for key, numbers in self._kept.items()}
        self._cases: dict[str, list[Case]] = {**cases, "": expected_variables(golden)}

    def _holds(self, case: Case) -> bool:
        """Whether the target has numbers for all of a call's inputs."""
        holds = self._unit.definition.holds
        narrowed = [value for value in case.inputs.values() if holds(dtype_name(value)) != dtype_name(value)]
        return not any(lost(value, holds(dtype_name(value))).any() for value in narrowed)

    @property
    def golden(self) -> Cases:
        """The inputs of golden, by signature key."""
        return {key: [case.inputs for case in cases] for key, cases in self._cases.items()}

    def cases_of(self, key: str) -> Sequence[Case]:
        """Golden's calls of a signature, in the variant's sizes."""
        return self._cases.get(key, ())

    @property
    def asked(self) -> Asked:
        """What runtimes are asked: the inputs of labelled data, and then golden's."""
        cases = {key: [case.inputs for case in (*self._labelled(key), *cases)] for key, cases in self._cases.items()}
        return Asked(cases, self.golden, self._works)

    def lacking(self, artifact: Artifact) -> CheckResult | None:
        """The finding that there is nothing to compare an artifact with, where golden has no call of its sizes."""
        key = key_of(artifact)
        if key not in self._sized or self._cases.get(key):
            return None
        sizes = ", ".join(f"{name} {list(spec.shape or ())}" for name, spec in self.signatures[key].inputs.items())
        detail = f"golden has no call of the sizes {sizes}; give samples of them, or leave golden.data out and have them drawn"
        return CheckResult(name="values", runtime="golden", status="failed", detail=detail)

    def findings(self, artifact: Artifact, runtime: Runtime, prediction: Prediction | CheckResult) -> list[CheckResult]:
        """What one runtime's answer says of an artifact."""
        if isinstance(prediction, CheckResult):
            return [prediction]
        if prediction.ran is not None:
            ran = CheckResult(name=runtime.name, runtime=prediction.runtime, status="passed", detail=prediction.ran)
            return [ran, *self._compare_others(artifact, prediction)]
        labelled, alone = self._parted(artifact, prediction)
        compared = [*self._compare(artifact, alone), *self._compare_others(artifact, prediction)]
        if labelled is not None and all(check.status == "passed" for check in compared if check.name == "outputs"):
            compared.append(self._metric(labelled, compared[0].runtime))
        return compared

    def of_the_data(
        self, artifact: Artifact, found: Sequence[CheckResult], constant: Sequence[str]
    ) -> list[CheckResult]:
        """What the inputs themselves are worth: whether a comparison with them can fail, and what they reach."""
        key, findings = key_of(artifact), []
        if self._labelled(key) and not any(c.name == "metric" or c.status == "failed" for c in found):
            detail = "none of its runtimes takes labelled data"
            findings.append(CheckResult(name="metric", runtime="labelled", status="not_run", detail=detail))
        if artifact.signature is not None and self._cases.get(key):
            cases, signature = self._cases[key], self.signatures[key]
            if not self.bounds.lossy:
                findings.append(variation.check(cases, signature, self.bounds.tolerance, constant))
            findings.append(coverage.check(cases, signature, self._coverage.get(key)))
        return findings

    def lossless(self, artifact: Artifact, soundness: Soundness, returned: Sequence[Prediction]) -> list[CheckResult]:
        """Whether a lossless file computes what the live model does, and each runtime what the lossy one's twin does.

        `returned` is what the runtimes did for the lossy file.
        """
        if soundness.lossless is None or soundness.model is None or soundness.twin is None:
            return []
        key, bounds = key_of(artifact), Bounds(tolerance=self._tolerance_of(soundness.lossless))
        number = self.answered(artifact, returned)
        live = self._cases[key][number]
        twin = live.model_copy(update={"outputs": soundness.twin.outputs[0]})
        told = f"{soundness.lossless} against the live model"
        findings = [self._same(key, number, live, soundness.model, bounds, told)]
        for prediction in returned:
            _, alone = self._parted(artifact, prediction)
            if alone.error is None:
                told = f"against {soundness.lossless} with its weights, in {soundness.twin.runtime}"
                place = number if alone.answered is None else alone.answered.index(number)
                answer = alone.model_copy(update={"outputs": alone.outputs[place : place + 1]})
                findings.append(self._same(key, number, twin, answer, bounds, told))
        return findings

    def _same(self, key: str, number: int, case: Case, answer: Prediction, bounds: Bounds, told: str) -> CheckResult:
        """Whether the answer is what the case says, in place of golden's of that number: what is wrong, or the largest error.

        Of one sample the outputs may all be small; the scale is that of all of golden.
        """
        cases = [*self._cases[key][:number], case, *self._cases[key][number + 1 :]]
        first = answer.model_copy(update={"answered": (number,), "spared": None, "times_ms": ()})
        found = compare.compare(cases, first, self.signatures[key], self._unit.definition.holds, bounds)
        failed = [finding for finding in found if finding.status != "passed"]
        worst = (
            failed[0]
            if failed
            else max(found, key=lambda finding: -1.0 if finding.measured is None else finding.measured)
        )
        return worst.model_copy(
            update={"name": "sound", "detail": f"{told}: {worst.detail}", "output": None, "figures": {}}
        )

    def _tolerance_of(self, variant: str) -> Tolerance:
        default = precision.allowing(self._unit.definition.variant(variant).tolerance, self._precision)
        return self._unit.options.of(self._unit.options.tolerance, variant) or default

    def inputs_of(self, artifact: Artifact, call: int) -> Tensors:
        """Those of golden's call of that number, of the artifact's signature."""
        return self._cases[key_of(artifact)][call].inputs

    def answered(self, artifact: Artifact, returned: Sequence[Prediction]) -> int:
        """The number of golden's call that all of these answered: the first, or else the last; special ones are between them."""
        alone = [self._parted(artifact, one)[1] for one in returned if one.error is None]
        each = [set(one.answered) for one in alone if one.answered is not None]
        common = set.intersection(*each) if each else {0}
        return 0 if 0 in common else max(common, default=0)

    def answers(self, artifact: Artifact, returned: Sequence[Prediction]) -> tuple[Answer, ...]:
        """What it answered to single samples; nothing where there is no file, or its sizes are not those of golden's calls."""
        key = key_of(artifact)
        if artifact.path is None or artifact.signature is None or key in self._sized:
            return ()
        signature, cases = self.signatures[key], self._cases[key]
        golden = [self._parted(artifact, each)[1] for each in returned]
        whole = [each for each in golden if compare.is_whole(cases, each, signature, self._unit.definition.holds)]
        numbers = self._kept[key]
        return tuple(
            answer.model_copy(update={"case": numbers[answer.case]}) for answer in answers(signature, cases, whole)
        )

    def calibrates(self, key: str) -> bool:
        """Whether golden's first call is among what was calibrated on.

        There may be other inputs for that, as there are where the sizes of those that were drawn are free.
        """
        free = any(None in (spec.shape or (None, None))[1:] for spec in self.signatures[key].inputs.values())
        return self._unit.spec.representative is None and (self.data.get(key) == "given" or not free)

    def _labelled(self, key: str) -> list[Case]:
        """The calls of labelled data, for the signature that has them."""
        return self._evaluation.calls if self._evaluation is not None and self._evaluation.signature == key else []

    def _parted(self, artifact: Artifact, prediction: Prediction) -> tuple[list[Tensors] | None, Prediction]:
        """The outputs for labelled data, where there are any, and the prediction for golden alone.

        A runtime that brings its own inputs cannot be given labelled data.
        """
        count = len(self._labelled(key_of(artifact)))
        if prediction.error is not None or not count:
            return None, prediction
        if prediction.answered is not None:
            answered = tuple(number - count for number in prediction.answered if number >= count)
            others = len(prediction.answered) - len(answered)
            return None, prediction.model_copy(update={"answered": answered, "outputs": prediction.outputs[others:]})
        golden_alone = prediction.model_copy(update={"outputs": prediction.outputs[count:]})
        return prediction.outputs[:count], golden_alone

    def _compare_others(self, artifact: Artifact, prediction: Prediction) -> list[CheckResult]:
        """Of what a runtime was asked in other ways it may lack something."""
        findings = []
        for each in (self._parted(artifact, each)[1] for each in prediction.also):
            limit = CheckResult(
                name="runs", runtime=each.runtime, status="not_run", detail=each.error or "", required=False
            )
            findings += [limit] if each.lacks else self._compare(artifact, each)
        return findings

    def _compare(self, artifact: Artifact, prediction: Prediction) -> list[CheckResult]:
        if prediction.error is not None:
            return [CheckResult(name="runs", runtime=prediction.runtime, status="failed", detail=prediction.error)]
        key = key_of(artifact)
        # What is lost is a matter of all samples: of one that was spared, another in its place answered those.
        bounds = self.bounds.model_copy(update={"limited": self._limits_loss(key) and prediction.spared is None})
        return compare.compare(self._cases[key], prediction, self.signatures[key], self._unit.definition.holds, bounds)

    def _limits_loss(self, key: str) -> bool:
        """What a variant loses on inputs that somebody made up says little of what it does in use.

        Where nothing else says that it is converted right, it is a limit all the same.
        """
        return self.data.get(key) == "given" or self._unit.definition.sound is None

    def _metric(self, outputs: Sequence[Tensors], runtime: str) -> CheckResult:
        """The metric of labelled data in one runtime, against the live model's on the same samples."""
        assert self._evaluation is not None
        if (why := self._evaluation.withheld) is not None:
            return CheckResult(name="metric", runtime=runtime, status="not_run", detail=why, required=False)
        spec, samples, limits = self._evaluation.spec, len(self._evaluation.labels), self._unit.limits
        try:
            value, live = self._evaluation.score(outputs, limits), self._evaluation.live(limits)
        except FanoutError as error:
            return CheckResult(name="metric", runtime=runtime, status="failed", detail=str(error))
        max_drop = spec.max_drop if self._quality.max_drop is None else self._quality.max_drop
        higher = spec.better == "higher"
        return compare.check_metric(spec.name, runtime, value, live, max_drop, higher=higher, samples=samples)
