"""The TF Serving layout: the servable in the C++ loader, its warmup requests replayed, and the ModelServer's config."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import damage
import pytest
import samples
from samples import Converted, Sample

from converters.contract.errors import Damaged
from converters.processes.child import run
from converters.targets.serving import layout, warmup
from tests.targets.saved_model import harms as saved_model_harms
from tests.targets.serving import harms as serving_harms

pytestmark = pytest.mark.usefixtures("kept_children")

EVERY = {"serving_default", "summary"}


@pytest.fixture(scope="module")
def sound(module_sample: Sample) -> Converted:
    """serving/1 of a tf.Module with two signatures."""
    return samples.converted(module_sample, "serving")


@pytest.fixture
def copy(sound: Converted, tmp_path: Path) -> Converted:
    """A copy of it, to be damaged."""
    return sound.copy(tmp_path)


def test_check_passes_every_row_when_the_servable_is_sound(sound: Converted, keras_sample: Sample) -> None:
    for made in (sound, samples.converted(keras_sample, "serving")):
        rows = made.check()
        assert samples.turned(rows) == {}
        for row in rows:
            assert row.path == "serving/1"
            assert row.runtimes() == ["TensorFlow C API 2.19.0", "warmup replay"]
        assert (made.path / "assets.extra" / "tf_serving_warmup_requests").is_file()


def test_convert_names_the_directory_by_the_version(module_sample: Sample, tmp_path: Path) -> None:
    source = module_sample.source.model_copy(update={"version": 12})
    sample = Sample(module_sample.spec, module_sample.built, source)
    conversion = samples.convert(samples.unit_of(sample, "serving", "default", tmp_path))
    assert {artifact.path for artifact in conversion.artifacts} == {tmp_path / "serving" / "12"}


def test_warmup_requests_are_goldens_when_read_back(sound: Converted) -> None:
    recorded = run(warmup.requests, sound.path / layout.WARMUP).value
    assert recorded.keys() == EVERY
    for key, inputs in recorded.items():
        wanted = sound.sample.golden.cases[key][-1].inputs
        assert {name: value.tobytes() for name, value in inputs.items()} == {
            name: value.tobytes() for name, value in wanted.items()
        }


def test_check_passes_when_inputs_are_of_every_kind(make_sample: Callable[..., Sample]) -> None:
    code = """
import tensorflow as tf

KINDS = ["bool", "int8", "int32", "int64", "uint8", "float16", "float32", "float64", "complex64", "string"]

class Kinds(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 2], kind, name=f"in_{kind}") for kind in KINDS])
    def __call__(self, *given):
        return {f"out_{kind}": tf.identity(value) for kind, value in zip(KINDS, given)}

def build():
    return Kinds()
"""
    (row,) = samples.converted(make_sample(code), "serving").check()
    assert (row.status, row.reason) == ("passed", None)


def test_check_fails_runs_when_a_weight_byte_is_flipped(copy: Converted) -> None:
    (data,) = (copy.path / "variables").glob("variables.data-*")
    damage.flip(data, samples.WEIGHT.tobytes())
    assert samples.turned(copy.check()) == {key: {"runs"} for key in EVERY}


@pytest.mark.parametrize(
    ("change", "args", "failed"),
    [
        # The warmup request for it would end the loading of them all.
        ("rename_signature", ("summary", "digest"), {"summary": {"names"}, "serving_default": {"runs"}}),
        ("swap_outputs", ("serving_default", "projected", "squashed"), {"serving_default": {"values", "batch"}}),
        ("set_output_dtype", ("summary", "energy", 2), {"summary": {"dtypes"}}),
    ],
)
def test_check_fails_one_check_when_the_proto_is_edited(
    copy: Converted, change: str, args: tuple[Any, ...], failed: dict[str, set[str]]
) -> None:
    run(saved_model_harms.edit_saved_model, copy.path, change, *args)
    assert samples.turned(copy.check()) == failed


@pytest.mark.parametrize("name", ["0", "latest", "v1", "1.0"])
def test_check_fails_loads_when_the_directory_is_no_version(copy: Converted, name: str) -> None:
    renamed = copy.path.rename(copy.path.with_name(name))
    artifacts = [artifact.model_copy(update={"path": renamed}) for artifact in copy.conversion.artifacts]
    moved = Converted(copy.sample, copy.conversion.model_copy(update={"artifacts": artifacts}), copy.root)
    assert samples.turned(moved.check()) == {key: {"loads"} for key in EVERY}


def test_check_fails_loads_when_another_version_is_beside(copy: Converted) -> None:
    shutil.copytree(copy.path, copy.path.with_name("7"))
    rows = copy.check()
    assert samples.turned(rows) == {key: {"loads"} for key in EVERY}
    assert "beside version 1 is 7" in str(rows[0].reason)


def flip_last(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-10] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [os.remove, damage.truncate, flip_last, lambda path: path.write_bytes(b"not records at all")],
    ids=["missing", "truncated", "flipped", "foreign"],
)
def test_check_fails_warmup_alone_when_its_file_is_damaged(copy: Converted, harm: Callable[[Path], Any]) -> None:
    harm(copy.path / layout.WARMUP)
    rows = copy.check()
    assert samples.turned(rows) == {key: {"runs"} for key in EVERY}
    assert {result.runtime for result in samples.not_passed(rows)} == {"warmup"}


def test_check_fails_warmup_when_its_file_is_empty(copy: Converted) -> None:
    (copy.path / layout.WARMUP).write_bytes(b"")
    rows = copy.check()
    assert samples.turned(rows) == {key: {"runs"} for key in EVERY}
    assert "no warmup request is for signature 'summary'" in str(rows[1].reason)


@pytest.mark.parametrize(
    ("change", "args", "failed"),
    [
        ("drop_request", ("summary",), {"summary": {"runs"}}),
        ("redirect_request", ("summary", "digest"), {key: {"runs"} for key in EVERY}),
        ("add_request", ("summary", "digest"), {key: {"runs"} for key in EVERY}),
        ("double_request", ("summary", "signal"), {key: {"runs"} for key in EVERY}),
        ("rename_request_input", ("signal", "sound"), {key: {"runs"} for key in EVERY}),
        ("change_request_value", ("signal",), {key: {"values"} for key in EVERY}),
        ("make_classify_request", (), {key: {"runs"} for key in EVERY}),
    ],
)
def test_check_fails_warmup_alone_when_a_request_is_edited(
    copy: Converted, change: str, args: tuple[Any, ...], failed: dict[str, set[str]]
) -> None:
    run(serving_harms.edit_warmup, copy.path / layout.WARMUP, change, *args)
    rows = copy.check()
    assert samples.turned(rows) == failed
    assert all(result.runtime.startswith("warmup") for result in samples.not_passed(rows))


def test_models_config_parses_as_the_servers_proto() -> None:
    text = run(layout.models_config, ["b", "a.1"]).value
    assert run(layout.parse_models_config, text).value == {
        "a.1": "/models/a.1/current/serving",
        "b": "/models/b/current/serving",
    }


def test_parse_models_config_raises_damaged_when_the_text_is_something_else() -> None:
    with pytest.raises(Damaged, match=r"models\.config is no ModelServerConfig"):
        run(layout.parse_models_config, "model_config_list { configs { name: 'a' } }")
