"""Check a release that exists: digests, and every check again, from nothing but the release."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from converters.config.explain import described
from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput, Damaged, SignatureFailed
from converters.contract.layout import CONFIG, GOLDEN, MANIFEST, METRIC, SAVED_MODEL
from converters.contract.values import Artifact, CheckResult, Source
from converters.formats import code
from converters.processes import child, resident
from converters.reference import golden, labelled
from converters.reference.bounds import NONSENSE
from converters.release import files, manifest, sealing, verdict
from converters.release.locking import reading
from converters.release.manifest import Manifest, Row
from converters.release.signing import NO_KEYS, TRUSTED, Keys
from converters.release.verdict import row_status
from converters.steps.check import check
from converters.steps.convert import Conversion
from converters.steps.unit import Unit
from converters.targets.registry import TARGETS


def recheck(
    root: Path,
    tell: Callable[[str, str], None] = lambda target, variant: None,
    keys: Keys = NO_KEYS,
    *,
    trust_code: bool = False,
) -> Manifest:
    """The release's manifest as it would be written today, with the checks that speak against it. Writes nothing.

    How it compared with the release that was current when it was made is told as it was, and is no check.

    `tell` is called with target and variant before each is checked. The release is not pruned meanwhile. Of
    one that `keys` do not trust nothing is read or run but the manifest, and all its rows fail.

    Code that came with it runs only with `trust_code`: its own metric, which is `not_run` otherwise, and what its files would
    do beside calculating. A metric that is not the file of the manifest never runs.

    Raises:
        BadInput: `root` is no release, or its files hold code that nobody said to trust.
    """
    written = manifest.read(root)
    with reading(root):
        try:
            signature = keys.verify(root)
        except SignatureFailed as error:
            return _untrusted(written, str(error))
        if root.name.isdigit() and root.name != str(written.version):
            return _untrusted(written, f"{root} holds {written.model} {written.version}, which was published elsewhere")
        again = _checked(root, written, tell, trust_code)
    if signature is None:
        return again
    note = f"signed by {signature.signer}, " + ("verified" if keys.trusted else f"not verified: {TRUSTED} names no key")
    return again.model_copy(update={"notes": [*again.notes, note]})


def _untrusted(written: Manifest, why: str) -> Manifest:
    rows = [_failed(row, "signature", "manifest", why) for row in written.targets]
    return written.model_copy(update={"targets": rows, "status": "failed", "refusals": [why]})


def _checked(root: Path, written: Manifest, tell: Callable[[str, str], None], trust_code: bool) -> Manifest:
    spec = read_spec(root)
    require_known(root, written, spec)
    changed = files.changed_files(root, written)
    if not sealing.is_sealed(root):
        changed[MANIFEST] = "is not what was written"
    try:
        golden.load(root / GOLDEN)
        labelled.load(root, spec.evaluation, written.source.signatures)
    except Damaged as error:
        rows = [_failed(row, "digests", "golden", str(error)) for row in written.targets]
        return _again(written, rows, spec)
    conversions = [*_conversions(root, written)]
    unseen: dict[Path, str] = {}
    if not trust_code:
        listed, unseen = child.run(_code_in, root, [made for made, _ in conversions], limits=spec.limits).value
        code.require_none(str(root), listed)
    withheld = _withheld(changed, trust_code)
    rows = []
    source = source_of(root, written)
    with resident.keeping():
        for conversion, old in conversions:
            tell(conversion.target, conversion.variant)
            unit = Unit(target=conversion.target, variant=conversion.variant, source=source, spec=spec, release=root)
            why = next((unseen[each.path] for each in conversion.artifacts if each.path in unseen), None)
            now = (
                check(unit, conversion, keep_log=False, withheld=withheld)
                if why is None
                else [_failed(row, "loads", "not run", why) for row in old]
            )
            again = zip(now, old, strict=True)
            tolerance = (unit.options.of(unit.options.tolerance, unit.variant) or unit.kind.tolerance).error
            rows += [_with_history(row, before, _of(before, changed, written), tolerance) for row, before in again]
    return _again(written, [*rows, *(row for row in written.targets if row.path is None)], spec)


def source_of(root: Path, written: Manifest) -> Source:
    """What a release's files were made from, as far as it takes to check them."""
    return Source(
        model=written.model,
        version=written.version,
        kind=written.source.kind,
        digest=written.source.digest,
        signatures=written.source.signatures,
        saved_model=root / SAVED_MODEL,
        golden=root / GOLDEN,
    )


def require_known(root: Path, written: Manifest, spec: ModelSpec) -> None:
    """Refuse rows about what does not exist here, or is no part of the release's own config. Raises BadInput."""
    for row in written.targets:
        known = row.target in spec.targets and spec.targets[row.target].has(row.variant)
        if not known or row.signature not in (None, *written.source.signatures):
            raise BadInput(f"{root / MANIFEST}: {row.title!r} is no row of a target and signature that it has")
    if len({row.identity for row in written.targets}) != len(written.targets):
        raise BadInput(f"{root / MANIFEST}: two rows are about the same")


def _code_in(root: Path, conversions: Sequence[Conversion]) -> tuple[list[str], dict[Path, str]]:
    """What of a release's files would do something beside calculating, and why others do not tell.

    Those are not to be loaded: what reads them here is stricter than what would run them.
    """
    found: dict[str, None] = {}
    unseen: dict[Path, str] = {}
    paths = {(SAVED_MODEL, root / SAVED_MODEL)} | {
        (made.target, artifact.path) for made in conversions for artifact in made.artifacts if artifact.path is not None
    }
    for target, path in sorted(paths):
        of_file = TARGETS[target].code
        if of_file is None:
            continue
        try:
            listed = of_file(path)
        except Damaged as error:
            unseen[path] = str(error)
            continue
        found |= dict.fromkeys(f"{path.relative_to(root)}: {each}" for each in listed)
    return list(found), unseen


def _withheld(changed: Mapping[str, str], trust_code: bool) -> str | None:
    """Why the metric is not to be run, if the release has one of its own."""
    if METRIC in changed:
        return f"{METRIC} {changed[METRIC]}, and so it was not run"
    return None if trust_code else f"{METRIC} is code that came with the release; it is run where --trust-code says so"


def read_spec(root: Path) -> ModelSpec:
    """The config that a release was made by. Raises BadInput."""
    try:
        return ModelSpec.model_validate_json((root / CONFIG).read_bytes())
    except OSError as error:
        raise BadInput(f"{root / CONFIG} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise BadInput(f"{root / CONFIG}: {'; '.join(described(error, ModelSpec))}") from error


def _conversions(root: Path, written: Manifest) -> Iterator[tuple[Conversion, list[Row]]]:
    """What was converted, by target and variant, with the rows it gave."""
    for (target, variant), of_unit in written.units().items():
        rows = [row for row in of_unit if row.path is not None]
        artifacts = [
            Artifact(target=target, variant=variant, signature=row.signature, path=root / (row.path or ""))
            for row in rows
        ]
        if rows:
            yield Conversion(target=target, variant=variant, artifacts=artifacts), rows


def _of(row: Row, changed: dict[str, str], written: Manifest) -> dict[str, str]:
    """What concerns a row: its own files, and those that are no row's (golden.npz, or one that somebody has added)."""
    others = [other for other in written.targets if other.path != row.path]
    return {
        name: problem
        for name, problem in changed.items()
        if files.belongs(name, row) or not any(files.belongs(name, other) for other in others)
    }


def _with_history(row: Row, before: Row, own: dict[str, str], tolerance: float) -> Row:
    """The row with what is wrong with its files, and its errors compared with the manifest's."""
    detail = "; ".join(f"{name} {problem}" for name, problem in sorted(own.items())) or "as the manifest says"
    digests = CheckResult(name="digests", runtime="sha256", status="failed" if own else "passed", detail=detail)
    checks = [digests, *row.checks, *_repeats(row, before, tolerance)]
    status = row_status(checks)
    reason = row.reason if row.status == "failed" else verdict.reason_of(checks) or row.reason
    recorded = {
        "seconds": {"convert": before.seconds.get("convert", 0.0), "check": row.seconds["check"]},
        "memory_mb": {"convert": before.memory_mb.get("convert", 0.0), "check": row.memory_mb["check"]},
        "reused_from": before.reused_from,
    }
    return row.model_copy(update={"checks": checks, "status": status, "reason": reason, **recorded})


REPEATS = 0.1
"""Share of a tolerance by which an error may differ from the one recorded with the release.

A file that is not the released one can be wrong by less than the wide tolerance of a quantized variant, and yet not
wrong by as much as the released one. Another processor may move an int8 result by a step, 1/255 of the scale: a
twenty-fifth of its tolerance.
"""


def _repeats(row: Row, before: Row, tolerance: float) -> list[CheckResult]:
    """Whether the errors are those that the manifest records, wherever the same runtime measured both.

    `tolerance` is the variant's, for errors that have no limit of their own.
    """
    recorded = {(c.name, c.runtime, c.detail): c for c in before.checks if c.name in ("values", "batch")}
    moved = []
    for now in row.checks:
        earlier = recorded.get((now.name, now.runtime, now.detail))
        limit = tolerance if now.limit is None or now.limit >= NONSENSE else now.limit
        if earlier is not None and now.measured is not None and earlier.measured is not None and limit:
            moved.append((abs(now.measured - earlier.measured) / limit, now))
    if not moved:
        return []
    worst, furthest = max(moved, key=lambda item: item[0])
    return [
        CheckResult(
            name="repeats",
            runtime=furthest.runtime,
            status="passed" if worst <= REPEATS else "failed",
            measured=worst,
            limit=REPEATS,
            detail="change of an error since the release, as a share of its tolerance",
        )
    ]


def _failed(row: Row, check_name: str, runtime: str, detail: str) -> Row:
    finding = CheckResult(name=check_name, runtime=runtime, status="failed", detail=detail)
    return row.model_copy(update={"status": "failed", "reason": detail, "checks": [finding]})


def _again(written: Manifest, rows: list[Row], spec: ModelSpec) -> Manifest:
    place = {row.identity: number for number, row in enumerate(written.targets)}
    ordered = sorted(rows, key=lambda row: place[row.identity])
    refusals = verdict.refusals(ordered, spec.targets, require_data=spec.require_data)
    # Whatever is in a release passed, be it required or not.
    fallen = [verdict.shortfall(row) for row in ordered if row.path is not None and row.fell_short]
    refusals = list(dict.fromkeys([*refusals, *fallen]))
    status = "failed" if refusals else "passed"
    return written.model_copy(update={"targets": ordered, "status": status, "refusals": refusals})
