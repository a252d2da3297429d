"""The mutations of test_sensitivity, on configs/digits: a trained network, whose golden inputs are given."""

from pathlib import Path

import mutants
import numpy as np
import pytest
import releases
from staying import staying

from converters.config import read
from converters.contract.layout import GOLDEN
from converters.contract.values import Tensors
from converters.reference import golden

pytestmark = pytest.mark.tensorflow


@pytest.mark.timeout(1800)
def test_check_catches_every_mutation_of_digits_when_it_changes_what_is_computed(
    tmp_path: Path, share: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with staying() as pool:
        # Its labelled data would be asked of every mutant, whose signatures have other names.
        digits = read.find("digits").model_copy(update={"evaluation": None})
        released = releases.publish(digits, tmp_path / "releases", pool)
        assert released.manifest.refusals == []
        (images, _) = golden.load(released.path / GOLDEN).cases["serving_default"]

        def legal(rng: np.random.Generator) -> dict[str, Tensors]:
            """Drawings that golden does not hold: digits laid over each other, shifted, with some pixels lost."""
            known = images.inputs["image"]
            one, two = (known[rng.integers(len(known), size=512)] for _ in range(2))
            share = rng.uniform(0, 1, (512, 1, 1, 1)).astype(np.float32)
            moved = np.roll(one, int(rng.integers(-1, 2)), axis=1)
            drawn = np.clip(share * moved + (1 - share) * two, 0, 1) * (rng.uniform(size=one.shape) < 0.95)
            return {"serving_default": {"image": drawn.astype(np.float32)}}

        outcomes = mutants.examine(released.path, tmp_path, pool, legal, share=share)
    with capsys.disabled():
        print("\n" + mutants.show(outcomes))
    assert mutants.holes(outcomes) == []
