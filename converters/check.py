"""Check one conversion: inspect each file, run it in every runtime it is meant for, compare with golden."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from converters import golden as golden_data
from converters import parity
from converters.contract import (
    Artifact,
    Case,
    CheckResult,
    Converter,
    Limits,
    Options,
    Prediction,
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

T = TypeVar("T")

_WEIGHTS = Signature(inputs={}, outputs={VARIABLES: TensorSpec(shape=(None,), dtype="string")})
"""A weights file is compared as if it were a signature without inputs whose output is the list of variables."""


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
    memory_mb = {"convert": conversion.memory_mb, "check": checker.memory_mb}
    return [
        row(artifact, found.get(index(artifact), []), conversion.error, seconds, root, memory_mb)
        for artifact in conversion.artifacts
    ]


def index(artifact: Artifact) -> str:
    """The key of an artifact's signature; '' for a file of weights."""
    return artifact.signature or ""


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
        self.tolerance: Tolerance = options.tolerance.get(variant) or converter.TOLERANCES[variant]
        self.signatures = {**signatures, "": _WEIGHTS}
        self.cases: dict[str, list[Case]] = {**golden.cases, "": golden_data.expected_variables(golden)}
        self.limits = limits
        self.memory_mb = 0.0

    def check(self, artifacts: Sequence[Artifact], constant: Sequence[str]) -> dict[str, list[CheckResult]]:
        found: dict[str, list[CheckResult]] = {index(artifact): [] for artifact in artifacts}
        waiting: dict[str, list[Artifact]] = {}
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
                for runtime in structure.runtimes:
                    waiting.setdefault(runtime, []).append(artifact)
        for runtime, ready in waiting.items():
            for artifact, prediction in zip(ready, self._predict(ready, runtime), strict=True):
                found[index(artifact)] += self._compare(artifact, prediction)
        for artifact in artifacts:
            if artifact.signature is not None and self.cases.get(index(artifact)):
                key = index(artifact)
                found[key].append(
                    parity.check_variation(self.cases[key], self.signatures[key], self.tolerance, constant)
                )
        return found

    def _run(self, function: Callable[..., T], *args: Any, fresh: bool = False) -> T:
        done = run(function, *args, limits=self.limits, fresh=fresh)
        self.memory_mb = max(self.memory_mb, done.memory_mb)
        return done.value

    def _inspect(self, artifact: Artifact) -> Structure | CheckResult:
        try:
            return self._run(self.converter.inspect, artifact)
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
            fresh = runtime in self.converter.FRESH
            return list(self._run(self.converter.predict, artifacts, inputs, runtime, fresh=fresh))
        except MissingRuntime as error:
            return [CheckResult(name="runs", runtime=runtime, status="not_run", detail=str(error)) for _ in artifacts]
        except FanoutError as error:
            if len(artifacts) > 1 and not isinstance(error, ChildTimedOut):
                return [self._predict([artifact], runtime)[0] for artifact in artifacts]
            return [CheckResult(name="runs", runtime=runtime, status="failed", detail=str(error)) for _ in artifacts]

    def _compare(self, artifact: Artifact, prediction: Prediction | CheckResult) -> list[CheckResult]:
        if isinstance(prediction, CheckResult):
            return [prediction]
        if prediction.error is not None:
            return [CheckResult(name="runs", runtime=prediction.runtime, status="failed", detail=prediction.error)]
        key = index(artifact)
        return parity.compare(self.cases[key], prediction, self.signatures[key], self.tolerance, self.converter.holds)
