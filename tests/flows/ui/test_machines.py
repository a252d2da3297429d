"""A machine unlike the one that this was written on: its environment, its paths, its user; and who asks makes no difference."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import machines
import pytest
import samples
from dask_cluster import DaskCluster
from prefect_home import Home, at_home

from converters.processes import scratch

pytestmark = pytest.mark.server

ALL = {**machines.LOOK, **machines.PROXIES, **machines.PREFECT}
TARGETS = ["tflite", "tfjs", "hdf5", "serving"]
UGLY = re.compile(rf"Traceback|\x1b|{scratch.PREFIX}")
"""What no person should have to read: a traceback, a terminal's escapes, a directory that is gone with its run."""


class Place:
    """A checkout that nobody may write to, in a path that few have, and a home directory likewise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "höme of 'ann'"
        self.configs = self.folder / "configs"
        self.configs.mkdir(parents=True)
        targets = {"tflite": {"variants": ["float32"]}, "tfjs": {"variants": ["layers"]}, "hdf5": {}, "serving": {}}
        samples.write_spec(self.configs, samples.KERAS, name="tiny", targets=targets)
        self.home = folder / "sealed home"
        self.home.mkdir()
        self.checkout = machines.checkout(folder / f"größe {{{{x}}}} 'n' \"blanks\" {'x' * 200}" / "fanout")
        for sealed in (self.home, self.checkout):
            machines.seal(sealed)

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of a command, where an empty value takes a variable out."""
        base = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "FANOUT_"))}
        base |= {"HOME": str(self.home), "PREFECT_HOME": str(self.folder / "prefect")}
        base |= {"FANOUT_CONFIGS": str(self.configs), "FANOUT_RELEASES": str(self.folder / "releases"), **more}
        return {name: value for name, value in base.items() if value}

    def fanout(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run it there, as a user to whom permissions apply."""
        return subprocess.run(
            [self.checkout / ".venv/bin/python", "-m", "flows", *arguments], cwd=self.checkout, env=self.variables(**more),
            capture_output=True, text=True, errors="replace", check=False, preexec_fn=machines.unprivileged,
        )  # fmt: skip

    def ui(self, **more: str) -> AbstractContextManager[Home]:
        """`fanout ui`, likewise."""
        (self.folder / "ui.log").unlink(
            missing_ok=True
        )  # of the one before, whose last word would be taken for this one's
        return at_home(self.folder, checkout=self.checkout, HOME=str(self.home), **more)


@pytest.fixture(name="place", scope="module")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("place"))
    yield place
    for sealed in (place.home, place.checkout):
        machines.seal(sealed, False)


def deployed(home: Home, **more: object) -> tuple[str, list[str]]:
    """What a run from the UI says in the end, and its log."""
    run_id = home.start("deploy-model", model="tiny", **more)
    run = home.wait(run_id)
    logs = home.logs(run_id)
    assert run["state"]["type"] == "COMPLETED", (run["state"], logs, home.said())
    assert not UGLY.search(run["state"]["message"] + home.said())
    return run["state"]["message"], logs


def test_unchanged_is_unchanged_when_ui_and_command_ask_in_turn(place: Place) -> None:
    with place.ui(**ALL) as home:
        assert deployed(home)[0] == "tiny 1 was promoted"
        port = home.address.rpartition(":")[2]
    key = (place.folder / "releases/tiny/current/key.json").read_text()
    assert not [word for word in (f":{port}", str(place.checkout), "PYTHONPATH") if word in key]
    for more in ({}, {"PYTHONPATH": str(place.checkout)}, {**machines.PROXIES, **machines.PREFECT, "COLUMNS": "40"}):
        ran = place.fanout("deploy", "tiny", **machines.SHAPES, **more)
        assert (ran.returncode, ran.stdout) == (0, "unchanged: tiny 1 is current\n"), ran.stderr
    with place.ui(**machines.SHAPES) as home:
        assert deployed(home)[0] == "unchanged: tiny 1 is current"
        builder = place.configs / "tiny.py"
        builder.write_text(builder.read_text() + "\n# edited\n")
        message, logs = deployed(home)
        assert message == "tiny 2 was promoted"
        assert "tiny is made again: tiny.py has changed" in logs
    ran = place.fanout("deploy", "tiny", **machines.SHAPES)
    assert (ran.returncode, ran.stdout) == (0, "unchanged: tiny 2 is current\n"), ran.stderr


def test_deploy_and_worker_do_their_work_whatever_the_environment(place: Place, tmp_path: Path) -> None:
    with DaskCluster(tmp_path) as cluster:
        cluster.start("odd", place.variables(**ALL, PYTHONPATH=str(place.checkout)))
        there = {"FANOUT_DASK": cluster.address, "FANOUT_STORE": str(tmp_path / "störe")}
        ran = place.fanout("deploy", "tiny", "--force", "--json", **ALL, **there)
        said = ran.stderr, cluster.log("odd")
    assert ran.returncode == 0, said
    assert [UGLY.search(each) for each in said] == [None, None]
    (manifest,) = json.loads(ran.stdout)["manifests"]
    assert {row["target"] for row in manifest["targets"] if row["status"] == "passed"} >= set(TARGETS)


SOME = ("sealed PREFECT_HOME", "Prefect Cloud")
"""Those that are tried always; `--machines all` tries every one."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        every = [each.name for each in machines.odd(Path("/"))]
        metafunc.parametrize("name", every if metafunc.config.getoption("--machines") == "all" else SOME)


def test_deploy_works_or_says_why_not_when_the_environment_is_odd(place: Place, name: str, tmp_path: Path) -> None:
    machines.prepare(tmp_path)
    (odd,) = [each for each in machines.odd(tmp_path) if each.name == name]
    ran = place.fanout("deploy", "tiny", "--force", **odd.variables)
    assert not UGLY.search(ran.stdout + ran.stderr)
    if odd.said is None:
        assert ran.returncode == 0, ran.stderr
    else:
        assert ran.returncode == 2, ran.stderr
        assert re.search(odd.said, ran.stderr)
        assert ran.stderr.count("fanout: ") == 1
