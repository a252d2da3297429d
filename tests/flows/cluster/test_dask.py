"""Conversions on a Dask cluster: a scheduler and workers, each a process that was started by itself."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import samples
from command import Fanout, Ran, Server
from dask_cluster import DaskCluster
from waiting import PATIENCE_SECONDS, wait_until

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
VOLATILE = {"seconds", "memory_mb", "bytes", "latency_ms", "latency_range_ms"}


@pytest.fixture(name="clusters", scope="module")
def _clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], DaskCluster]]:
    """Call for the module's cluster, whose workers import TensorFlow once for all tests; another one if its scheduler is gone."""
    with ExitStack() as open_ones:
        made: list[DaskCluster] = []

        def running() -> DaskCluster:
            if not made or not made[-1].alive():
                made.append(open_ones.enter_context(DaskCluster(tmp_path_factory.mktemp("cluster"))))
            return made[-1]

        yield running


@pytest.fixture(name="cluster")
def _cluster(clusters: Callable[[], DaskCluster]) -> DaskCluster:
    return clusters()


@pytest.fixture(name="there")
def _there(cluster: DaskCluster, tmp_path: Path) -> dict[str, str]:
    """What a deploying process is told: the cluster, and a store of the test's own."""
    return {"FANOUT_DASK": cluster.address, "FANOUT_STORE": str(tmp_path / "store")}


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


def _working(cluster: DaskCluster, marks: Path, over: threading.Event, but: str = "") -> str:
    """Wait until a worker other than `but` loads the slow model; its name."""
    found: list[str] = []

    def loads() -> bool:
        assert not over.is_set(), "the deploy ended before"
        pids = marks.read_text().split() if marks.is_file() else []
        found.extend(name for pid in pids if (name := cluster.worker_of(int(pid))) not in (None, but))
        return bool(found)

    wait_until(loads)
    return found[0]


@contextmanager
def _meanwhile(action: Callable[[threading.Event], object], slow: Path) -> Iterator[None]:
    """Do it in a thread beside the block, which sets the event at its end; then the slow model waits no longer."""
    over = threading.Event()

    def act() -> None:
        try:
            action(over)
        finally:
            slow.with_name("hold").unlink()

    with ThreadPoolExecutor(1) as pool:
        acted = pool.submit(act)
        try:
            yield
        finally:
            over.set()
        acted.result()


def _require_final(server: Server, run_id: str) -> None:
    assert set(server.task_runs(run_id).values()) <= {"Completed", "Failed"}


def test_deploy_makes_the_same_rows_when_they_are_made_elsewhere(
    cluster: DaskCluster, there: dict[str, str], tmp_path: Path, fanout: Fanout, server: Server
) -> None:
    workers = cluster.have(2)
    before = {name: _fetched(cluster, name) for name in workers}
    targets = {"tflite": {"variants": ["int8"]}, "tfjs": {"variants": ["graph"]}, "hdf5": {}, "serving": {}}
    samples.write_spec(tmp_path, samples.KERAS, name="spread", targets=targets)
    config = tmp_path / "spread.yaml"
    ran = fanout("deploy", config, "--json", releases=tmp_path / "there", environment=there)
    assert ran.status == 0, ran.err
    here = fanout("deploy", config, "--json", releases=tmp_path / "here")
    (elsewhere,), (local,) = ran.document["manifests"], here.document["manifests"]
    assert _stable(elsewhere["targets"]) == _stable(local["targets"])
    assert {row["status"] for row in elsewhere["targets"]} == {"passed"}
    assert set(elsewhere["files"]) - {"key.json"} == set(local["files"]) - {"key.json"}
    checked = fanout("check", tmp_path / "there" / "spread" / "current", releases=tmp_path / "there")
    assert checked.status == 0, checked.out
    # Both did some of it, and what was made there is what would be made here.
    assert all(_fetched(cluster, name) > before[name] for name in workers)
    assert "unchanged: spread 1 is current" in fanout("deploy", config, releases=tmp_path / "there").out


def _fetched(cluster: DaskCluster, worker: str) -> set[Path]:
    """The files that a worker has fetched from stores."""
    return set((cluster.folder / worker).rglob("fanout-files/sha256/*/*"))


def test_deploy_does_it_again_on_another_worker_when_one_is_killed_in_the_middle(
    cluster: DaskCluster, there: dict[str, str], slow: Path, tmp_path: Path, fanout: Fanout, server: Server
) -> None:
    cluster.have(2)
    with _meanwhile(lambda over: cluster.kill(_working(cluster, slow.with_name("marks"), over)), slow):
        done = fanout("deploy", slow, "--json", releases=tmp_path / "r", environment=there)
    assert done.status == 0, done.err
    (made,) = done.document["manifests"]
    assert {row["status"] for row in made["targets"]} == {"passed"}
    run = server.flow_runs("deploy " + str(slow))[0]
    assert run["state"]["type"] == "COMPLETED"
    _require_final(server, run["id"])


def test_deploy_fails_the_row_and_names_the_workers_when_a_second_one_is_killed(
    cluster: DaskCluster, there: dict[str, str], slow: Path, tmp_path: Path, fanout: Fanout, server: Server
) -> None:
    cluster.have(3)
    killed = []

    def kill(over: threading.Event) -> None:
        for _ in range(2):
            killed.append(_working(cluster, slow.with_name("marks"), over, but="".join(killed)))
            cluster.kill(killed[-1])

    with _meanwhile(kill, slow):
        done = fanout("deploy", slow, "--json", releases=tmp_path / "r", environment=there)
    assert done.status == 1, done.err
    (made,) = done.document["manifests"]
    rows = {row["target"]: row for row in made["targets"]}
    first, second = killed
    lost = (
        f"converting failed: worker {first} was lost while it did this, and then {second}, where it was done once more"
    )
    assert rows["hdf5"]["status"] == "failed"
    assert rows["hdf5"]["reason"] == lost
    assert {rows[target]["status"] for target in ("saved_model", "serving")} == {"passed"}
    run = server.flow_runs("deploy " + str(slow))[0]
    assert run["state"]["type"] == "FAILED"
    _require_final(server, run["id"])


def test_worker_ends_with_its_children_when_it_is_told_to(
    cluster: DaskCluster, there: dict[str, str], slow: Path, tmp_path: Path, fanout: Fanout
) -> None:
    cluster.have(2)

    def end(over: threading.Event) -> None:
        process = cluster.workers[_working(cluster, slow.with_name("marks"), over)]
        pid = int(slow.with_name("marks").read_text().split()[-1])
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
        assert not Path(f"/proc/{pid}").exists()

    with _meanwhile(end, slow):
        done = fanout("deploy", slow, "--json", releases=tmp_path / "r", environment=there)
    assert done.status == 0, done.err
    assert {row["status"] for row in done.document["manifests"][0]["targets"]} == {"passed"}


def test_worker_ends_a_conversion_when_who_deploys_is_killed(
    cluster: DaskCluster, there: dict[str, str], slow: Path, tmp_path: Path, server: Server
) -> None:
    cluster.have(1)
    prefect = {"PREFECT_HOME": str(server.home), "PREFECT_API_URL": server.api}
    command = [sys.executable, "-m", "flows", "deploy", str(slow), "--releases", str(tmp_path / "r")]
    deploy = subprocess.Popen(command, env={**os.environ, **prefect, **there}, stderr=subprocess.DEVNULL)
    marks = slow.with_name("marks")
    wait_until(lambda: marks.is_file() and marks.read_text().endswith("\n"))
    pid = int(marks.read_text().split()[0])
    worker = cluster.worker_of(pid)
    assert worker is not None
    deploy.kill()
    deploy.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert cluster.workers[worker].poll() is None


def test_deploy_fails_the_row_when_the_store_damages_a_file(
    cluster: DaskCluster, there: dict[str, str], slow: Path, tmp_path: Path, fanout: Fanout
) -> None:
    slow.with_name("hold").unlink()
    assert fanout("deploy", slow, releases=tmp_path / "here").status == 0
    content = (tmp_path / "here" / "slow" / "1" / "hdf5" / "model.h5").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    stored = Path(there["FANOUT_STORE"]) / "sha256" / digest[:2] / digest
    stored.parent.mkdir(parents=True)
    stored.write_bytes(content[:-1] + b"!")  # so that the worker, which makes the same, finds it stored already
    cluster.have(1)
    done = fanout("deploy", slow, "--json", releases=tmp_path / "r", environment=there)
    assert done.status == 1, done.err
    rows = {row["target"]: row for row in done.document["manifests"][0]["targets"]}
    assert "was damaged in the store" in rows["hdf5"]["reason"]
    assert rows["hdf5"]["status"] == "failed"
    assert rows["serving"]["status"] == "passed"


def test_deploy_refuses_a_worker_that_may_start_no_processes(
    cluster: DaskCluster, there: dict[str, str], tmp_path: Path, fanout: Fanout
) -> None:
    cluster.start("nursed", nanny=True)
    samples.write_spec(tmp_path, samples.KERAS, name="tiny", targets={"serving": {}})
    done = _deployed_with("nursed", cluster, there, tmp_path, fanout)
    assert done.status == 2
    assert f"worker nursed of {cluster.address} may start no processes; start it with `fanout worker`" in done.err


def _deployed_with(worker: str, cluster: DaskCluster, there: dict[str, str], folder: Path, fanout: Fanout) -> Ran:
    """What a deploy of `tiny` does when the cluster has this worker, too, which ends afterwards."""
    cluster.settle()
    try:
        return fanout("deploy", folder / "tiny.yaml", releases=folder / "r", environment=there)
    finally:
        cluster.stop(worker)


@pytest.mark.parametrize("difference", ["code", "variable"])
def test_deploy_refuses_workers_that_would_make_something_else(
    difference: str, cluster: DaskCluster, there: dict[str, str], tmp_path: Path, fanout: Fanout
) -> None:
    odd = f"odd-{difference}"
    if difference == "code":
        for package in ("converters", "flows"):
            ignore = shutil.ignore_patterns("node_modules", "__pycache__")
            shutil.copytree(settings.ROOT / package, tmp_path / "other" / package, ignore=ignore)
        modules = Path("converters/javascript/js/node_modules")
        (tmp_path / "other" / modules).symlink_to(settings.ROOT / modules)
        with (tmp_path / "other/converters/reference/compare.py").open("a") as module:
            module.write("# another version\n")
        cluster.start(odd, {"PYTHONPATH": str(tmp_path / "other")})
        said = "the code of tf-fanout is another there"
    else:
        cluster.start(odd, {"TF_ENABLE_ONEDNN_OPTS": "0"})
        said = "$TF_ENABLE_ONEDNN_OPTS is set there and not set here"
    samples.write_spec(tmp_path, samples.KERAS, name="tiny", targets={"serving": {}})
    done = _deployed_with(odd, cluster, there, tmp_path, fanout)
    assert done.status == 2
    assert (
        f"worker {odd} of {cluster.address} is not equal to this machine: {said}; install the same on both" in done.err
    )
    assert not (tmp_path / "r" / "tiny").exists()


@pytest.mark.parametrize("what", ["workers", "scheduler"])
def test_deploy_fails_soon_and_releases_nothing_when_the_cluster_is_gone(
    what: str,
    cluster: DaskCluster,
    there: dict[str, str],
    slow: Path,
    tmp_path: Path,
    fanout: Fanout,
    server: Server,
) -> None:
    workers = cluster.have(1)

    def end(over: threading.Event) -> None:
        _working(cluster, slow.with_name("marks"), over)
        if what == "scheduler":
            cluster.scheduler.kill()
        else:
            for worker in workers:
                cluster.kill(worker)

    with _meanwhile(end, slow):
        done = fanout("deploy", slow, releases=tmp_path / "r", environment={**there, "FANOUT_DASK_PATIENCE": "5"})
    assert done.status == 2, done.err
    said = "is gone" if what == "scheduler" else "has had no worker for 5 s"
    assert f"fanout: the Dask scheduler at {cluster.address} {said}" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "r" / "slow").exists()
    run = server.flow_runs("deploy " + str(slow))[0]
    assert run["state"]["type"] == "FAILED"
    assert said in run["state"]["message"]
    _require_final(server, run["id"])


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


def test_worker_says_so_when_no_scheduler_answers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows", "worker", "nonsense://x"]
    ran = subprocess.run(command, env=dict(os.environ), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr == "fanout: 'nonsense://x' is no address of a Dask scheduler; give it as tcp://HOST:PORT\n"
