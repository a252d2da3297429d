"""Whole releases without Prefect: build, convert, check, assemble."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from converters.config.spec import ModelSpec
from converters.release.assemble import Released, assemble
from converters.release.manifest import Row, SourceRecord
from converters.release.provenance import Run
from converters.release.signing import NO_KEYS, Keys
from converters.release.staging import staging
from converters.release.verdict import row
from converters.source.builder import Builder
from converters.steps import reuse
from converters.steps.check import check
from converters.steps.convert import convert
from converters.steps.unit import Unit, plan


def publish(
    spec: ModelSpec, releases: Path, pool: ThreadPoolExecutor, *, checked: bool = True, keys: Keys = NO_KEYS
) -> Released:
    """Deploy the model as the flow does; unchecked, every row is not run."""
    started = time.monotonic()
    with staging(releases, spec.name) as place:
        (place.release / reuse.SOURCE).mkdir()
        with Builder(spec, place.release, place.release / reuse.SOURCE, place.version) as builder:
            builder.build()
            exported = builder.export().value

        def made(key: tuple[str, str]) -> list[Row]:
            target, variant = key
            unit = Unit(target=target, variant=variant, source=exported, spec=spec, release=place.release)
            conversion = convert(unit)
            if not checked:
                return [row(artifact, [], conversion.error, {}, place.release) for artifact in conversion.artifacts]
            return check(unit, conversion)

        rows = [found for every in pool.map(made, plan(exported, spec)) for found in every]
        record = SourceRecord(kind=exported.kind, digest=exported.digest, signatures=exported.signatures)
        return assemble(place, record, spec, rows, Run(started, "a test"), keys=keys)
