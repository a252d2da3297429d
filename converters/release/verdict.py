"""The one place where a status is decided: of a row, and of a release."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from converters.contract.target import Options
from converters.contract.values import Artifact, CheckResult, Status
from converters.release.files import files_of
from converters.release.manifest import Comparison, Losses, Row


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
        reason = reason_of(checks) or artifact.reason
        if reason is not None and losses is not None:
            reason += _blamed(losses)
    path = artifact.path
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
        checks=list(checks),
        layers=losses.layers[:_LAYERS_KEPT] if losses is not None else [],
    )


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


def refusals(rows: Sequence[Row], options: Mapping[str, Options], comparison: Comparison | None = None) -> list[str]:
    """Why a release of these rows must not be promoted, a sentence each; empty when it may be.

    No requested row may have failed or not been run, every requested target needs a passed row unless it is optional
    and all of it is unsupported, and nothing may be worse than in the current release by more than the config allows.
    """
    reasons = [
        f"{r.title} {'failed' if r.status == 'failed' else 'was not run'}: {r.reason or 'no check ran'}"
        for r in rows
        if r.status in ("failed", "not_run")
    ]
    for target, option in options.items():
        statuses = {r.status for r in rows if r.target == target}
        if "passed" not in statuses and not statuses & {"failed", "not_run"} and not (option.optional and statuses):
            why = next((r.reason for r in rows if r.target == target and r.reason), "it has no row")
            reasons.append(f"{target} has no passed row: {why}")
    return reasons + (comparison.refusals() if comparison is not None else [])


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
