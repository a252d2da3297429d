"""Check one conversion: inspect each file, run it in every runtime it is meant for, compare with golden.

Where there is labelled data, each runtime computes it too. Where a variant that loses something on purpose fell short,
its layers are examined.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from converters.contract.errors import ChildTimedOut, FanoutError, MissingRuntime
from converters.contract.values import (
    SAVED_MODEL,
    Artifact,
    Case,
    CheckResult,
    Converter,
    Examiner,
    Limits,
    Options,
    Prediction,
    Quality,
    Service,
    Signature,
    Structure,
    Tensors,
    TensorSpec,
    Tolerance,
)
from converters.formats import precision
from converters.processes import resident
from converters.processes.child import Completed, run
from converters.reference import compare, coverage
from converters.reference import golden as golden_data
from converters.reference.golden import VARIABLES, Golden
from converters.reference.labelled import Evaluation
from converters.release.manifest import Losses, Row, row
from converters.steps.convert import Conversion, log_of
from converters.targets.registry import TARGETS

T = TypeVar("T")

_WEIGHTS = Signature(inputs={}, outputs={VARIABLES: TensorSpec(shape=(None,), dtype="string")})
"""A weights file is compared as if it were a signature without inputs whose output is the list of variables."""

_SERVED = 0.8
"""The share of a child's time limit that a server has, so that it is stopped, and says why, before the child is."""


def check(
    conversion: Conversion,
    signatures: Mapping[str, Signature],
    golden: Golden,
    options: Options,
    limits: Limits,
    root: Path,
    constant: Sequence[str] = (),
    classifiers: Sequence[str] = (),
    evaluation: Evaluation | None = None,
    *,
    keep_log: bool = True,
    log: Path | None = None,
) -> list[Row]:
    """One row for each artifact, with every check's finding. `root` is the directory that rows' paths are relative to.

    `constant` and `classifiers` are outputs that the config declares to be so. With `keep_log`, what examining layers
    printed is kept below `root`, where nothing else is written. What the other child processes print is appended to
    `log`, where one is given.
    """
    started = time.monotonic()
    converter = TARGETS[conversion.target]
    held = [artifact for artifact in conversion.artifacts if artifact.path is not None]
    checker = _Checker(converter, conversion.variant, signatures, golden, options, limits, classifiers, evaluation, log)
    found = checker.check(held, constant) if held else {}
    losses = {index(a): checker.examine(a, found[index(a)], root, keep_log) for a in held}
    seconds = {"convert": round(conversion.seconds, 3), "check": round(time.monotonic() - started, 3)}
    memory_mb = {"convert": conversion.memory_mb, "check": checker.memory_mb}
    return [
        row(
            artifact,
            found.get(index(artifact), []),
            conversion.error,
            seconds,
            root,
            losses=losses.get(index(artifact)) if artifact.path is not None else None,
            memory_mb=memory_mb,
        )
        for artifact in conversion.artifacts
    ]


def prepare(targets: Mapping[str, Options], limits: Limits) -> None:
    """Start the children that checks of these targets keep, while there is time, unless somebody did before."""
    for name, options in targets.items():
        converter = TARGETS[name]
        for runtime in options.chosen_runtimes() or tuple(converter.KEPT):
            kind = converter.KEPT.get(runtime)
            if kind is None or not resident.first(f"{kind} for {runtime}"):
                continue
            fresh = runtime in converter.FRESH
            # What cannot be started is the check's to tell, which will try again.
            with contextlib.suppress(FanoutError):
                resident.start(kind, converter.predict, [], {}, runtime, limits=limits, fresh=fresh)


def failed(conversion: Conversion, root: Path, why: str) -> list[Row]:
    """The rows of a conversion that could not be checked at all, and why."""
    seconds, memory_mb = {"convert": round(conversion.seconds, 3)}, {"convert": conversion.memory_mb}
    unchecked = f"checking failed: {why}"
    return [
        row(
            artifact, [], conversion.error or (unchecked if artifact.path else None), seconds, root, memory_mb=memory_mb
        )
        for artifact in conversion.artifacts
    ]


def index(artifact: Artifact) -> str:
    """The key of an artifact's signature; '' for a file of weights."""
    return artifact.signature or ""


def _lacking(prediction: Prediction, instead: str) -> CheckResult:
    """The finding that a runtime has no kernel for the artifact, which `instead` must run in its place."""
    detail = f"{prediction.error} Checked in {instead} in its place."
    return CheckResult(name="runs", runtime=prediction.runtime, status="not_run", detail=detail, required=False)


class _Checker:
    def __init__(
        self,
        converter: Converter,
        variant: str,
        signatures: Mapping[str, Signature],
        golden: Golden,
        options: Options,
        limits: Limits,
        classifiers: Sequence[str],
        evaluation: Evaluation | None,
        log: Path | None,
    ) -> None:
        self.converter = converter
        self.variant = variant
        self.quality = options.quality.get(variant, Quality())
        self.lossy = variant in options.known_quality
        self.classifiers = classifiers
        self.evaluation = evaluation.first(options.evaluation_samples) if evaluation is not None else None
        default = precision.allowing(converter.TOLERANCES[variant], golden.precision)
        self.tolerance: Tolerance = options.tolerance.get(variant) or default
        self.signatures = {**signatures, "": _WEIGHTS}
        self.cases: dict[str, list[Case]] = {**golden.cases, "": golden_data.expected_variables(golden)}
        self.coverage = golden.coverage
        self.limits = limits
        self.runtimes = options.chosen_runtimes()
        self.services = options.services()
        self.log = log
        self.memory_mb = 0.0

    def check(self, artifacts: Sequence[Artifact], constant: Sequence[str]) -> dict[str, list[CheckResult]]:
        found: dict[str, list[CheckResult]] = {index(artifact): [] for artifact in artifacts}
        waiting: dict[str, list[Artifact]] = {}
        sound: list[Artifact] = []
        structures: dict[Path | None, Structure | CheckResult] = {}
        for artifact in artifacts:
            if artifact.path not in structures:
                structures[artifact.path] = self._inspect(artifact)
            structure = structures[artifact.path]
            if isinstance(structure, CheckResult):
                found[index(artifact)].append(structure)
                continue
            found[index(artifact)] += self._structure(artifact, structure)
            if all(result.status == "passed" for result in found[index(artifact)]):
                sound.append(artifact)
                for runtime in self.runtimes or structure.runtimes:
                    waiting.setdefault(runtime, []).append(artifact)
        ran: set[tuple[str, str]] = set()
        while waiting:
            runtime = next(iter(waiting))
            ready = [artifact for artifact in waiting.pop(runtime) if (runtime, index(artifact)) not in ran]
            if not ready:
                continue
            for artifact, prediction in zip(ready, self._predict(ready, runtime), strict=True):
                ran.add((runtime, index(artifact)))
                instead = self.converter.INSTEAD.get(runtime)
                if isinstance(prediction, Prediction) and prediction.lacks and instead is not None:
                    found[index(artifact)].append(_lacking(prediction, instead))
                    waiting.setdefault(instead, []).append(artifact)
                    continue
                labelled, prediction = self._parted(artifact, prediction)
                compared = self._compare(artifact, prediction)
                found[index(artifact)] += compared
                if labelled is not None and all(
                    check.status == "passed" for check in compared if check.name == "outputs"
                ):
                    found[index(artifact)].append(self._metric(labelled, compared[0].runtime))
        for service in self.services if sound else ():
            for artifact, results in zip(sound, self._serve(sound, service), strict=True):
                found[index(artifact)] += results
        for artifact in artifacts:
            key = index(artifact)
            if self._labelled(key) and not any(c.name == "metric" or c.status == "failed" for c in found[key]):
                detail = "none of its runtimes takes labelled data"
                found[key].append(CheckResult(name="metric", runtime="labelled", status="not_run", detail=detail))
            if artifact.signature is not None and self.cases.get(key):
                found[key].append(
                    compare.check_variation(self.cases[key], self.signatures[key], self.tolerance, constant)
                )
                found[key].append(coverage.check(self.cases[key], self.signatures[key], self.coverage.get(key)))
        return found

    def _run(self, function: Callable[..., T], *args: Any, fresh: bool = False) -> T:
        return self._measured(run(function, *args, limits=self.limits, log=self.log, fresh=fresh))

    def _measured(self, done: Completed[T]) -> T:
        self.memory_mb = max(self.memory_mb, done.memory_mb)
        return done.value

    def _inspect(self, artifact: Artifact) -> Structure | CheckResult:
        try:
            return self._measured(resident.run("inspection", self.converter.inspect, artifact, limits=self.limits))
        except FanoutError as error:
            return CheckResult(name="loads", runtime="file", status="failed", detail=str(error))

    def _structure(self, artifact: Artifact, structure: Structure) -> list[CheckResult]:
        key = artifact.signature
        if key is None:
            return []
        declared = structure.signatures.get(key)
        if declared is None:
            listed = ", ".join(sorted(structure.signatures)) or "none"
            detail = f"signature {key!r} is missing; the file has {listed}"
            return [CheckResult(name="names", runtime=structure.reader, status="failed", detail=detail)]
        return compare.compare_structure(self.signatures[key], declared, structure.reader, self.converter.holds)

    def _predict(self, artifacts: Sequence[Artifact], runtime: str) -> list[Prediction | CheckResult]:
        """A prediction for each artifact, or the check that says why there is none.

        Where the child that ran them all together came to grief, each runs in a child of its own, so that a bad file
        fails its own row alone.
        """
        # Golden comes last: on its last case latency is measured.
        inputs = {
            index(a): [case.inputs for case in (*self._labelled(index(a)), *self.cases[index(a)])] for a in artifacts
        }
        try:
            predict = self.converter.predict
            fresh = runtime in self.converter.FRESH
            kind = self.converter.KEPT.get(runtime)
            if kind is not None:
                done = resident.run(kind, predict, artifacts, inputs, runtime, limits=self.limits, fresh=fresh)
                kept_predictions: list[Prediction] = self._measured(done)
                return list(kept_predictions)
            return list(self._run(predict, artifacts, inputs, runtime, fresh=fresh))
        except MissingRuntime as error:
            return [CheckResult(name="runs", runtime=runtime, status="not_run", detail=str(error)) for _ in artifacts]
        except FanoutError as error:
            if len(artifacts) > 1 and not isinstance(error, ChildTimedOut):
                return [self._predict([artifact], runtime)[0] for artifact in artifacts]
            return [CheckResult(name="runs", runtime=runtime, status="failed", detail=str(error)) for _ in artifacts]

    def _serve(self, artifacts: Sequence[Artifact], service: Service) -> list[list[CheckResult]]:
        """What a server makes of each artifact, or why there is none to ask."""
        inputs = {index(a): [case.inputs for case in self.cases[index(a)]] for a in artifacts}
        deadline = time.monotonic() + _SERVED * self.limits.seconds
        try:
            server = service.find()
            with tempfile.TemporaryDirectory(prefix="fanout-") as work:
                answers = self._run(server.predict, artifacts, inputs, Path(work), deadline, fresh=True)
        except MissingRuntime as error:
            missing = CheckResult(
                name=service.name,
                runtime=service.runtime,
                status="failed" if service.required else "not_run",
                detail=f"the config requires it, but {error}" if service.required else str(error),
                required=service.required,
            )
            return [[missing] for _ in artifacts]
        except FanoutError as error:
            broken = CheckResult(name=service.name, runtime=service.runtime, status="failed", detail=str(error))
            return [[broken] for _ in artifacts]
        return [
            [
                CheckResult(name=service.name, runtime=answered.runtime, status="passed", detail=answered.detail),
                *(result for prediction in answered.predictions for result in self._compare(artifact, prediction)),
            ]
            for artifact, answered in zip(artifacts, answers, strict=True)
        ]

    def _labelled(self, key: str) -> list[Case]:
        """The calls of labelled data, for the signature that has them."""
        return self.evaluation.calls if self.evaluation is not None and self.evaluation.signature == key else []

    def _parted(
        self, artifact: Artifact, prediction: Prediction | CheckResult
    ) -> tuple[list[Tensors] | None, Prediction | CheckResult]:
        """The outputs for labelled data, where there are any, and the prediction for golden alone.

        A runtime that brings its own inputs cannot be given labelled data.
        """
        count = len(self._labelled(index(artifact)))
        if isinstance(prediction, CheckResult) or prediction.error is not None or not count:
            return None, prediction
        if prediction.answered is not None:
            answered = tuple(i - count for i in prediction.answered)
            return None, prediction.model_copy(update={"answered": answered})
        golden_alone = prediction.model_copy(update={"outputs": prediction.outputs[count:]})
        return prediction.outputs[:count], golden_alone

    def _compare(self, artifact: Artifact, prediction: Prediction | CheckResult) -> list[CheckResult]:
        if isinstance(prediction, CheckResult):
            return [prediction]
        if prediction.error is not None:
            return [CheckResult(name="runs", runtime=prediction.runtime, status="failed", detail=prediction.error)]
        key = index(artifact)
        return compare.compare(
            self.cases[key],
            prediction,
            self.signatures[key],
            self.tolerance,
            self.converter.holds,
            self.quality,
            self.classifiers,
        )

    def _metric(self, outputs: Sequence[Tensors], runtime: str) -> CheckResult:
        """The metric of labelled data in one runtime, against the live model's on the same samples."""
        assert self.evaluation is not None
        spec, samples = self.evaluation.spec, len(self.evaluation.labels)
        try:
            value, live = self.evaluation.score(outputs, self.limits), self.evaluation.live(self.limits)
        except FanoutError as error:
            return CheckResult(name="metric", runtime=runtime, status="failed", detail=str(error))
        max_drop = spec.max_drop if self.quality.max_drop is None else self.quality.max_drop
        higher = spec.better == "higher"
        return compare.check_metric(spec.name, runtime, value, live, max_drop, higher=higher, samples=samples)

    def examine(self, artifact: Artifact, checks: Sequence[CheckResult], root: Path, keep_log: bool) -> Losses | None:
        """Where a lossy variant's outputs fell short: what each layer lost, or why that cannot be said."""
        if not (
            self.lossy
            and isinstance(self.converter, Examiner)
            and any(check.status == "failed" and check.name in FELL_SHORT for check in checks)
        ):
            return None
        saved_model, cases = root / SAVED_MODEL, self.cases[index(artifact)]
        log = root / log_of(artifact.target, artifact.variant, "layers") if keep_log else None
        try:
            done = run(self.converter.layers, artifact, saved_model, cases[0].inputs, limits=self.limits, log=log)
        except FanoutError as error:
            return Losses(layers=[], error=str(error))
        return Losses(layers=done.value)


FELL_SHORT = ("values", "batch", "snr", "cosine", "top1", "metric")
"""The checks that a quantization can fail for its own sake."""
