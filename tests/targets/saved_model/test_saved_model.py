"""The SavedModel, run by the C++ loader: sound ones pass, and whatever is broken on disk turns its own check red."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import damage
import pytest
import samples
from samples import Converted, Sample

from converters.contract.settings import Limits
from converters.processes import resident
from converters.processes.child import run
from tests.targets.saved_model import harms as saved_model_harms

pytestmark = pytest.mark.tensorflow

EVERY = {"serving_default", "summary"}


@pytest.fixture(scope="module")
def sound(module_sample: Sample) -> Converted:
    """The export of a tf.Module with two signatures."""
    return samples.converted(module_sample, "saved_model")


@pytest.fixture
def copy(sound: Converted, tmp_path: Path) -> Converted:
    """A copy of it, to be damaged."""
    return sound.copy(tmp_path)


def edit(copy: Converted, change: str, *args: Any) -> None:
    run(saved_model_harms.edit_saved_model, copy.path, change, *args)


@pytest.mark.parametrize("kind", ["keras_sample", "module_sample"])
def test_check_passes_every_row_when_the_saved_model_is_sound(kind: str, request: pytest.FixtureRequest) -> None:
    sample: Sample = request.getfixturevalue(kind)
    rows = samples.converted(sample, "saved_model").check()
    assert {row.signature for row in rows} == set(sample.source.signatures)
    for row in rows:
        assert (row.status, row.reason) == ("passed", None)
        assert row.path == "saved_model"
        assert row.bytes
        assert {check.name for check in row.checks} >= {"names", "dtypes", "shapes", "outputs", "values", "varies"}
        assert any(check.runtime == "TensorFlow C API 2.19.0" for check in row.checks)
        assert row.latency_ms()


def test_check_fails_runs_when_a_weight_byte_is_flipped(copy: Converted) -> None:
    (data,) = (copy.path / "variables").glob("variables.data-*")
    damage.flip(data, samples.WEIGHT.tobytes())
    assert samples.turned(copy.check()) == {key: {"runs"} for key in EVERY}


def test_check_fails_when_the_files_of_a_kept_model_were_changed(copy: Converted) -> None:
    (data,) = (copy.path / "variables").glob("variables.data-*")
    with resident.keeping():
        assert samples.turned(copy.check()) == {}
        damage.flip(data, samples.WEIGHT.tobytes())
        assert samples.turned(copy.check()) == {key: {"runs"} for key in EVERY}


def test_check_fails_values_when_the_variables_are_another_models(
    copy: Converted, make_sample: Callable[..., Sample]
) -> None:
    other = make_sample(
        samples.MODULE.replace("return Tiny()", "tiny = Tiny(); tiny.offset.assign_add([1] * 5); return tiny")
    )
    shutil.rmtree(copy.path / "variables")
    shutil.copytree(other.source.saved_model / "variables", copy.path / "variables")
    assert samples.turned(copy.check()) == {"serving_default": {"values", "batch"}}


@pytest.mark.parametrize("pattern", ["variables/variables.index", "variables/variables.data-*"])
@pytest.mark.parametrize("harm", [os.remove, damage.truncate], ids=["missing", "truncated"])
def test_check_fails_runs_when_a_variables_file_is_damaged(
    copy: Converted, pattern: str, harm: Callable[[Path], None]
) -> None:
    (path,) = copy.path.glob(pattern)
    harm(path)
    assert samples.turned(copy.check()) == {key: {"runs"} for key in EVERY}


@pytest.mark.parametrize(
    ("change", "args", "failed"),
    [
        ("rename_signature", ("summary", "digest"), {"summary": {"names"}}),
        ("drop_output", ("summary", "peak"), {"summary": {"names"}}),
        ("swap_outputs", ("serving_default", "projected", "squashed"), {"serving_default": {"values", "batch"}}),
        ("set_output_dtype", ("summary", "energy", 2), {"summary": {"dtypes"}}),
        ("set_input_size", ("summary", "signal", 5), {"summary": {"shapes"}}),
        ("retag", ("train",), {key: {"loads"} for key in EVERY}),
    ],
)
def test_check_fails_one_check_when_the_proto_is_edited(
    copy: Converted, change: str, args: tuple[Any, ...], failed: dict[str, set[str]]
) -> None:
    edit(copy, change, *args)
    rows = copy.check()
    assert samples.turned(rows) == failed
    assert {row.signature for row in rows if row.status == "passed"} == EVERY - failed.keys()
    assert all(row.reason for row in rows if row.status == "failed")


def test_check_fails_varies_when_golden_outputs_are_constant(make_sample: Callable[..., Sample]) -> None:
    code = samples.MODULE.replace("projected**2", "0.0 * projected")
    rows = samples.converted(make_sample(code, targets={"serving": {}}), "saved_model").check()
    assert samples.turned(rows) == {"summary": {"varies"}}


def test_check_passes_when_the_constant_output_is_declared(make_sample: Callable[..., Sample]) -> None:
    code = samples.MODULE.replace("projected**2", "0.0 * projected")
    rows = samples.converted(make_sample(code, golden={"constant": ["energy"]}), "saved_model").check()
    assert samples.turned(rows) == {}


def test_check_fails_runs_when_the_time_limit_is_too_short(copy: Converted) -> None:
    hurried = copy.sample.spec.model_copy(update={"limits": Limits(seconds=0.05)})
    sample = Sample(hurried, copy.sample.built, copy.sample.source)
    rows = Converted(sample, copy.conversion, copy.root).check()
    assert {row.status for row in rows} == {"failed"}
    assert "did not finish in 0.05 s" in str(rows[0].reason)
