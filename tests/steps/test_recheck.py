"""A release that somebody handed over is checked without running what came with it, unless that is asked for."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import hostile
import labelled
import numpy as np
import pytest
import releases
import samples
from hostile import layer, writes
from staying import staying

from converters.contract.errors import BadInput
from converters.contract.values import CheckResult
from converters.release.manifest import Manifest
from converters.steps.recheck import recheck
from converters.targets.tflite import code as tflite_code
from converters.targets.tflite import flatbuffer

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("kept_children")]

METRIC = """
from pathlib import Path

Path("{marker}").write_text("ran")

def closeness(outputs, labels):
    return -float(abs(outputs["scores"] - labels).max())
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with staying() as pool:
        yield pool


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, pool: ThreadPoolExecutor) -> tuple[Path, Path]:
    """A release with a metric of its own, and the marker that this writes whenever it is imported."""
    folder = tmp_path_factory.mktemp("made")
    marker = folder / "marker"
    (folder / "metrics.py").write_text(METRIC.format(marker=marker))
    evaluation = {"data": "tiny.py:scored", "metric": "metrics.py:closeness", "max_drop": 0.1}
    targets = {"tflite": {"variants": ["float32"]}, "hdf5": {}}
    spec = samples.write_spec(
        folder, labelled.CLASSIFIER, golden={"data": "tiny.py:golden"}, evaluation=evaluation, targets=targets
    )
    released = releases.publish(spec, folder / "releases", pool)
    assert released.manifest.refusals == []
    assert all(row.metric() is not None for row in released.manifest.targets), "the flow's own checks run it"
    assert marker.exists()
    return released.path, marker


@pytest.fixture
def release(made: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy, as somebody hands it over."""
    made[1].unlink(missing_ok=True)
    return Path(shutil.copytree(made[0], tmp_path / "release"))


def metrics(found: Manifest) -> list[CheckResult]:
    return [check for row in found.targets for check in row.checks if check.name == "metric"]


def test_recheck_runs_no_metric_of_the_release_unless_it_is_trusted(release: Path, made: tuple[Path, Path]) -> None:
    found = recheck(release)
    assert not made[1].exists()
    assert found.refusals == []
    assert {check.status for check in metrics(found)} == {"not_run"}
    assert "code that came with the release; it is run where --trust-code says so" in metrics(found)[0].detail
    trusted = recheck(release, trust_code=True)
    assert {check.status for check in metrics(trusted)} == {"passed"}
    assert made[1].exists()


def test_recheck_never_runs_a_metric_whose_digest_differs(release: Path, made: tuple[Path, Path]) -> None:
    with (release / "metric.py").open("a") as file:
        file.write("# another\n")
    found = recheck(release, trust_code=True)
    assert not made[1].exists()
    assert found.refusals != []
    assert {check.status for check in metrics(found)} == {"not_run"}
    assert "is not what the manifest's digest says, and so it was not run" in metrics(found)[0].detail


def saved_model(release: Path, marker: Path) -> str:
    shutil.rmtree(release / "saved_model")
    hostile.saved_model(release / "saved_model", writes(marker), after=["written"], inputs="features")
    return "saved_model: WriteFile (node written) writes files"


def keras(release: Path, marker: Path) -> str:
    hostile.keras_hdf5(
        release / "hdf5" / "model.h5", hostile.sequential(layer("Lambda", "l", function=hostile.marking(marker)))
    )
    return "hdf5/model.h5: Lambda (layer l) holds Python code"


@pytest.mark.parametrize("change", [saved_model, keras], ids=["saved_model", "keras"])
def test_recheck_refuses_a_release_whose_files_hold_code(
    change: Callable[[Path, Path], str], release: Path, tmp_path: Path
) -> None:
    named = change(release, tmp_path / "marker")
    with pytest.raises(BadInput) as refusal:
        recheck(release)
    assert named in str(refusal.value)
    assert "--trust-code" in str(refusal.value)
    assert not (tmp_path / "marker").exists()


def test_recheck_reports_a_file_that_cannot_be_read_and_runs_the_rest(release: Path) -> None:
    (release / "hdf5" / "model.h5").write_bytes(b"nothing")
    found = recheck(release)
    assert {row.target for row in found.targets if row.status != "passed"} == {"hdf5"}


def test_recheck_refuses_a_release_whose_file_is_damaged_though_the_config_does_not_require_it(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    unrequired = {"variants": ["float32"], "required": [], "optional": True}
    targets = {"tflite": unrequired, "hdf5": {"optional": True, "required": []}}
    release = releases.publish(
        samples.write_spec(tmp_path, samples.KERAS, targets=targets), tmp_path / "releases", pool
    ).path
    assert recheck(release).refusals == []
    with (release / "tflite" / "float32.tflite").open("ab") as file:
        file.write(b"more")
    (refusal,) = recheck(release).refusals
    assert "tflite float32 serving_default failed: digests on sha256: tflite/float32.tflite" in refusal


def test_recheck_loads_no_file_that_does_not_tell_what_it_would_run(release: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    keras(release, marker)
    with h5py.File(release / "hdf5" / "model.h5", "a") as file:  # which the reader refuses, and Keras does not look at
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/")
    rows = {row.target: row for row in recheck(release).targets}
    assert not marker.exists()
    assert rows["hdf5"].status == "failed"
    assert {check.name for check in rows["hdf5"].checks} == {"digests", "loads"}
    assert rows["tflite"].status == "passed"


def test_code_in_names_select_ops_that_touch_files(release: Path, tmp_path: Path) -> None:
    from flatbuffers import flexbuffers

    path = release / "tflite" / "float32.tflite"
    assert tflite_code.code_in(path) == []
    model = flatbuffer.parse(path.read_bytes())
    operator = model.subgraphs[0].operators[0]
    model.operatorCodes[operator.opcodeIndex].customCode = b"FlexWriteFile"
    operator.builtinOptions, operator.builtinOptionsType = None, 0
    definition = hostile.node("w", "WriteFile", "a", "b").SerializeToString().decode()
    for held, sentence in (
        (definition, "WriteFile (node w) writes files"),
        ("nothing", "WriteFile holds a definition that cannot be looked through"),
    ):
        builder = flexbuffers.Builder()
        with builder.Vector():
            builder.String("WriteFile")
            builder.String(held)
        operator.customOptions = np.frombuffer(bytes(builder.Finish()), np.uint8)
        (tmp_path / "evil.tflite").write_bytes(flatbuffer.pack(model))
        assert tflite_code.code_in(tmp_path / "evil.tflite")[0] == sentence
