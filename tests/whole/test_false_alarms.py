"""Releases of differing seeds that nobody touched: every row passes, when made and when checked again."""

from pathlib import Path

import mutants
import pytest
import releases
import samples
from staying import staying

from converters.release import manifest
from converters.release.manifest import Row
from converters.steps.recheck import recheck

pytestmark = pytest.mark.tensorflow

BUILD = """
import tf_keras

def build():
    tf_keras.utils.set_random_seed({seed})
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu", bias_initializer="random_normal"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(10, bias_initializer="random_normal", activation="softmax", name="digit"),
        ]
    )
"""


def checked_twice(release: Path) -> list[Row]:
    """The rows of a second check, which has the errors of the first to compare with."""
    first = recheck(release)
    mutants.write_manifest(first, first.targets, release)
    return recheck(release).targets


@pytest.mark.timeout(1800)
def test_no_row_fails_when_nothing_was_changed(tmp_path: Path, seeds: int) -> None:
    with staying() as pool:
        made = []
        for seed in range(seeds):
            folder = tmp_path / str(seed)
            folder.mkdir()
            model = samples.write_spec(folder, BUILD.format(seed=seed), name="tiny", golden={"seed": seed})
            made.append(releases.publish(model, folder / "releases", pool, checked=False).path)
        for_javascript = []
        rows: list[Row] = []
        for path in made:
            written = manifest.read(path)
            for_javascript.append((path, [row for row in written.targets if row.target == "tfjs"]))
            mutants.write_manifest(written, [row for row in written.targets if row.target != "tfjs"], path)
            rows += checked_twice(path)
        together, _ = mutants.compose(for_javascript, tmp_path / "together")
        rows += checked_twice(together)
    assert [(row.target, row.variant, row.reason) for row in rows if row.status != "passed"] == []
    assert len(rows) == seeds * 9
    assert all(any(check.name == "repeats" for check in row.checks) for row in rows)
