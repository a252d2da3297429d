"""The one place where a status is decided: of a row, and of a release."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from converters.contract.target import Options
from converters.contract.values import Artifact, CheckResult, Status
from converters.processes.scratch import PREFIX
from converters.release.comparison import Comparison
from converters.release.files import files_of
from converters.release.manifest import Losses, Row
from converters.targets.registry import TARGETS


def row_status(checks: Sequence[CheckResult]) -> Literal["passed", "failed", "not_run"]:
    """Passed only when there are required checks and every one of them passed, and nothing failed."""
    if any(check.status == "failed" for check in checks):
        return "failed"
    required = [check for check in checks if check.required]
    return "passed" if required and all(check.status == "passed" for check in required) else "not_run"


def row(
    artifact: Artifact,
    checks: Sequence[CheckResult],
    error: str | None,
    seconds: Mapping[str, float],
    root: Path,
    *,
    losses: Losses | None = None,
    memory_mb: Mapping[str, float] | None = None,
) -> Row:
    """The manifest's row for an artifact. `losses` is given where its layers were examined."""
    status: Status
    reason: str | None
    if error is not None:
        status, reason = "failed", error
    elif artifact.path is None:
        status, reason = "unsupported", artifact.reason
    else:
        status = row_status(checks)
        found = reason_of(checks)
        if found is not None and losses is not None:
            found += _blamed(losses)
        reason = "; ".join(filter(None, (found, artifact.reason))) or None
    path = artifact.path
    reason = _without_places(reason, root) if reason is not None else None
    return Row(
        target=artifact.target,
        variant=artifact.variant,
        signature=artifact.signature,
        status=status,
        reason=reason,
        path=None if path is None else path.relative_to(root).as_posix(),
        bytes=None if path is None else sum(file.stat().st_size for file in files_of(path)),
        seconds=dict(seconds),
        memory_mb=dict(memory_mb or {}),
        checks=[check.model_copy(update={"detail": _without_places(check.detail, root)}) for check in checks],
        layers=losses.layers[:_LAYERS_KEPT] if losses is not None else [],
    )


def _without_places(text: str, root: Path) -> str:
    """The text with files named as they are in the release, and temporary ones by their last part: where they were is gone."""
    return _TEMPORARY.sub("", text.replace(f"{root}/", ""))


_TEMPORARY = re.compile(rf"(?:/[^\s/:'\"]+)*/{PREFIX}\w+/(?:[^\s/:'\"]+/)*")
_LAYERS_KEPT = 10
_LAYERS_NAMED = 3


def _blamed(losses: Losses) -> str:
    """The end of a reason: the layers that lose the most."""
    if losses.error is not None:
        return f"; which layers lose it cannot be told: {losses.error}"
    named = ", ".join(
        f"{loss.layer!r} ({loss.op}, {loss.snr_db:.1f} dB left)"
        for loss in losses.layers[:_LAYERS_NAMED]
        if loss.added > 0
    )
    return f"; the layers that lose the most: {named}" if named else ""


def refusals(
    rows: Sequence[Row],
    options: Mapping[str, Options],
    comparison: Comparison | None = None,
    *,
    require_data: bool = False,
) -> list[str]:
    """Why a release of these rows must not be promoted, a sentence each; empty when it may be.

    No row of a required variant may have failed or not been run, every requested target needs a passed row unless it is
    optional, some target needs one in any case, and nothing may be worse than in the current release by more than the
    config allows. With `require_data`, a user gave every input.
    """
    blocking = [r for r in rows if r.fell_short and blocks(r, options)]
    reasons = [shortfall(r) for r in blocking]
    for target, option in options.items():
        of_target = [r for r in rows if r.target == target]
        if any(r.status == "passed" for r in of_target) or any(r in blocking for r in of_target):
            continue
        if not (option.optional and of_target):
            why = next((r.reason for r in of_target if r.reason), "it has no row")
            reasons.append(f"{target} has no passed row: {why}")
    made = [r for r in rows if not TARGETS[r.target].always]
    if made and not reasons and not any(r.status == "passed" for r in made):
        why = next((shortfall(r) for r in made if r.fell_short), made[0].reason or made[0].status)
        reasons.append(f"no target has a passed row: {why}")
    if require_data:
        made_up = {r.signature: r.data for r in rows if r.data not in (None, "given")}
        reasons += [
            f"{key}: its inputs were {how}, and 'require_data' asks for yours; give 'golden.data' or --data"
            for key, how in made_up.items()
        ]
    return reasons + (comparison.refusals() if comparison is not None else [])


def blocks(row: Row, options: Mapping[str, Options]) -> bool:
    """Whether a release must not be promoted if this row falls short."""
    return row.target not in options or options[row.target].blocks(row.variant)


def shortfall(row: Row) -> str:
    """What is held against a release for this row."""
    return f"{row.title} {'failed' if row.status == 'failed' else 'was not run'}: {row.reason or 'no check ran'}"


def leave_out(rows: Sequence[Row], options: Mapping[str, Options], root: Path) -> list[Row]:
    """The rows as they are when what fell short and is not required has no files in the release any more.

    Files of several signatures go with the first of them that fell short, and the others with them.
    """
    out = {r.path: r for r in rows if r.path is not None and r.fell_short and not blocks(r, options)}
    for path in out:
        _remove(root / path, root)
    return [_without_files(r, out[r.path]) if r.path in out else r for r in rows]


def _remove(path: Path, root: Path) -> None:
    """The files of an artifact, and the folders that hold nothing without them."""
    for file in files_of(path):
        file.unlink()
        for folder in file.relative_to(root).parents:
            if folder == Path() or any((root / folder).iterdir()):
                break
            (root / folder).rmdir()


def _without_files(row: Row, culprit: Row) -> Row:
    left: dict[str, object] = {"path": None, "bytes": None}
    if row.status == "passed":
        left |= {"status": "failed", "reason": f"it shares its file with {culprit.signature!r}, which fell short"}
    return row.model_copy(update=left)


def reason_of(checks: Sequence[CheckResult]) -> str | None:
    """The first check that kept the row from passing, as a sentence, and the other outputs that fell short."""
    bad = [check for check in checks if check.status == "failed" or (check.status == "not_run" and check.required)]
    if not bad:
        return None
    check, figures = bad[0], ""
    if check.measured is not None and check.limit is not None:
        figures = f" ({check.measured:.3g} against a limit of {check.limit:g})"
    others = sorted({other.output for other in bad if other.output is not None} - {check.output})
    also = f"; {', '.join(map(repr, others))} fell short too" if others and check.output is not None else ""
    return f"{check.name} on {check.runtime}: {check.detail}{figures}{also}"
