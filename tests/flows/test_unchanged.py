"""What is unchanged is not made again, and nothing else is taken for unchanged; through the command line and a real server."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import samples
from command import Fanout, Ran, Server

from converters.config import read
from converters.release import files, manifest
from converters.steps import key, reuse

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
    tasks = server.task_runs(run["id"], f"helped {written.version}: release")
    assert set(tasks.values()) == {"Cached"}
    assert {f"helped {written.version}: {step}" for step in ("build", "tflite float32", "check serving")} <= set(tasks)


def test_deploy_prints_the_current_manifest_when_unchanged_and_asked_for_json(deploy: Deploy, releases: Path) -> None:
    ran = deploy("--json")
    path, written = current(releases)
    assert ran.document == {"manifests": [json.loads((path / "manifest.json").read_text())]}
    assert f"unchanged: helped {written.version} is current" in ran.err


def look(folder: Path, releases: Path) -> tuple[reuse.Reusable | None, list[str]]:
    """What a deploy would leave as it is now, and why not the rest."""
    spec = read.read(folder / "helped.yaml")
    return reuse.look(releases, spec, key.recipe(spec))


@pytest.fixture(name="copy")
def _copy(deploy: Deploy, folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The model's folder and its releases, copied to be changed."""
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy", tmp_path / "copy" / "releases"


def test_look_keeps_all_when_folder_and_releases_were_moved(copy: tuple[Path, Path]) -> None:
    reusable, reasons = look(*copy)
    assert reusable is not None
    assert reusable.whole
    assert reasons == []


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def failed(release: Path) -> None:
    replaced(release / "manifest.json", '"status": "passed",\n "created"', '"status": "failed",\n "created"')


TOLERANCE = "tolerance: {float32: {error: 0.00005}}\n    variants"
"""Narrower than another exact target's: golden is drawn for the widest."""
NOTHING = [
    ("helper edited", lambda f, r: replaced(f / "helper.py", "2.0", "3.0"), "helper.py has changed"),
    ("builder edited", lambda f, r: replaced(f / "helped.py", "tanh", "sin"), "helped.py has changed"),
    ("data edited", lambda f, r: (f / "weights.npy").write_bytes(b"other"), "weights.npy has changed"),
    ("config edited", lambda f, r: replaced(f / "helped.yaml", "model:", "initialize: shape\nmodel:"), "the config has changed"),
    ("SavedModel damaged", lambda f, r: (r / "saved_model/saved_model.pb").write_bytes(b""), "saved_model.pb is not what"),
    ("golden gone", lambda f, r: (r / "golden.npz").unlink(), "golden.npz is missing"),
    ("key gone", lambda f, r: (r / "key.json").unlink(), "says not what it was made of"),
    ("manifest damaged", lambda f, r: (r / "manifest.json").write_text("{}"), "says not what it was made of"),
    ("failed", lambda f, r: failed(r), "failed"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "reason"), [case[1:] for case in NOTHING], ids=[case[0] for case in NOTHING])
def test_look_keeps_nothing_when_what_all_is_made_of_changed(
    copy: tuple[Path, Path], change: Callable[[Path, Path], object], reason: str
) -> None:
    folder, releases = copy
    change(folder, (releases / "helped" / "current").resolve())
    reusable, reasons = look(folder, releases)
    assert reusable is None
    assert reason in reasons[0]


def test_look_keeps_nothing_when_another_version_is_installed(
    copy: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {**manifest.environment(), "tensorflow": "2.19.1"}
    monkeypatch.setattr(manifest, "environment", lambda: versions)
    assert look(*copy) == (None, ["tensorflow has changed"])


ALL = {("saved_model", "default"), ("tflite", "float32"), ("tflite", "dynamic"), ("serving", "default")}
PARTLY = [
    ("file damaged", lambda f, r: (r / "tflite/float32.tflite").write_bytes(b""), {("tflite", "float32")}),
    ("tolerance", lambda f, r: replaced(f / "helped.yaml", "variants", TOLERANCE), {("tflite", "float32")}),
    ("report damaged", lambda f, r: (r / "report.html").write_bytes(b""), set()),
    ("file added", lambda f, r: (r / "extra").write_bytes(b""), set()),
]  # fmt: skip


@pytest.mark.parametrize(("change", "lost"), [case[1:] for case in PARTLY], ids=[case[0] for case in PARTLY])
def test_look_keeps_the_others_when_one_variant_changed(
    copy: tuple[Path, Path], change: Callable[[Path, Path], object], lost: set[tuple[str, str]]
) -> None:
    folder, releases = copy
    change(folder, (releases / "helped" / "current").resolve())
    reusable, _ = look(folder, releases)
    assert reusable is not None
    assert not reusable.whole
    assert set(reusable.rows) == ALL - lost


def test_deploy_converts_one_target_alone_when_its_options_changed(
    deploy: Deploy, folder: Path, releases: Path, server: Server
) -> None:
    path, before = current(releases)
    replaced(folder / "helped.yaml", "variants", "select_ops: never\n    variants")
    ran = deploy("--json")
    assert ran.status == 0, ran.err
    now_path, now = current(releases)
    assert now.version == before.version + 1
    origin = {(row.target, row.variant): row.reused_from for row in now.targets}
    assert {each for each, version in origin.items() if version is None} == {
        ("tflite", "float32"),
        ("tflite", "dynamic"),
    }
    same = {row.target: row for row in before.targets}
    for row in now.targets:
        if row.reused_from is not None:
            assert (row.seconds, row.checks) == (same[row.target].seconds, same[row.target].checks)
            assert (now_path / (row.path or "")).is_dir()
    assert now.source.reused_from == before.version
    assert files.changed_files(path, before) == {} == files.changed_files(now_path, now)
    run = server.flow_runs(f"deploy {folder / 'helped.yaml'}")[0]
    assert "helped is made again: tflite float32: its options has changed" in server.logs(run["id"])
    tasks = server.task_runs(run["id"], f"helped {now.version}: release")
    fresh = {name for name, state in tasks.items() if state != "Cached"}
    assert fresh == {
        f"helped {now.version}: {step}tflite {v}" for step in ("", "check ") for v in ("float32", "dynamic")
    } | {f"helped {now.version}: release"}
    assert deploy().out == f"unchanged: helped {now.version} is current\n"
