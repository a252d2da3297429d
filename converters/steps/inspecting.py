"""Does an artifact declare what the model does? Read back from the file itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from converters.contract.errors import FanoutError
from converters.contract.values import Artifact, CheckResult, Signature, Structure
from converters.reference import compare
from converters.steps.running import Children, key_of
from converters.steps.unit import Unit


def inspect(
    unit: Unit, artifacts: Sequence[Artifact], signatures: Mapping[str, Signature], children: Children
) -> tuple[dict[str, list[CheckResult]], dict[str, list[Artifact]]]:
    """The findings by signature key, and the artifacts whose findings all passed by the runtime that must run them."""
    findings: dict[str, list[CheckResult]] = {}
    sound: dict[str, list[Artifact]] = {}
    structures: dict[Path | None, Structure | CheckResult] = {}
    for artifact in artifacts:
        if artifact.path not in structures:
            structures[artifact.path] = _read(unit, artifact, children)
        structure = structures[artifact.path]
        if isinstance(structure, CheckResult):
            findings[key_of(artifact)] = [structure]
            continue
        findings[key_of(artifact)] = results = _compare(unit, artifact, structure, signatures)
        if all(result.status == "passed" for result in results):
            for runtime in unit.options.chosen_runtimes() or structure.runtimes:
                sound.setdefault(runtime, []).append(artifact)
    return findings, sound


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
