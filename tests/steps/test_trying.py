"""What is tried while converting: a fault of the files' is never a limit of the target's."""

import json
from collections.abc import Callable
from pathlib import Path

import damage
import pytest
import samples
from samples import Converted, Sample

from converters.contract.values import Artifact
from converters.steps.running import Children
from converters.steps.trying import tried

pytestmark = [pytest.mark.usefixtures("kept_runtimes"), pytest.mark.browser]

Harm = Callable[[Path], None]


def again(made: Converted) -> list[Artifact]:
    """The artifacts after another trial."""
    unit = samples.unit_of(made.sample, made.conversion.target, made.conversion.variant, made.root)
    trial = unit.kind.trial
    assert trial is not None
    return tried(unit, trial, made.conversion.artifacts, Children(unit.limits, None))


def flip_a_weight(path: Path) -> None:
    (shard,) = path.parent.glob("*.bin")
    damage.flip(shard, shard.read_bytes()[:16])


def change_an_activation(path: Path) -> None:
    model = json.loads(path.read_text())
    layers = model["modelTopology"]["model_config"]["config"]["layers"]
    layers[1]["config"]["activation"] = "linear"
    path.write_text(json.dumps(model))


def name_an_unknown_weight(path: Path) -> None:
    path.write_text(path.read_text().replace('"hidden/kernel"', '"other/kernel"'))


@pytest.mark.parametrize("harm", [flip_a_weight, change_an_activation, name_an_unknown_weight])
def test_tried_leaves_a_layers_model_to_the_checks_when_its_files_were_damaged(
    keras_sample: Sample, tmp_path: Path, harm: Harm
) -> None:
    made = samples.converted(keras_sample, "tfjs", "layers").copy(tmp_path)
    harm(made.path)
    assert again(made) == made.conversion.artifacts
    (row,) = made.check()
    assert row.status == "failed"


def change_a_kernel(path: Path) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        kernel = file["model_weights/hidden/hidden/kernel:0"]
        kernel[...] = kernel[...] + 1


def change_a_config(path: Path) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace('"relu"', '"linear"')


@pytest.mark.parametrize("harm", [change_a_kernel, change_a_config, damage.truncate])
def test_tried_leaves_an_hdf5_file_to_the_checks_when_it_was_damaged(
    keras_sample: Sample, tmp_path: Path, harm: Harm
) -> None:
    made = samples.converted(keras_sample, "hdf5", "model").copy(tmp_path)
    harm(made.path)
    assert again(made) == made.conversion.artifacts
    (row,) = made.check()
    assert row.status == "failed"


@pytest.mark.parametrize(("target", "variant"), [("tfjs", "layers"), ("hdf5", "model")])
def test_tried_changes_nothing_when_the_runtime_computes_what_the_model_does(
    keras_sample: Sample, target: str, variant: str
) -> None:
    made = samples.converted(keras_sample, target, variant)
    assert again(made) == made.conversion.artifacts
