"""Conversions on a Dask cluster: a scheduler and workers, each a process that was started by itself."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import samples
from command import Fanout, Ran, Server
from dask_cluster import DaskCluster
from waiting import wait_until

from flows import settings

pytestmark = pytest.mark.server

SLOW = """
import os
import time
from pathlib import Path

import keras
from helper import ACTIVATION

if Path(__file__).parent != Path({home!r}):
    with Path({marks!r}).open("a") as marks:
        marks.write(f"{{os.getpid()}}\\n")
    while Path({hold!r}).exists():
        time.sleep(0.05)

def build():
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2, ACTIVATION, name="y")])
"""
"""A model of Keras 3, whose conversion to HDF5 imports this file. Imported anywhere but in its own folder, it says which
process does so, and waits while the file HOLD exists."""
PATIENCE_SECONDS = 400
VOLATILE = {"seconds", "memory_mb", "bytes", "latency_ms"}


@pytest.fixture(name="cluster")
def _cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    (tmp_path / "cluster").mkdir()
    with DaskCluster(tmp_path / "cluster") as cluster:
        yield cluster


@pytest.fixture(name="slow")
def _slow(tmp_path: Path) -> Path:
    """The config of a model whose conversion to HDF5 writes to MODEL/marks, and waits until MODEL/hold is removed."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "helper.py").write_text("ACTIVATION = 'tanh'\n")
    (folder / "hold").touch()
    code = SLOW.format(home=str(folder), marks=str(folder / "marks"), hold=str(folder / "hold"))
    samples.write_spec(folder, code, name="slow", targets={"hdf5": {}, "serving": {}})
    return folder / "slow.yaml"


def _stable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without what differs from one run to the next on one machine."""
    return [
        {
            **{name: value for name, value in row.items() if name not in VOLATILE},
            "checks": [{name: v for name, v in check.items() if name not in VOLATILE} for check in row["checks"]],
        }
        for row in rows
    ]


def _working(cluster: DaskCluster, marks: Path, ran: "Running", but: str = "") -> str:
    """Wait until a worker other than `but` loads the slow model; its name."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and not ran.done():
        for pid in marks.read_text().split() if marks.is_file() else []:
            worker = cluster.worker_of(int(pid))
            if worker is not None and worker != but:
                return worker
        time.sleep(0.05)
    raise AssertionError(ran.result())


class Running:
    """A deploy in the background."""

    def __init__(self, fanout: Fanout, *arguments: object, **options: Any) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._future = self._pool.submit(fanout, *arguments, process=True, **options)

    def done(self) -> bool:
        return self._future.done()

    def result(self) -> Ran:
        return self._future.result(PATIENCE_SECONDS)


def _require_final(server: Server, run_id: str) -> None:
    assert set(server.task_runs(run_id).values()) <= {"Completed", "Failed"}


def test_deploy_makes_the_same_rows_when_they_are_made_elsewhere(
    cluster: DaskCluster, tmp_path: Path, fanout: Fanout, server: Server
) -> None:
    cluster.start("alpha")
    cluster.start("beta")
    targets = {"tflite": {"variants": ["float32", "int8"]}, "tfjs": {}, "hdf5": {}, "serving": {}}
    samples.write_spec(tmp_path, samples.KERAS, name="spread", targets=targets)
    config = tmp_path / "spread.yaml"
    there = fanout(
        "deploy", config, "--json", releases=tmp_path / "there", environment=cluster.environment, process=True
    )
    assert there.status == 0, there.err
    here = fanout("deploy", config, "--json", releases=tmp_path / "here")
    (elsewhere,), (local,) = there.document["manifests"], here.document["manifests"]
    assert _stable(elsewhere["targets"]) == _stable(local["targets"])
    assert {row["status"] for row in elsewhere["targets"]} == {"passed"}
    assert set(elsewhere["files"]) - {"key.json"} == set(local["files"]) - {"key.json"}
    checked = fanout("check", tmp_path / "there" / "spread" / "current", releases=tmp_path / "there")
    assert checked.status == 0, checked.err
    # Both did some of it, and what was made there is what would be made here.
    assert all(list((cluster.folder / name).rglob("fanout-files/sha256/*/*")) for name in ("alpha", "beta"))
    assert "unchanged: spread 1 is current" in fanout("deploy", config, releases=tmp_path / "there").out


def test_deploy_does_it_again_on_another_worker_when_one_is_killed_in_the_middle(
    cluster: DaskCluster, slow: Path, tmp_path: Path, fanout: Fanout, server: Server
) -> None:
    cluster.start("alpha")
    cluster.start("beta")
    ran = Running(fanout, "deploy", slow, "--json", releases=tmp_path / "r", environment=cluster.environment)
    cluster.kill(_working(cluster, slow.with_name("marks"), ran))
    slow.with_name("hold").unlink()
    done = ran.result()
    assert done.status == 0, done.err
    (made,) = done.document["manifests"]
    assert {row["status"] for row in made["targets"]} == {"passed"}
    run = server.flow_runs("deploy " + str(slow))[0]
    assert run["state"]["type"] == "COMPLETED"
    _require_final(server, run["id"])


def test_deploy_fails_the_row_and_names_the_workers_when_a_second_one_is_killed(
    cluster: DaskCluster, slow: Path, tmp_path: Path, fanout: Fanout, server: Server
) -> None:
    cluster.start("alpha")
    cluster.start("beta")
    ran = Running(fanout, "deploy", slow, "--json", releases=tmp_path / "r", environment=cluster.environment)
    first = _working(cluster, slow.with_name("marks"), ran)
    cluster.start("gamma")
    cluster.kill(first)
    second = _working(cluster, slow.with_name("marks"), ran, but=first)
    cluster.kill(second)
    done = ran.result()
    assert done.status == 1, done.err
    (made,) = done.document["manifests"]
    rows = {row["target"]: row for row in made["targets"]}
    lost = (
        f"converting failed: worker {first} was lost while it did this, and then {second}, where it was done once more"
    )
    assert rows["hdf5"]["status"] == "failed"
    assert rows["hdf5"]["reason"] == lost
    assert {rows[target]["status"] for target in ("saved_model", "serving")} == {"passed"}
    run = server.flow_runs("deploy " + str(slow))[0]
    assert run["state"]["type"] == "FAILED"
    _require_final(server, run["id"])


@pytest.mark.parametrize("what", ["scheduler", "workers"])
def test_deploy_fails_soon_and_releases_nothing_when_the_cluster_is_gone(
    what: str, cluster: DaskCluster, slow: Path, tmp_path: Path, fanout: Fanout, server: Server
) -> None:
    cluster.start("alpha")
    patience = {"FANOUT_DASK_PATIENCE": "5"}
    ran = Running(fanout, "deploy", slow, releases=tmp_path / "r", environment={**cluster.environment, **patience})
    working = _working(cluster, slow.with_name("marks"), ran)
    if what == "scheduler":
        cluster.scheduler.kill()
    else:
        cluster.kill(working)
    done = ran.result()
    assert done.status == 2, done.err
    said = "is gone" if what == "scheduler" else "has had no worker for 5 s"
    assert f"fanout: the Dask scheduler at {cluster.address} {said}" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "r" / "slow").exists()
    run = server.flow_runs("deploy " + str(slow))[0]
    assert run["state"]["type"] == "FAILED"
    assert said in run["state"]["message"]
    _require_final(server, run["id"])


def test_deploy_fails_the_row_when_the_store_damages_a_file(
    cluster: DaskCluster, slow: Path, tmp_path: Path, fanout: Fanout
) -> None:
    slow.with_name("hold").unlink()
    assert fanout("deploy", slow, releases=tmp_path / "here").status == 0
    content = (tmp_path / "here" / "slow" / "1" / "hdf5" / "model.h5").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    stored = cluster.folder / "store" / "sha256" / digest[:2] / digest
    stored.parent.mkdir(parents=True)
    stored.write_bytes(content[:-1] + b"!")  # so that the worker, which makes the same, finds it stored already
    cluster.start("alpha")
    done = fanout(*("deploy", slow, "--json"), releases=tmp_path / "r", environment=cluster.environment, process=True)
    assert done.status == 1, done.err
    rows = {row["target"]: row for row in done.document["manifests"][0]["targets"]}
    assert "was damaged in the store" in rows["hdf5"]["reason"]
    assert rows["hdf5"]["status"] == "failed"
    assert rows["serving"]["status"] == "passed"


def test_deploy_refuses_a_worker_that_may_start_no_processes(
    cluster: DaskCluster, tmp_path: Path, fanout: Fanout
) -> None:
    cluster.start("nursed", nanny=True)
    samples.write_spec(tmp_path, samples.KERAS, name="tiny", targets={"serving": {}})
    done = fanout("deploy", tmp_path / "tiny.yaml", releases=tmp_path / "r", environment=cluster.environment)
    assert done.status == 2
    assert f"worker nursed of {cluster.address} may start no processes; start it with `fanout worker`" in done.err


@pytest.mark.parametrize("difference", ["code", "variable"])
def test_deploy_refuses_workers_that_would_make_something_else(
    difference: str, cluster: DaskCluster, tmp_path: Path, fanout: Fanout
) -> None:
    if difference == "code":
        for package in ("converters", "flows"):
            ignore = shutil.ignore_patterns("node_modules", "__pycache__")
            shutil.copytree(settings.ROOT / package, tmp_path / "other" / package, ignore=ignore)
        modules = Path("converters/targets/tfjs/js/node_modules")
        (tmp_path / "other" / modules).symlink_to(settings.ROOT / modules)
        with (tmp_path / "other/converters/reference/compare.py").open("a") as module:
            module.write("# another version\n")
        cluster.start("odd", {"PYTHONPATH": str(tmp_path / "other")})
        said = "the code of tf-fanout is another there"
    else:
        cluster.start("odd", {"TF_ENABLE_ONEDNN_OPTS": "0"})
        said = "$TF_ENABLE_ONEDNN_OPTS is 0 there and missing here"
    samples.write_spec(tmp_path, samples.KERAS, name="tiny", targets={"serving": {}})
    done = fanout("deploy", tmp_path / "tiny.yaml", releases=tmp_path / "r", environment=cluster.environment)
    assert done.status == 2
    assert f"worker odd of {cluster.address} is not equal to this machine: {said}; install the same on both" in done.err
    assert not (tmp_path / "r" / "tiny").exists()


def test_deploy_refuses_in_one_sentence_what_cannot_be_a_cluster(tmp_path: Path, fanout: Fanout) -> None:
    samples.write_spec(tmp_path, samples.KERAS, name="tiny", targets={"serving": {}})

    def refused(*options: str) -> str:
        done = fanout("deploy", tmp_path / "tiny.yaml", *options, releases=tmp_path / "r")
        assert done.status == 2
        assert "Traceback" not in done.err
        return done.err.splitlines()[-1]

    store = ("--store", str(tmp_path / "store"))
    assert "'nonsense' is no address of a Dask scheduler" in refused("--dask", "nonsense", *store)
    assert "a Dask cluster needs a store" in refused("--dask", "tcp://127.0.0.1:9")
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in refused("--dask", "tcp://127.0.0.1:9", *store)


def test_worker_ends_with_its_children_when_it_is_told_to(
    cluster: DaskCluster, slow: Path, tmp_path: Path, fanout: Fanout
) -> None:
    cluster.start("alpha")
    cluster.start("beta")
    ran = Running(fanout, "deploy", slow, "--json", releases=tmp_path / "r", environment=cluster.environment)
    working = _working(cluster, slow.with_name("marks"), ran)
    pid = int(slow.with_name("marks").read_text().split()[-1])
    process = cluster.workers[working]
    process.terminate()
    assert process.wait(PATIENCE_SECONDS) == 0
    assert not Path(f"/proc/{pid}").exists()
    slow.with_name("hold").unlink()
    done = ran.result()
    assert done.status == 0, done.err
    assert {row["status"] for row in done.document["manifests"][0]["targets"]} == {"passed"}


def test_worker_ends_a_conversion_when_who_deploys_is_killed(
    cluster: DaskCluster, slow: Path, tmp_path: Path, server: Server
) -> None:
    cluster.start("alpha")
    prefect = {"PREFECT_HOME": str(server.home), "PREFECT_API_URL": server.api}
    command = [sys.executable, "-m", "flows", "deploy", str(slow), "--releases", str(tmp_path / "r")]
    deploy = subprocess.Popen(command, env={**os.environ, **prefect, **cluster.environment}, stderr=subprocess.DEVNULL)
    marks = slow.with_name("marks")
    wait_until(lambda: marks.is_file() and marks.read_text().endswith("\n"))
    pid = int(marks.read_text().split()[0])
    assert cluster.worker_of(pid) == "alpha"
    deploy.kill()
    deploy.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert cluster.workers["alpha"].poll() is None


def test_worker_says_so_when_no_scheduler_answers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows", "worker", "nonsense://x"]
    ran = subprocess.run(command, env=dict(os.environ), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr == "fanout: 'nonsense://x' is no address of a Dask scheduler; give it as tcp://HOST:PORT\n"
