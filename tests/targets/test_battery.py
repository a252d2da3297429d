"""Every target, every variant, every harm: each is seen by a check that is for it, in the row that it concerns."""

import functools
from collections.abc import Callable
from pathlib import Path

import battery_model
import pytest
import samples
from samples import Converted, Sample

from converters.processes.child import run
from converters.targets.registry import BUILT_IN, TARGETS
from converters.targets.tflite import quantizing
from converters.targets.tflite.options import DEFAULT, RECIPE
from tests.targets import battery

pytestmark = pytest.mark.usefixtures("kept_children")

CELLS = [(target.name, variant.name) for target in BUILT_IN for variant in target.options.known]
NOTHING = {
    **{cell: {"signature renamed"} for cell in CELLS if cell[0] == "tfjs"},
    ("hdf5", "model"): {"signature renamed"},
    ("hdf5", "weights"): {"signature renamed", "input renamed", "outputs swapped", "dtype changed", "batch fixed"},
}
"""What a format has not, and so cannot be harmed: files that are one signature, and a file of weights alone."""


@pytest.fixture(name="sound", scope="module")
def _convert(make_sample: Callable[..., Sample]) -> Callable[[str, str], Converted]:
    """Call with target and variant: the conversion, done once, which nobody may change."""
    told = {name: {} for name in TARGETS.choices()}
    told["tflite"] = {"variants": [*DEFAULT, RECIPE], "recipe": quantizing.recipe("weight-only-int8", b"")}
    sample = make_sample(battery_model.CODE, name="pair", targets=told)

    return functools.cache(lambda target, variant: samples.converted(sample, target, variant))


@pytest.mark.parametrize(("target", "variant"), CELLS)
def test_check_passes_when_nothing_is_harmed(target: str, variant: str, sound: Callable[[str, str], Converted]) -> None:
    assert samples.turned(sound(target, variant).check()) == {}


@pytest.mark.parametrize(
    ("target", "variant", "what"),
    [(*cell, what) for cell in CELLS for what in battery.SEEN if what not in NOTHING.get(cell, ())],
)
def test_check_fails_when_the_artifact_is_harmed(
    target: str, variant: str, what: str, sound: Callable[[str, str], Converted], tmp_path: Path
) -> None:
    copy = sound(target, variant).copy(tmp_path)
    run(battery.harm, target, copy.path, variant, what)
    rows = copy.check()
    assert {row.status for row in rows} == {"failed"}
    assert all(row.reason for row in rows)
    failed = set.union(*samples.turned(rows).values())
    assert failed & battery.SEEN[what], failed
    assert what not in battery.FILES or failed <= battery.SEEN[what]
