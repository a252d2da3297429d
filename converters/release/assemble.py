"""Put one version together: report, config, manifest; publish it, and promote it if nothing speaks against it."""

import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput
from converters.contract.layout import CONFIG, GOLDEN, PROVENANCE, REPORT
from converters.contract.values import Frozen
from converters.reference import golden
from converters.reference import labelled as evaluation
from converters.reference.labelled import EvaluationRecord
from converters.reference.observed import observed
from converters.release import contracts, files, notes, provenance, publish, regression, report, verdict
from converters.release import manifest as manifests
from converters.release.comparison import Comparison
from converters.release.explain import write as explain
from converters.release.manifest import Manifest, Row, SourceRecord
from converters.release.provenance import Run
from converters.release.signing import NO_KEYS, Keys
from converters.release.staging import Staging

MOST_BEFORE = 9
"""Releases before the new one that its report shows."""


class Released(Frozen):
    """A published version: where it is, and its manifest. `promoted` is False also where that was not asked for.

    `only_here` says why it is not current in the other place that releases are published to.
    """

    path: Path
    manifest: Manifest
    promoted: bool
    only_here: str | None = None

    def sentence(self) -> str:
        """What became of it, for a person."""
        name = f"{self.manifest.model} {self.manifest.version}"
        if self.only_here is not None:
            return self.only_here
        if self.promoted:
            out = ", ".join(dict.fromkeys(row.unit.title for row in self.manifest.left_out()))
            return f"{name} was promoted" + (f" without {out}" if out else "")
        if not self.manifest.refusals:
            return f"{name} passed and was published without promoting it, as asked"
        return f"{name} was refused: {self.manifest.refusal()}"


def assemble(
    place: Staging,
    source: SourceRecord,
    spec: ModelSpec,
    rows: Sequence[Row],
    run: Run,
    *,
    promote: bool = True,
    keys: Keys = NO_KEYS,
) -> Released:
    """Publish what was made, signed where there is a key, and promote it where it passed, unless told not to.

    Raises:
        BadInput: the current release, which this one is compared with, cannot be read; nothing is published then.
    """
    (place.release / CONFIG).write_text(spec.model_dump_json(indent=1) + "\n")
    labelled = evaluation.load(place.release, spec.evaluation, source.signatures)
    record = labelled.record(spec.limits) if labelled is not None else None
    rows = verdict.leave_out(rows, spec.targets, place.release)
    comparison = _with_current(place, spec, source, rows, record)
    told = golden.load(place.release / GOLDEN)
    refusals = verdict.refusals(rows, spec.targets, comparison, require_data=spec.require_data)
    manifest = Manifest(
        model=spec.name,
        version=place.version,
        status="failed" if refusals else "passed",
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(time.monotonic() - run.started, 3),
        source=source,
        environment=manifests.environment(),
        peak_memory_mb=run.peak_memory_mb,
        targets=rows,
        evaluation=record,
        comparison=comparison,
        refusals=refusals,
        observed=observed(source.signatures, told.cases),
        notes=notes.of_inputs(spec, rows, told.cases),
    )
    uses = explain.write(place.release, manifest, spec, told)
    page = report.render(manifest, spec, told.cases, place.release, _before(place), uses)
    (place.release / REPORT).write_text(page)
    statement = provenance.statement(spec, place.version, files.record_files(place.release), run)
    (place.release / PROVENANCE).write_text(statement)
    manifest = manifest.model_copy(update={"files": files.record_files(place.release)}).sealed()
    path = place.publish(manifest, keys)
    promoted = promote and not refusals
    if promoted:
        publish.promote(place.model_dir.parent, spec.name, place.version, how="deployed", by=run.by, keys=keys)
    else:
        publish.list_anew(place.model_dir.parent, spec.name)
    return Released(path=path, manifest=manifest, promoted=promoted)


def _before(place: Staging) -> list[Manifest]:
    """The last releases of the model, the newest first; one that cannot be read tells nothing."""
    numbers = sorted((int(path.name) for path in place.model_dir.iterdir() if path.name.isdigit()), reverse=True)
    found = []
    for number in numbers[:MOST_BEFORE]:
        try:
            found.append(manifests.read(place.model_dir / str(number)))
        except BadInput:
            continue
    return found


def _with_current(
    place: Staging, spec: ModelSpec, source: SourceRecord, rows: Sequence[Row], record: EvaluationRecord | None
) -> Comparison | None:
    """The new rows against the current release's; None where there is none. Raises BadInput where it cannot be read."""
    version = publish.current(place.model_dir.parent, spec.name)
    if version is None:
        return None
    current = manifests.read(place.model_dir / str(version))
    before = current
    if spec.accept_contract_change:  # what a signature that is gone had cannot be missed
        left = [row for row in current.targets if row.signature is None or row.signature in source.signatures]
        before = current.model_copy(update={"targets": left})
    compared = regression.compare(before, spec.name, place.version, rows, record, spec.regression, spec.targets)
    return contracts.judged(compared, current, source.signatures, accepted=spec.accept_contract_change)
