"""Check one conversion: inspect each file, run it in every runtime it is meant for, compare with golden."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from converters import golden as golden_data
from converters import kept, parity, precision
from converters.contract import (
    Artifact,
    Case,
    CheckResult,
    Converter,
    Limits,
    Options,
    Prediction,
    Service,
    Signature,
    Structure,
    TensorSpec,
    Tolerance,
)
from converters.convert import Conversion
from converters.errors import ChildTimedOut, FanoutError, MissingRuntime
from converters.golden import VARIABLES, Golden
from converters.isolate import run
from converters.manifest import Row, row
from converters.targets import TARGETS

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
) -> list[Row]:
    """One row for each artifact, with every check's finding. `root` is the directory that rows' paths are relative to."""
    started = time.monotonic()
    converter = TARGETS[conversion.target]
    held = [artifact for artifact in conversion.artifacts if artifact.path is not None]
    checker = _Checker(converter, conversion.variant, signatures, golden, options, limits)
    found = checker.check(held, constant) if held else {}
    seconds = {"convert": round(conversion.seconds, 3), "check": round(time.monotonic() - started, 3)}
    return [
        row(artifact, found.get(index(artifact), []), conversion.error, seconds, root)
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
    ) -> None:
        self.converter = converter
        default = precision.allowing(converter.TOLERANCES[variant], golden.precision)
        self.tolerance: Tolerance = options.tolerance.get(variant) or default
        self.signatures = {**signatures, "": _WEIGHTS}
        self.cases: dict[str, list[Case]] = {**golden.cases, "": golden_data.expected_variables(golden)}
        self.limits = limits
        self.runtimes = options.chosen_runtimes()
        self.services = options.services()

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
                else:
                    found[index(artifact)] += self._compare(artifact, prediction)
        for service in self.services if sound else ():
            for artifact, results in zip(sound, self._serve(sound, service), strict=True):
                found[index(artifact)] += results
        for artifact in artifacts:
            if artifact.signature is not None and self.cases.get(index(artifact)):
                key = index(artifact)
                found[key].append(
                    parity.check_variation(self.cases[key], self.signatures[key], self.tolerance, constant)
                )
        return found

    def _inspect(self, artifact: Artifact) -> Structure | CheckResult:
        try:
            return run(self.converter.inspect, artifact, limits=self.limits).value
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
        return parity.compare_structure(self.signatures[key], declared, structure.reader, self.converter.holds)

    def _predict(self, artifacts: Sequence[Artifact], runtime: str) -> list[Prediction | CheckResult]:
        """A prediction for each artifact, or the check that says why there is none.

        Where the child that ran them all together came to grief, each runs in a child of its own, so that a bad file
        fails its own row alone.
        """
        inputs = {index(a): [case.inputs for case in self.cases[index(a)]] for a in artifacts}
        try:
            predict = self.converter.predict
            if runtime in self.converter.KEPT:
                return list(
                    kept.run(self.converter.NAME, predict, artifacts, inputs, runtime, limits=self.limits).value
                )
            fresh = runtime in self.converter.FRESH
            return list(run(predict, artifacts, inputs, runtime, limits=self.limits, fresh=fresh).value)
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
                done = run(server.predict, artifacts, inputs, Path(work), deadline, limits=self.limits, fresh=True)
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
            for artifact, answered in zip(artifacts, done.value, strict=True)
        ]

    def _compare(self, artifact: Artifact, prediction: Prediction | CheckResult) -> list[CheckResult]:
        if isinstance(prediction, CheckResult):
            return [prediction]
        if prediction.error is not None:
            return [CheckResult(name="runs", runtime=prediction.runtime, status="failed", detail=prediction.error)]
        key = index(artifact)
        return parity.compare(self.cases[key], prediction, self.signatures[key], self.tolerance, self.converter.holds)
