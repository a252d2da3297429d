"""The gate against regressions, from the command line: a release worse than the current one."""

from pathlib import Path

import labelled
import pytest
import yaml
from command import Fanout

from converters.release import manifest

FIELDS = {
    "model": "gated.py:build",
    "golden": {"data": "gated.py:golden", "samples": 40},
    "targets": {"tflite": {"variants": ["float32"]}, "serving": {}},
}
LABELS = {"data": "gated.py:labelled"}
OTHER = labelled.CLASSIFIER.replace("seed=3", "seed=4")
"""Other weights, as if training had gone wrong; the labels are still those that the first model gave."""


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate") / "releases"


def write(folder: Path, code: str, **fields: object) -> Path:
    (folder / "gated.py").write_text(code)
    path = folder / "gated.yaml"
    path.write_text(yaml.safe_dump({**FIELDS, **fields}))
    return path


def test_deploy_refuses_a_release_that_is_worse_than_the_current_one_and_a_person_may_promote_it(
    tmp_path: Path, releases: Path, fanout: Fanout
) -> None:
    first = fanout("deploy", write(tmp_path, labelled.CLASSIFIER, evaluation=LABELS), releases=releases)
    assert first.status == 0, first.err
    assert "accuracy of the live model: 0.9, 40 samples" in first.out

    worse = fanout("deploy", write(tmp_path, OTHER, evaluation=LABELS), "--json", releases=releases)
    assert worse.status == 1
    (made,) = worse.document["manifests"]
    assert (made["version"], made["status"]) == (2, "failed")
    assert {row["status"] for row in made["targets"]} == {"passed"}  # each computes what its own live model does
    assert made["comparison"]["version"] == 1
    assert len(made["refusals"]) == len(made["targets"])
    now = made["evaluation"]["live"]
    assert made["refusals"][0] == (
        f"saved_model serving_default: accuracy is {now:.4g}, was 0.9 in release 1: {0.9 - now:.4g} worse, and 0.01 is "
        "allowed; change 'regression.metric_drop', or `fanout promote gated 2`"
    )
    assert (releases / "gated" / "current").resolve().name == "1"
    assert manifest.read(releases / "gated" / "2").model_dump(mode="json", by_alias=True) == made
    page = (releases / "gated" / "2" / "report.html").read_text()
    assert "Against release 1, which was current" in page
    assert f"0.9 → {now:.4g}" in page

    again = fanout("check", releases / "gated" / "2", "--json", releases=releases)
    assert again.status == 0  # nothing is wrong with it
    deliberate = fanout("promote", "gated", 2, releases=releases)
    assert deliberate.status == 0, deliberate.err
    assert (releases / "gated" / "current").resolve().name == "2"


def test_deploy_refuses_a_release_that_lacks_a_row_unless_the_config_allows_it(
    tmp_path: Path, releases: Path, fanout: Fanout
) -> None:
    root = releases.parent / "rows"
    path = write(tmp_path, labelled.CLASSIFIER)
    assert fanout("deploy", path, releases=root).status == 0
    fewer = fanout("deploy", path, "--targets", "tflite", releases=root)
    assert fewer.status == 1
    assert "serving serving_default: release 1 has it, this release has not; deploy it too" in fewer.out
    assert (root / "gated" / "current").resolve().name == "1"
    allowed = write(tmp_path, labelled.CLASSIFIER, regression={"vanished": False})
    assert fanout("deploy", allowed, "--targets", "tflite", releases=root).status == 0
    assert (root / "gated" / "current").resolve().name == "3"


def test_deploy_publishes_nothing_when_the_current_release_cannot_be_read(
    tmp_path: Path, releases: Path, fanout: Fanout
) -> None:
    root = releases.parent / "unreadable"
    path = write(tmp_path, labelled.CLASSIFIER, targets={"serving": {}})
    assert fanout("deploy", path, releases=root).status == 0
    (root / "gated" / "1" / "manifest.json").write_text("{}")
    ran = fanout("deploy", path, releases=root)
    assert ran.status == 2
    assert "manifest.json is no manifest of schema 1" in ran.err
    assert not (root / "gated" / "2").exists()
    assert (root / "gated" / "current").resolve().name == "1"


def test_deploy_leaves_out_what_fell_short_and_was_not_required(tmp_path: Path, releases: Path, fanout: Fanout) -> None:
    root = releases.parent / "without"
    variants = {"float32": {}, "int8": {"optional": True}}
    targets = {"tflite": {"variants": variants, "tolerance": {"int8": {"error": 0}}}}
    done = fanout("deploy", write(tmp_path, labelled.CLASSIFIER, targets=targets), "--json", releases=root)
    assert done.status == 0, done.err
    assert "left out of gated 1: tflite int8 serving_default: values on litert" in " ".join(done.err.split())
    (made,) = done.document["manifests"]
    assert made["status"] == "passed"
    rows = {row["variant"]: row for row in made["targets"]}
    assert (rows["int8"]["status"], rows["int8"]["path"], rows["int8"]["data"]) == ("failed", None, "given")
    assert rows["float32"]["status"] == "passed"
    release = root / "gated" / "current"
    assert sorted(path.name for path in (release / "tflite").iterdir()) == ["float32.tflite"]
    assert "Without tflite int8 serving_default; the reasons are with the rows" in (release / "report.html").read_text()

    again = fanout("check", release, releases=root)
    assert again.status == 0, again.err
    assert "without 1 of 3 rows" in again.out
    assert fanout("deploy", tmp_path / "gated.yaml", releases=root).out.startswith("unchanged")


def test_deploy_refuses_inputs_that_nobody_gave_when_the_config_requires_them(
    tmp_path: Path, releases: Path, fanout: Fanout
) -> None:
    path = write(tmp_path, labelled.CLASSIFIER, golden={}, require_data=True)
    done = fanout("deploy", path, "--targets", "tflite", releases=releases.parent / "data")
    assert done.status == 1
    assert "its inputs were drawn, and 'require_data' asks for yours" in " ".join(done.out.split())
