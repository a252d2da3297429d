"""Whole releases without Prefect: build, convert, check, assemble."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from converters import golden, release
from converters.assemble import Released, assemble
from converters.check import check
from converters.convert import convert, plan
from converters.manifest import Row
from converters.source import Builder
from converters.spec import ModelSpec


def publish(spec: ModelSpec, releases: Path, workers: int = 2) -> Released:
    """Deploy the model as the flow does, with this many conversions and checks side by side."""
    started = time.monotonic()
    with release.staging(releases, spec.name) as place, Builder(spec) as builder:
        builder.build(place.release, place.scratch)
        source = builder.export(place.release, place.scratch, place.version).value
        reference = golden.load(source.golden)

        def made(key: tuple[str, str]) -> list[Row]:
            conversion = convert(source, *key, place.release, spec)
            options, constant = spec.targets[key[0]], spec.golden.constant
            return check(conversion, source.signatures, reference, options, spec.limits, place.release, constant)

        with ThreadPoolExecutor(workers) as pool:
            rows = [row for found in pool.map(made, plan(source, spec)) for row in found]
        return assemble(place, source, spec, rows, started)
