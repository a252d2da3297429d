"""Check a release that exists: digests, and every check again, from nothing but the release."""

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from converters import golden, manifest
from converters.assemble import CONFIG
from converters.check import check
from converters.contract import Artifact, CheckResult
from converters.convert import Conversion
from converters.errors import BadInput, Damaged
from converters.manifest import Manifest, Row, row_status
from converters.source import GOLDEN
from converters.spec import ModelSpec
from converters.targets import TARGETS


def recheck(root: Path, tell: Callable[[str, str], None] = lambda target, variant: None) -> tuple[Manifest, list[str]]:
    """The release's manifest as it would be written today, and why it must not be promoted. Writes nothing.

    `tell` is called with target and variant before each is checked.

    Raises:
        BadInput: `root` is no release.
    """
    written = manifest.read(root)
    spec = _spec(root)
    changed = manifest.changed_files(root, written)
    try:
        reference = golden.load(root / GOLDEN)
    except Damaged as error:
        rows = [_failed(row, "digests", str(error)) for row in written.targets]
        return _again(written, rows, spec)
    rows = []
    for conversion, old in _conversions(root, written):
        tell(conversion.target, conversion.variant)
        options = spec.targets[conversion.target]
        signatures = written.source.signatures
        fresh = check(conversion, signatures, reference, options, spec.limits, root, spec.golden.constant)
        rows += [_with_digests(row, changed, before) for row, before in zip(fresh, old, strict=True)]
    return _again(written, [*rows, *(row for row in written.targets if row.path is None)], spec)


def _spec(root: Path) -> ModelSpec:
    try:
        return ModelSpec.model_validate_json((root / CONFIG).read_bytes())
    except OSError as error:
        raise BadInput(f"{root / CONFIG} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{root / CONFIG}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _conversions(root: Path, written: Manifest) -> Iterator[tuple[Conversion, list[Row]]]:
    """What was converted, by target and variant, with the rows it gave."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in written.targets:
        if row.path is not None:
            groups.setdefault((row.target, row.variant), []).append(row)
    for (target, variant), rows in groups.items():
        artifacts = [
            Artifact(target=target, variant=variant, signature=row.signature, path=root / (row.path or ""))
            for row in rows
        ]
        yield Conversion(target=target, variant=variant, artifacts=artifacts), rows


def _with_digests(row: Row, changed: dict[str, str], before: Row) -> Row:
    """The row with its files' digests checked; a file that is no artifact's (golden.npz, config.json) is every row's."""
    own = {name: problem for name, problem in changed.items() if manifest.belongs(name, row) or not _is_artifact(name)}
    detail = "; ".join(f"{name} {problem}" for name, problem in sorted(own.items())) or "as the manifest says"
    digests = CheckResult(name="digests", runtime="sha256", status="failed" if own else "passed", detail=detail)
    checks = [digests, *row.checks]
    status = row_status(checks)
    reason = f"digests: {detail}" if own else row.reason
    kept = {
        "seconds": {"convert": before.seconds.get("convert", 0.0), "check": row.seconds["check"]},
        "memory_mb": {"convert": before.memory_mb.get("convert", 0.0), "check": row.memory_mb["check"]},
        "reused_from": before.reused_from,
    }
    return row.model_copy(update={"checks": checks, "status": status, "reason": reason, **kept})


def _is_artifact(name: str) -> bool:
    return name.partition("/")[0] in TARGETS


def _failed(row: Row, check_name: str, detail: str) -> Row:
    finding = CheckResult(name=check_name, runtime="golden", status="failed", detail=detail)
    return row.model_copy(update={"status": "failed", "reason": detail, "checks": [finding]})


def _again(written: Manifest, rows: list[Row], spec: ModelSpec) -> tuple[Manifest, list[str]]:
    place = {(row.target, row.variant, row.signature): number for number, row in enumerate(written.targets)}
    ordered = sorted(rows, key=lambda row: place[(row.target, row.variant, row.signature)])
    refusals = manifest.refusals(ordered, spec.targets)
    status = "failed" if refusals else "passed"
    return written.model_copy(update={"targets": ordered, "status": status}), refusals
