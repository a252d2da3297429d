"""What is unchanged is not made again, and nothing else is taken for unchanged; through the command line and a real server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import samples

from converters import manifest
from tests.flows.conftest import Fanout, Ran, Server

HELPED = """
import numpy as np
import tensorflow as tf
from pathlib import Path
from helper import SCALE

class Tiny(tf.Module):
    def __init__(self):
        super().__init__()
        self.weight = tf.Variable(np.load(Path(__file__).with_name("weights.npy")) * SCALE)

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x):
        return {"y": tf.tanh(x @ self.weight)}

def build():
    return Tiny()
"""
TARGETS: dict[str, Any] = {"tflite": {"variants": ["float32", "dynamic"]}, "serving": {}}


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import numpy as np

    folder = tmp_path_factory.mktemp("unchanged")
    (folder / "helper.py").write_text("SCALE = 2.0\n")
    np.save(folder / "weights.npy", np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32))
    samples.write_spec(folder, HELPED, name="helped", targets=TARGETS)
    return folder


@pytest.fixture(name="releases", scope="module")
def _releases(folder: Path) -> Path:
    return folder / "releases"


Deploy = Callable[..., Ran]


@pytest.fixture(name="deploy", scope="module")
def _deploy(folder: Path, releases: Path, fanout: Fanout) -> Deploy:
    first = fanout("deploy", folder / "helped.yaml", releases=releases)
    assert first.status == 0, first.err
    return lambda *arguments, **more: fanout("deploy", folder / "helped.yaml", *arguments, releases=releases, **more)


def current(releases: Path) -> tuple[Path, manifest.Manifest]:
    path = (releases / "helped" / "current").resolve()
    return path, manifest.read(path)


def test_deploy_says_unchanged_without_tensorflow_when_nothing_changed(
    deploy: Deploy, folder: Path, releases: Path, server: Server
) -> None:
    path, written = current(releases)
    ran = deploy()
    assert ran.status == 0, ran.err
    assert ran.out == f"unchanged: helped {written.version} is current\n"
    assert current(releases)[0] == path
    run = server.flow_runs(f"deploy {folder / 'helped.yaml'}")[0]
    assert run["state"]["type"] == "COMPLETED"
    tasks = server.task_runs(run["id"])
    assert set(tasks.values()) == {"Cached"}
    assert {"helped: build", "helped: convert tflite float32", "helped: check serving default"} <= set(tasks)


def test_deploy_prints_the_current_manifest_when_unchanged_and_asked_for_json(deploy: Deploy, releases: Path) -> None:
    ran = deploy("--json")
    path, written = current(releases)
    assert ran.document == {"manifests": [json.loads((path / "manifest.json").read_text())]}
    assert f"unchanged: helped {written.version} is current" in ran.err
