"""Releases that are refused, conversions that crash, several models at once."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import samples
from command import Fanout, Server

from converters.config.spec import ModelSpec

CRASHING = """
import os
import tf_keras

@tf_keras.saving.register_keras_serializable("crashing")
class Crashing(tf_keras.layers.Layer):
    @classmethod
    def from_config(cls, config):
        os._exit(0)  # whoever loads the model again is gone, with an exit status of success

def build():
    return tf_keras.Sequential([tf_keras.Input((4,), name="x"), tf_keras.layers.Dense(2, "tanh", name="y"), Crashing(name="z")])
"""
FEW = {"hdf5": {}, "serving": {}}


@pytest.fixture(name="config")
def _config(tmp_path: Path) -> Callable[..., Path]:
    """Call with a name, a builder's code and a config's fields: the config's path."""

    def write(name: str, code: str = samples.MODULE, **fields: object) -> Path:
        spec: ModelSpec = samples.write_spec(tmp_path, code, name=name, **fields)
        return spec.base / f"{name}.yaml"

    return write


@pytest.fixture(name="releases")
def _releases(tmp_path: Path) -> Path:
    return tmp_path / "releases"


def test_deploy_refuses_and_keeps_current_when_a_check_fails(
    config: Callable[..., Path], releases: Path, fanout: Fanout, server: Server
) -> None:
    path = config("gate", targets=FEW)
    assert fanout("deploy", path, releases=releases).status == 0
    # Energy and projections cannot agree to the last bit with outputs recorded from another seed's weights.
    tight = {"default": {"error": 0.0, "reason": "nothing is exactly this"}}
    path = config(
        "gate",
        samples.MODULE,
        targets={"tflite": {"variants": ["dynamic", "int8"], "tolerance": {"int8": tight["default"]}}},
    )
    ran = fanout("deploy", path, "--json", releases=releases)
    assert ran.status == 1
    (made,) = ran.document["manifests"]
    assert (made["version"], made["status"]) == (2, "failed")
    assert (releases / "gate" / "current").resolve().name == "1"
    assert (releases / "gate" / "2" / "report.html").is_file()
    assert json.loads((releases / "gate" / "2" / "manifest.json").read_text()) == made
    run = server.flow_runs(f"deploy {path}")[0]
    assert run["state"]["type"] == "FAILED"
    assert "gate 2 was refused: tflite int8" in run["state"]["message"]
    tasks = server.task_runs(run["id"], "gate 2: release")
    assert tasks["gate 2: check tflite int8"] == "Failed"
    assert tasks["gate 2: check tflite dynamic"] == "Completed"
    refused = fanout("promote", "gate", 2, releases=releases)
    assert refused.status == 2
    assert "failed its checks" in refused.err


def test_deploy_refuses_a_changed_contract_until_it_is_accepted(
    config: Callable[..., Path], releases: Path, fanout: Fanout, server: Server
) -> None:
    targets = {"targets": {"serving": {}}}
    path = config("contract", **targets)
    assert fanout("deploy", path, releases=releases).status == 0
    path = config(
        "contract", samples.MODULE.replace('"squashed"', '"pressed"').replace("def summary", "def total"), **targets
    )
    refused = fanout("deploy", path, releases=releases)
    assert refused.status == 1
    assert "contract changed against release 1: output 'squashed' is gone (serving_default)" in refused.out
    assert "its signatures are not those of release 1, whose callers it would break" in refused.out
    assert (releases / "contract" / "current").resolve().name == "1"
    manifest = json.loads((releases / "contract" / "2" / "manifest.json").read_text())
    assert manifest["comparison"]["contract"] == "changed"
    assert "Contract changed" in (releases / "contract" / "2" / "report.html").read_text()
    accepted = fanout("deploy", path, "--accept-contract-change", releases=releases)
    assert accepted.status == 0, accepted.err
    assert (releases / "contract" / "current").resolve().name == "3"
    assert fanout("deploy", path, releases=releases).status == 0  # it is the contract now
    assert (releases / "contract" / "current").resolve().name == "3"


def test_deploy_fails_only_the_rows_of_a_conversion_that_dies_when_others_finish(
    config: Callable[..., Path], releases: Path, fanout: Fanout
) -> None:
    ran = fanout(
        "deploy",
        config("crashing", CRASHING, targets={"tflite": {"variants": ["float32"]}, **FEW}),
        "--json",
        releases=releases,
    )
    assert ran.status == 1
    (made,) = ran.document["manifests"]
    rows = {row["target"]: row for row in made["targets"]}
    assert rows["hdf5"]["status"] == "failed"
    assert "ended with exit status 0 before it returned a result" in rows["hdf5"]["reason"]
    assert {rows[target]["status"] for target in ("saved_model", "tflite", "serving")} == {"passed"}


def test_deploy_goes_on_and_names_the_broken_one_when_it_is_given_three_models(
    config: Callable[..., Path], releases: Path, fanout: Fanout, server: Server
) -> None:
    first = config("first", targets={"serving": {}})
    broken = config("broken", "def build():\n    raise RuntimeError('no checkpoint')\n", targets={"serving": {}})
    third = config("third", samples.KERAS, targets={"hdf5": {}})
    ran = fanout("deploy", first, broken, third, "--json", releases=releases, process=True)
    assert ran.status == 2
    assert [made["model"] for made in ran.document["manifests"]] == ["first", "third"]
    assert "broken.py, line 2, in build: RuntimeError: no checkpoint" in ran.err
    assert "Traceback" not in ran.err
    assert sorted(path.name for path in releases.glob("*/current")) == ["current", "current"]
    assert not (releases / "broken").exists()
    run = server.flow_runs("deploy all")[0]
    assert run["state"]["type"] == "FAILED"
    assert "1 of 3 failed" in run["state"]["message"]
    assert "no checkpoint" in run["state"]["message"]


def test_deploy_works_without_a_server_and_without_a_config_when_given_a_path(
    config: Callable[..., Path], releases: Path, fanout: Fanout, module_sample: samples.Sample, tmp_path: Path
) -> None:
    alone = {"PREFECT_API_URL": "", "PREFECT_HOME": str(tmp_path / "prefect")}
    saved_model = module_sample.source.saved_model
    ran = fanout(
        *("deploy", saved_model, "--targets", "hdf5,serving", "--json"),
        releases=releases,
        environment=alone,
        process=True,
    )
    assert ran.status == 0, ran.err
    (made,) = ran.document["manifests"]
    assert made["source"]["kind"] == "saved_model"
    assert {(row["target"], row["signature"]) for row in made["targets"]} == {
        ("saved_model", "serving_default"),
        ("saved_model", "summary"),
        ("hdf5", None),
        ("serving", "serving_default"),
        ("serving", "summary"),
    }
    assert {row["status"] for row in made["targets"]} == {"passed"}
    # All that the UI shows of it later is there when the command returns.
    with closing(sqlite3.connect(tmp_path / "prefect" / "prefect.db")) as database:
        assert database.execute("select state_type from flow_run").fetchall() == [("COMPLETED",)]
        assert database.execute("select type from flow_run_state order by timestamp").fetchall() == [
            ("PENDING",), ("RUNNING",), ("COMPLETED",)
        ]  # fmt: skip
        tasks = database.execute("select name, state_type from task_run").fetchall()
        steps = [f"{step}{target}" for target in ("saved_model", "hdf5 weights", "serving") for step in ("", "check ")]
        named = {f"{made['model']} 1: {step}" for step in ("build", "export", *steps, "release")}
        assert {name for name, _ in tasks} == named
        assert {state for _, state in tasks} == {"COMPLETED"}
        (states,) = database.execute("select count(*) from task_run_state where type = 'COMPLETED'").fetchone()
        assert states == len(named)
        assert database.execute("select type from artifact order by type").fetchall() == [
            ("markdown",), ("progress",), ("table",)
        ]  # fmt: skip
        (finished,) = database.execute(
            "select count(*) from events where event in ('prefect.task-run.Completed', 'prefect.flow-run.Completed')"
        ).fetchone()
        assert finished == len(named) + 1
        said = [message for (message,) in database.execute("select message from log")]
        assert sum(message.endswith(": passed") for message in said) == len(made["targets"])
        assert sum(message.startswith("Finished in state Completed") for message in said) == 1  # the run's own


def test_deploy_says_why_when_a_server_of_its_own_cannot_come_up(
    config: Callable[..., Path], releases: Path, fanout: Fanout, tmp_path: Path
) -> None:
    home = tmp_path / "prefect"
    home.mkdir()
    (home / "prefect.db").write_bytes(b"nothing that SQLite knows" * 99)
    alone = {"PREFECT_API_URL": "", "PREFECT_HOME": str(home)}
    path = config("homeless", targets={"serving": {}})
    ran = fanout("deploy", path, releases=releases, environment=alone, process=True)
    assert ran.status == 1
    assert "the Prefect server for this run did not start: " in ran.err
    assert "file is not a database" in ran.err
    assert "Traceback" not in ran.err
    assert not (releases / "homeless").exists()  # nor what was built meanwhile


def test_releases_promote_rollback_and_prune_follow_each_other_when_three_versions_exist(
    config: Callable[..., Path], releases: Path, fanout: Fanout
) -> None:
    path = config("versions", samples.KERAS, targets={"hdf5": {}})
    for version in (1, 2, 3):
        ran = fanout("deploy", path, "--force", releases=releases)
        assert ran.status == 0, ran.err
        assert f"versions {version}  passed" in ran.out

    def listed() -> dict[int, bool]:
        document = fanout("releases", "versions", "--json", releases=releases).document
        return {entry["version"]: entry["current"] for entry in document["releases"]}

    assert listed() == {1: False, 2: False, 3: True}
    assert fanout("rollback", "versions", releases=releases).out == "versions 2 is current\n"
    assert fanout("promote", "versions", 1, releases=releases).out == "versions 1 is current\n"
    assert fanout("rollback", "versions", "--reason", "slow", releases=releases).out == "versions 2 is current\n"
    assert fanout("rollback", "versions", releases=releases).out == "versions 1 is current\n"
    assert fanout("rollback", "versions", releases=releases).status == 2
    assert fanout("prune", "versions", "--keep", 1, releases=releases).out == "removed versions 2\n"
    assert listed() == {1: True, 3: False}
    lines = fanout("releases", "versions", releases=releases).out.splitlines()
    assert re.fullmatch(r"\S+Z  2 rolled back in place of 1 by \S+: slow", lines[-2])
    past = fanout("releases", "versions", "--json", releases=releases).document["history"]
    assert [entry["version"] for entry in past] == [1, 2, 3, 2, 1, 2, 1]
    assert [entry["how"] for entry in past][:4] == [*["deployed"] * 3, "rolled back"]
    assert past[2]["by"].startswith("flow run deploy ")


def test_deploy_never_imports_tensorflow_into_the_flows_own_process(
    config: Callable[..., Path], releases: Path, server: Server
) -> None:
    code = (
        "import sys\nfrom flows.cli import main\ntry:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "print(*sorted({'tensorflow', 'tf_keras', 'keras', 'jax', 'prefect'} & set(sys.modules)))\n"
    )
    path = config("light", samples.KERAS, targets={"hdf5": {}})
    command = [sys.executable, "-c", code, "deploy", str(path), "--json", "--releases", str(releases)]
    environment = {**os.environ, "PREFECT_HOME": str(server.home), "PREFECT_API_URL": server.api}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "prefect"
