"""A target that another package offers: converted, checked, released and shown as those that are built in."""

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
from command import Fanout, Ran
from rich.console import Console

from converters.release import manifest
from converters.targets.registry import BUILT_IN
from flows.show.description import render

ROOT = Path(__file__).parents[2]
LINEAR = """
import numpy as np
import tensorflow as tf

class Linear(tf.Module):
    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(4)
        self.weight = tf.Variable(rng.normal(size=(4, 3)).astype(np.float32), name="weight")
        self.offset = tf.Variable(rng.normal(size=3).astype(np.float32), name="offset")

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x):
        return {"y": x @ self.weight + self.offset}

def build():
    return Linear()
"""
METADATA = "Metadata-Version: 2.1\nName: fanout-toy\nVersion: 1.0\n"


def installed(site: Path, entry: str = "fanout_toy.target:TARGET") -> dict[str, str]:
    """The toy installed in a folder outside of the checkout: an environment in which Python finds both."""
    shutil.copytree(Path(__file__).parent / "toy" / "fanout_toy", site / "fanout_toy")
    record = site / "fanout_toy-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(METADATA)
    (record / "entry_points.txt").write_text(f"[fanout.targets]\ntoy = {entry}\n")
    return {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}


Command = Callable[..., Ran]


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    samples.write_spec(folder, LINEAR, name="linear")
    (folder / "linear.yaml").write_text("model: linear.py:build\ntargets:\n  toy: {}\n")
    return folder


@pytest.fixture(name="toys", scope="module")
def _toys(folder: Path, fanout: Fanout) -> Command:
    """Runs a command where the toy is installed."""
    environment = installed(folder / "site")
    return lambda *arguments: fanout(*arguments, releases=folder / "releases", environment=environment, process=True)


@pytest.fixture(name="deployed", scope="module")
def _deployed(folder: Path, toys: Command) -> dict[str, Any]:
    """The manifest of the toy's first release."""
    ran = toys("deploy", folder / "linear.yaml", "--json")
    assert ran.status == 0, ran.err
    (document,) = ran.document["manifests"]
    return dict(document)


def test_deploy_checks_and_releases_the_target_of_another_package(deployed: dict[str, Any], folder: Path) -> None:
    rows = {row["target"]: row for row in deployed["targets"]}
    assert {target: row["status"] for target, row in rows.items()} == {"saved_model": "passed", "toy": "passed"}
    assert {check["name"] for check in rows["toy"]["checks"]} > {"names", "values", "batch"}
    assert f"numpy {np.__version__}" in {check["runtime"] for check in rows["toy"]["checks"]}
    assert rows["toy"]["path"] == "toy/default.npz"
    assert (folder / "releases" / "linear" / "current" / "toy" / "default.npz").is_file()
    assert deployed["environment"]["fanout-toy"] == "1.0"


def test_deploy_shows_the_target_of_another_package_and_makes_it_anew_when_its_code_has_changed(
    deployed: dict[str, Any], folder: Path, toys: Command
) -> None:
    same = toys("deploy", folder / "linear.yaml")
    assert "unchanged" in same.out, same.out
    module = folder / "site" / "fanout_toy" / "convert.py"
    module.write_text(module.read_text() + "\n")
    anew = toys("deploy", folder / "linear.yaml", "--targets", "toy")
    assert anew.status == 0, anew.err
    (line,) = [line for line in anew.out.splitlines() if line.split()[:1] == ["toy"] or " toy " in line]
    assert "linear 2" in anew.out
    assert "passed" in line


def test_check_is_red_when_the_file_of_another_packages_target_is_harmed(
    deployed: dict[str, Any], folder: Path, toys: Command, tmp_path: Path
) -> None:
    release = shutil.copytree(folder / "releases" / "linear" / "1", tmp_path / "linear" / "1")
    file = release / "toy" / "default.npz"
    arrays = dict(np.load(file))
    arrays["weight"][1, 1] += 1
    np.savez(file, **arrays)
    _accept(release, file)
    ran = toys("check", release, "--json")
    assert ran.status == 1
    (row,) = [row for row in ran.document["targets"] if row["target"] == "toy"]
    assert {check["name"] for check in row["checks"] if check["status"] == "failed"} >= {"values", "batch"}


def _accept(release: Path, file: Path) -> None:
    """The manifest's digest is that of the file as it is."""
    from converters.formats import digest

    path = release / "manifest.json"
    document = json.loads(path.read_text())
    name = file.relative_to(release).as_posix()
    document["files"][name] = {"sha256": digest.of_file(file), "bytes": file.stat().st_size}
    path.write_text(json.dumps(document))
    assert manifest.read(release).files[name].bytes == file.stat().st_size


def test_inspect_shows_the_format_of_another_packages_target(
    deployed: dict[str, Any], folder: Path, toys: Command
) -> None:
    file = folder / "releases" / "linear" / "1" / "toy" / "default.npz"
    description = toys("inspect", file, "--json").document
    assert description["signatures"] == deployed["source"]["signatures"]
    shown = io.StringIO()
    Console(file=shown, width=100).print(render(description))
    assert "toy" in shown.getvalue()


def test_doctor_and_help_name_what_another_packages_target_needs(toys: Command) -> None:
    found = {runtime["name"]: runtime for runtime in toys("doctor", "--json").document["runtimes"]}
    assert found["fanout-toy"]["found"] == "1.0"
    assert found["the toy's NumPy"]["needed_for"] == "checking the toy"
    assert " toy." in toys("deploy", "--help").out


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("fanout_toy.target:ABSENT", "cannot be loaded: AttributeError: module 'fanout_toy.target' has no attribute"),
        ("fanout_toy:NAME", "is str and no Target"),
        ("converters.targets.hdf5.target:TARGET", "is named 'hdf5', which another target is"),
    ],
    ids=["no such object", "no Target", "a name that is taken"],
)
def test_commands_end_with_a_sentence_when_another_packages_target_is_broken(
    fanout: Fanout, tmp_path: Path, folder: Path, entry: str, said: str
) -> None:
    environment = installed(tmp_path / "site", entry)
    ran = fanout(
        "deploy", folder / "linear.yaml", releases=tmp_path / "releases", environment=environment, process=True
    )
    assert (ran.status, ran.out) == (2, "")
    (line,) = ran.err.strip().splitlines()
    assert line.startswith(f"fanout: the target 'toy' of fanout-toy ({entry}) {said}")
    assert len(BUILT_IN) == 5, "what is built in is there all the same"
