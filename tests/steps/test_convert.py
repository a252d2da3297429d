"""One variant of one target, whatever becomes of it: a row for each signature, and never an exception."""

from collections.abc import Callable

import pytest
import samples
from samples import Sample

from converters.steps.convert import convert
from converters.steps.unit import Unit, plan

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
