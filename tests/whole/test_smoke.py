"""One tiny model to every target, each file run where it is meant to run: the whole way, without Prefect, in seconds."""

from pathlib import Path

import pytest
import samples

from converters.config.spec import ModelSpec
from converters.processes import resident
from converters.release.manifest import Row
from converters.steps.unit import plan
from converters.targets.registry import TARGETS

pytestmark = [pytest.mark.smoke, pytest.mark.tensorflow]


def test_every_target_passes_when_the_model_is_tiny(tmp_path: Path) -> None:
    spec: ModelSpec = samples.write_spec(tmp_path, samples.KERAS)
    sample = samples.build(spec, tmp_path)
    with resident.keeping():
        rows: list[Row] = [
            row
            for target, variant in plan(sample.source, sample.spec)
            for row in samples.converted(sample, target, variant).check()
        ]
    assert {(row.target, row.status, row.reason) for row in rows} == {(name, "passed", None) for name in TARGETS}
