"""Put one version together: report, config, manifest; publish it, and promote it if nothing speaks against it."""

import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from converters import manifest as manifests
from converters import release, report
from converters.contract import Frozen
from converters.manifest import Manifest, Row, SourceRecord
from converters.release import Staging
from converters.spec import ModelSpec

CONFIG = "config.json"
REPORT = "report.html"


class Released(Frozen):
    """A published version: where it is, its manifest, and why it was not promoted, if it was not."""

    path: Path
    manifest: Manifest
    refusals: list[str]

    def sentence(self) -> str:
        """What became of it, for a person."""
        name = f"{self.manifest.model} {self.manifest.version}"
        if not self.refusals:
            return f"{name} was promoted"
        more = f" (and {len(self.refusals) - 1} more)" if len(self.refusals) > 1 else ""
        return f"{name} was refused: {self.refusals[0]}{more}"


def assemble(
    place: Staging,
    source: SourceRecord,
    spec: ModelSpec,
    rows: Sequence[Row],
    started: float,
    peak_memory_mb: float | None = None,
) -> Released:
    """Publish what was made. `started` is the `time.monotonic()` at which the deploy began."""
    (place.release / CONFIG).write_text(spec.model_dump_json(indent=1) + "\n")
    refusals = manifests.refusals(rows, spec.targets)
    manifest = Manifest(
        model=spec.name,
        version=place.version,
        status="failed" if refusals else "passed",
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(time.monotonic() - started, 3),
        source=source,
        environment=manifests.environment(),
        peak_memory_mb=peak_memory_mb,
        targets=list(rows),
    )
    (place.release / REPORT).write_text(report.render(manifest, refusals, spec.description, place.release))
    manifest = manifest.model_copy(update={"files": manifests.record_files(place.release)})
    path = place.publish(manifest)
    if not refusals:
        release.promote(place.model_dir.parent, spec.name, place.version)
    return Released(path=path, manifest=manifest, refusals=refusals)
