"""One variant of one target, whatever becomes of it: a row for each signature, and never an exception."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import samples
from samples import Sample

from converters.contract.layout import DESCRIBED
from converters.steps import again
from converters.steps.convert import convert
from converters.steps.unit import Unit, plan, relocated

Make = Callable[..., Sample]


def test_plan_follows_the_order_of_targets_and_the_options_variants(make_sample: Make) -> None:
    targets = {"hdf5": {"variants": ["weights", "model"]}, "tflite": {"variants": ["int8"]}}
    sample = make_sample(samples.KERAS, targets=targets)
    found = plan(sample.source, sample.spec)
    assert found == [("saved_model", "default"), ("tflite", "int8"), ("hdf5", "weights"), ("hdf5", "model")]


@pytest.mark.parametrize("target", ["tflite", "tfjs"])
def test_convert_gives_every_signature_an_artifact_when_the_saved_model_is_missing(
    module_sample: Sample, target: str
) -> None:
    source = module_sample.source.model_copy(update={"saved_model": module_sample.source.saved_model / "none"})
    spec = module_sample.spec.with_targets([target])
    _, (_, variant), *_ = plan(source, spec)
    release = module_sample.source.saved_model.parent / f"none-{target}"
    made = convert(Unit(target=target, variant=variant, source=source, spec=spec, release=release))
    assert "cannot be read as a SavedModel" in str(made.error)
    assert {artifact.signature for artifact in made.artifacts} == source.signatures.keys()
    assert {artifact.path for artifact in made.artifacts} == {None}


def test_head_of_a_log_converts_again_when_it_is_run_in_the_release(keras_sample: Sample, tmp_path: Path) -> None:
    root = keras_sample.source.saved_model.parent
    elsewhere = dict.fromkeys(("builder", "keras_file", "representative"))
    source = relocated(keras_sample.source.model_copy(update=elsewhere), root, tmp_path / "release")
    shutil.copytree(root, tmp_path / "release")
    unit = Unit(target="tflite", variant="float32", source=source, spec=keras_sample.spec, release=tmp_path / "release")
    described = tmp_path / "release" / DESCRIBED
    described.parent.mkdir()
    described.write_text(relocated(source, tmp_path / "release", Path()).model_dump_json())
    again.head_of_conversion(tmp_path / "log", unit)
    assert again.is_empty(tmp_path / "log")
    command = (tmp_path / "log").read_text().partition("directory: ")[2]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ran = subprocess.run(
        command, shell=True, cwd=tmp_path / "release", env=environment, text=True, capture_output=True, check=True
    )
    assert "signature='serving_default'" in ran.stdout
    assert list(tmp_path.glob("tflite-*/tflite/float32.tflite"))
