"""Does an artifact declare what the model does? Read back from the file itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from converters.contract.errors import FanoutError
from converters.contract.values import Artifact, CheckResult, Ends, Signature, Structure
from converters.reference import compare
from converters.steps.running import Children, key_of
from converters.steps.unit import Unit


def inspect(
    unit: Unit, artifacts: Sequence[Artifact], signatures: Mapping[str, Signature], children: Children
) -> tuple[dict[str, list[CheckResult]], dict[str, list[Artifact]], dict[str, Ends]]:
    """By signature key the findings, by runtime the artifacts that it must run, whose findings all passed, and by key again the
    inputs and outputs that are integers."""
    findings: dict[str, list[CheckResult]] = {}
    ends: dict[str, Ends] = {}
    sound: dict[str, list[Artifact]] = {}
    structures: dict[Path | None, Structure | CheckResult] = {}
    for artifact in artifacts:
        if artifact.path not in structures:
            structures[artifact.path] = _read(unit, artifact, children)
        structure = structures[artifact.path]
        if isinstance(structure, CheckResult):
            findings[key_of(artifact)] = [structure]
            continue
        if key_of(artifact) in structure.quantized:
            ends[key_of(artifact)] = structure.quantized[key_of(artifact)]
        findings[key_of(artifact)] = results = _compare(unit, artifact, structure, signatures)
        if all(result.status == "passed" for result in results):
            for runtime in unit.options.chosen_runtimes() or structure.runtimes:
                sound.setdefault(runtime, []).append(artifact)
        if (told := structure.elsewhere.get(key_of(artifact))) is not None:
            reader = structure.reader
            results.append(CheckResult(name="elsewhere", runtime=reader, status="passed", detail=told, required=False))
    return findings, sound, ends


def _read(unit: Unit, artifact: Artifact, children: Children) -> Structure | CheckResult:
    try:
        return children.run(unit.definition.inspect, artifact, stays="inspection", fresh=False)
    except FanoutError as error:
        return CheckResult(name="loads", runtime="file", status="failed", detail=str(error))


def _compare(
    unit: Unit, artifact: Artifact, structure: Structure, signatures: Mapping[str, Signature]
) -> list[CheckResult]:
    key = artifact.signature
    if key is None:
        return []
    declared = structure.signatures.get(key)
    if declared is None:
        listed = ", ".join(sorted(structure.signatures)) or "none"
        detail = f"signature {key!r} is missing; the file has {listed}"
        return [CheckResult(name="names", runtime=structure.reader, status="failed", detail=detail)]
    return compare.compare_structure(signatures[key], declared, structure.reader, unit.definition.holds)
