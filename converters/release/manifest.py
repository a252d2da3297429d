"""The manifest: what a release holds and what every check found. The one place where a status is decided."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from converters.contract import names
from converters.contract.errors import BadInput
from converters.contract.layout import MANIFEST
from converters.contract.values import (
    CheckResult,
    Data,
    Ends,
    Frozen,
    LayerLoss,
    RowName,
    Signature,
    SourceKind,
    Status,
    UnitName,
)
from converters.reference.answers import Answer
from converters.reference.labelled import EvaluationRecord
from converters.reference.observed import Observed
from converters.release import sealing
from converters.release.comparison import Comparison
from converters.targets.registry import TARGETS

_PACKAGES = ("numpy", "protobuf", "prefect")
"""Beside those of the targets."""


class Losses(Frozen):
    """What the layers of a lossy variant lose, those that add most noise first; or why that could not be found out."""

    layers: list[LayerLoss]
    error: str | None = None


def _of_a_model(name: str) -> str:
    if (fault := names.model_fault(name)) is not None:
        raise ValueError(f"{name!r} is no model's name: {fault}")
    return name


def _inside(path: str) -> str:
    if names.climbs(path) or path != PurePosixPath(path).as_posix() or path == ".":
        raise ValueError(f"{path!r} is no path inside a release")
    return path


ModelName = Annotated[str, AfterValidator(_of_a_model)]
Inside = Annotated[str, AfterValidator(_inside)]
"""A path relative to the release, with slashes, that leads nowhere else."""


class Row(RowName):
    """One artifact of one signature, and what every check found. Times are in seconds.

    `data` is where the inputs come from that it was calibrated on and compared with; None for a file of weights. `layers` are
    given where a lossy variant fell short: those that lose the most, first. `shapes` are those of the inputs of a file whose
    sizes are fixed where the model's are not, `quantized` the inputs and outputs that are integers.
    """

    status: Status
    reason: str | None = None
    """Why it did not pass, or what is to be known of it: a sentence, with the remedy where there is one."""
    data: Data | None = None
    path: Inside | None = None
    """The file or folder that a runtime is given, relative to the release; None where there is none."""
    bytes: int | None = None
    """Of all its files."""
    seconds: dict[str, float] = {}
    """What `convert` and `check` took."""
    memory_mb: dict[str, float] = {}
    """Most memory that the conversion's and the checks' processes held of their own at one time, in MB."""
    reused_from: int | None = None
    """The release whose files and findings these are; None where they were made for this one."""
    checks: list[CheckResult] = []
    layers: list[LayerLoss] = []
    answers: list[Answer] = []
    """What it answered to single samples, the worst first."""
    shapes: dict[str, tuple[int, ...]] | None = None
    quantized: Ends | None = None

    @model_serializer(mode="wrap")
    def _without_the_usual(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What only some rows have is written only where they have it."""
        written: dict[str, Any] = plain(self)
        return {name: value for name, value in written.items() if value is not None or name not in _RARE}

    @property
    def fell_short(self) -> bool:
        """Whether there is something that nothing speaks for: it failed, or was not run."""
        return self.status in ("failed", "not_run")

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
        metrics = [c for c in self.checks if c.name == "metric"]
        return max(metrics, key=lambda c: float("inf") if c.measured is None else c.measured, default=None)

    def metric_value(self) -> float | None:
        """The metric itself, there."""
        check = self.metric()
        return None if check is None else check.figures.get("metric")

    def latency_ms(self) -> float | None:
        """The shortest of the runtimes' median latencies."""
        check = self.latency()
        return None if check is None else check.latency_ms

    def latency(self) -> CheckResult | None:
        """The check whose runtime was the fastest."""
        return min(self.latencies().values(), key=lambda check: check.latency_ms or 0.0, default=None)

    def slowest_ms(self) -> float | None:
        """The longest of the runtimes' median latencies."""
        return max((check.latency_ms or 0.0 for check in self.latencies().values()), default=None)

    def latencies(self) -> dict[str, CheckResult]:
        """By runtime with its version, the check that holds its latency and the spread of that."""
        return {check.runtime: check for check in self.checks if check.latency_ms is not None}

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
_RARE = frozenset({"shapes", "quantized"})


class SourceRecord(Frozen):
    """What the release was made from."""

    kind: SourceKind
    digest: str
    """Of its content: weights, graph, signatures."""
    signatures: dict[str, Signature]
    """By key."""
    seconds: dict[str, float] = {}
    """What building and exporting took."""
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
    model: ModelName
    version: int
    """1, 2, 3, ... for each model."""
    status: Literal["passed", "failed"]
    """Whether it may be shipped."""
    created: str
    """When, in UTC (ISO 8601)."""
    seconds: float
    """What the run took."""
    source: SourceRecord
    environment: dict[str, str]
    """Versions of what made it: Python, platform, packages."""
    peak_memory_mb: float | None = None
    """The most that all processes of the run held together (proportional set size), in MB."""
    targets: list[Row]
    files: dict[Inside, FileRecord] = {}
    evaluation: EvaluationRecord | None = None
    comparison: Comparison | None = None
    refusals: list[str] = []
    observed: dict[str, Observed] = {}
    """What golden shows of each signature."""
    notes: list[str] = []
    """What a person should know of it all the same, a sentence each."""
    digest: str | None = None
    """Of the file's text without this line, which it gets in being written."""

    def refusal(self) -> str:
        """The first of the refusals, and how many there are beside it."""
        more = f" (and {len(self.refusals) - 1} more)" if len(self.refusals) > 1 else ""
        return f"{self.refusals[0]}{more}"

    def left_out(self) -> list[Row]:
        """The rows whose files fell short, and are not in it for that; none of a release that was refused."""
        return [row for row in self.targets if row.fell_short] if self.status == "passed" else []

    @property
    def promotable(self) -> bool:
        """Whether a person may promote it: it passed, or all that was held against it is the release before it."""
        worse = set(self.comparison.refusals()) if self.comparison is not None else set()
        return self.status == "passed" or (bool(self.refusals) and set(self.refusals) <= worse)

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(record.bytes for record in self.files.values())

    @property
    def outputs_bytes(self) -> int:
        """Of what targets made."""
        return sum(rows[0].bytes or 0 for rows in self.units().values())

    def runtimes(self) -> list[str]:
        """Those that ran any row, with their versions."""
        return list(dict.fromkeys(name for row in self.targets for name in row.runtimes()))

    def units(self) -> dict[UnitName, list[Row]]:
        """The rows of each variant of each target."""
        units: dict[UnitName, list[Row]] = {}
        for row in self.targets:
            units.setdefault(row.unit, []).append(row)
        return units

    def sealed(self) -> "Manifest":
        """The same with the digest of the file's text."""
        document = self.model_dump(mode="json", by_alias=True, exclude={"digest"})
        return self.model_copy(update={"digest": sealing.digest(document)})

    def to_json(self) -> str:
        """The file's text."""
        return sealing.text(self.model_dump(mode="json", by_alias=True))


def environment() -> dict[str, str]:
    """Versions of what made the release."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in (*(name for target in TARGETS.values() for name in target.packages), *_PACKAGES):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def read(release: Path) -> Manifest:
    """The manifest of a release on disk.

    Raises:
        BadInput: there is none, or it is not of this schema.
    """
    path = release / MANIFEST
    try:
        content = path.read_bytes()
        written = Manifest.model_validate_json(content)
    except OSError as error:
        raise BadInput(f"{release} is no release: {path} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{path} is no manifest of schema 1: {where}: {first['msg']}") from error
    if endless := sealing.endless(content):
        raise BadInput(f"{path} is no manifest of schema 1: it holds {endless[0]}, which is no number of JSON")
    return written
