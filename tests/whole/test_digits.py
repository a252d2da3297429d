"""The main job on real data: digits, deployed once for this module through the command line and a real server."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Fanout, Ran, Server
from samples import labels_of_digits

from converters.processes import child as isolate
from converters.reference import golden
from converters.release import manifest
from converters.targets.serving import layout

SIGNATURE = "serving_default"


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("digits") / "releases"


@pytest.fixture(scope="module")
def deployed(fanout: Fanout, releases: Path) -> Ran:
    ran = fanout("deploy", "digits", "--json", releases=releases)
    assert ran.status == 0, ran.err
    return ran


@pytest.fixture(scope="module")
def rows(deployed: Ran) -> dict[tuple[str, str], Any]:
    (made,) = deployed.document["manifests"]
    return {(row["target"], row["variant"]): row for row in made["targets"]}


def test_deploy_passes_every_row_when_model_is_digits(rows: dict[tuple[str, str], Any]) -> None:
    assert list(rows) == [
        ("saved_model", "default"),
        ("tflite", "float32"),
        ("tflite", "float16"),
        ("tflite", "dynamic"),
        ("tflite", "int8"),
        ("tfjs", "graph"),
        ("tfjs", "layers"),
        ("hdf5", "model"),
        ("serving", "default"),
    ]
    assert {row["status"] for row in rows.values()} == {"passed"}


@pytest.mark.parametrize("variant", ["graph", "layers"])
def test_deploy_names_node_and_chromium_when_target_is_tfjs(rows: dict[tuple[str, str], Any], variant: str) -> None:
    ran = {check["runtime"].split()[0] for check in rows["tfjs", variant]["checks"] if check["name"] == "values"}
    assert ran == {"node", "chromium"}


def test_deploy_names_runtime_and_version_when_a_check_ran(rows: dict[tuple[str, str], Any]) -> None:
    for row in rows.values():
        values = [check for check in row["checks"] if check["name"] == "values"]
        assert values, row
        assert all(re.search(r"\d+\.\d+", check["runtime"]) or check["runtime"] == "warmup replay" for check in values)
        assert all(check["measured"] <= check["limit"] for check in values)


def test_deploy_publishes_the_documented_layout_when_it_passes(deployed: Ran, releases: Path) -> None:
    release = releases / "digits" / "1"
    for name in (
        "manifest.json",
        "report.html",
        "golden.npz",
        "evaluation.npz",
        "saved_model/saved_model.pb",
        "tflite/int8.tflite",
        "tfjs/graph/serving_default/model.json",
        "tfjs/layers/model.json",
        "hdf5/model.h5",
        "serving/1/saved_model.pb",
        "serving/1/assets.extra/tf_serving_warmup_requests",
    ):
        assert (release / name).is_file(), name
    assert (releases / "digits" / "current").resolve() == release
    served = layout.parse_models_config((releases / "models.config").read_text())
    assert served == {"digits": "/models/digits/current/serving"}
    assert sorted(path.name for path in (releases / "digits").iterdir()) == ["1", "current", "history.jsonl"]


def test_deploy_records_every_file_when_it_publishes(deployed: Ran, releases: Path) -> None:
    release = releases / "digits" / "1"
    (made,) = deployed.document["manifests"]
    files = {path.relative_to(release).as_posix() for path in release.rglob("*") if path.is_file()}
    assert set(made["files"]) == files - {"manifest.json"}
    assert manifest.read(release).model_dump(mode="json", by_alias=True) == made


def test_deploy_is_completed_in_prefect_when_it_passes(deployed: Ran, server: Server) -> None:
    run = server.flow_runs("deploy digits")[0]
    assert run["state"]["type"] == "COMPLETED"
    assert run["state"]["message"] == "digits 1 was promoted"
    tasks = server.task_runs(run["id"], "digits 1: release")
    assert {"digits 1: build", "digits 1: export", "digits 1: tflite int8", "digits 1: check tfjs graph"} <= set(tasks)
    assert set(tasks.values()) == {"Completed"}


def test_deploy_measures_accuracy_in_every_runtime_when_images_are_labelled(
    deployed: Ran, rows: dict[tuple[str, str], Any], releases: Path
) -> None:
    (made,) = deployed.document["manifests"]
    labels = isolate.run(labels_of_digits).value
    case = golden.load(releases / "digits" / "1" / "golden.npz").cases[SIGNATURE][0]
    live = float(np.mean(case.outputs["digit"].argmax(axis=1) == labels))
    assert live > 0.95
    evaluation = made["evaluation"]
    assert (evaluation["metric"], evaluation["samples"], evaluation["live"]) == ("accuracy", 360, live)
    for key, row in rows.items():
        metrics = [check for check in row["checks"] if check["name"] == "metric"]
        compared = [check for check in row["checks"] if check["name"] == "values"]
        ran = {check["runtime"] for check in compared if "software WebGL" not in check["detail"]} - {"warmup replay"}
        assert {check["runtime"] for check in metrics} == ran
        for check in metrics:
            assert check["figures"]["live"] == live
            assert check["figures"]["samples"] == 360
            if key in (("tflite", "dynamic"), ("tflite", "int8")):
                assert abs(check["figures"]["metric"] - live) <= 0.02
            else:
                assert check["figures"]["metric"] == live


def test_deploy_says_what_int8_keeps_when_it_passes(rows: dict[tuple[str, str], Any]) -> None:
    checks = {check["name"]: check for check in rows["tflite", "int8"]["checks"]}
    assert {"snr", "cosine", "top1", "metric"} <= set(checks)
    assert 30 < checks["values"]["figures"]["snr_db"] < 60
    assert checks["values"]["figures"]["cosine"] > 0.999
    assert checks["values"]["figures"]["top1"] > 0.97


def test_check_passes_again_when_release_is_whole_and_moved(deployed: Ran, releases: Path, fanout: Fanout) -> None:
    moved = releases.parent / "elsewhere"
    shutil.copytree(releases / "digits" / "1", moved)
    ran = fanout("check", moved, "--json", releases=releases)
    assert ran.status == 0, ran.err
    assert {row["status"] for row in ran.document["targets"]} == {"passed"}
    assert all(row["checks"][0]["name"] == "digests" for row in ran.document["targets"])
    assert all(any(check["name"] == "metric" for check in row["checks"]) for row in ran.document["targets"])


def test_check_fails_exactly_the_row_when_its_file_was_changed(deployed: Ran, releases: Path, fanout: Fanout) -> None:
    broken = releases.parent / "broken"
    shutil.copytree(releases / "digits" / "1", broken)
    shard = broken / "tfjs" / "layers" / "group1-shard1of1.bin"
    shard.write_bytes(shard.read_bytes()[:-64])
    ran = fanout("check", broken, "--json", releases=releases)
    assert ran.status == 1
    red = {(row["target"], row["variant"]) for row in ran.document["targets"] if row["status"] != "passed"}
    assert red == {("tfjs", "layers")}
    assert manifest.read(broken).status == "passed"  # what is on disk is never changed
