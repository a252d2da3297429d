"""`fanout deploy MODEL --data PATH`: by path, with real inputs, made again when they change."""

import json
import re
from pathlib import Path
from typing import Any

import given_data
import numpy as np
import pytest
import samples
from command import Fanout

from converters.contract.values import Tensors
from converters.processes.child import run
from converters.reference import golden

PICTURES = """
import tf_keras

def build():
    tf_keras.utils.set_random_seed(1)
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.Input((6, 6, 3), name="image"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, name="scores"),
        ]
    )
"""
ROWS = np.random.default_rng(3).normal(1, 0.3, size=(60, 6)).round(3)


def saved(folder: Path, code: str) -> Path:
    """The model that the code builds, as tiny.keras."""
    run(samples.save_keras, samples.write_spec(folder, code), folder / "tiny.keras")
    return folder / "tiny.keras"


def inputs(releases: Path, version: int) -> Tensors:
    """Golden's inputs."""
    (case, _) = golden.load(releases / "tiny" / str(version) / "golden.npz").cases["serving_default"]
    return case.inputs


def targets(manifest: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(row["target"], row["variant"]): row["data"] for row in manifest["targets"]}


def test_deploy_compares_on_a_table_and_again_when_it_has_changed(fanout: Fanout, tmp_path: Path) -> None:
    model, releases, data = saved(tmp_path, samples.KERAS), tmp_path / "releases", tmp_path / "data.csv"
    data.write_text("a,b,c,d,e,f,species\n" + "".join(f"{','.join(map(str, row))},setosa\n" for row in ROWS))
    told = ["deploy", model, "--data", "data.csv", "--targets", "hdf5"]
    ran = fanout(*told, "--json", releases=releases)
    assert ran.status == 0, ran.err
    (manifest,) = ran.document["manifests"]
    assert set(targets(manifest).values()) == {"given"}
    assert "tiny  column 'species' is no number, and left out" in ran.err
    assert 0.8 < inputs(releases, 1)["features"].mean() < 1.2
    key = json.loads((releases / "tiny" / "1" / "key.json").read_text())
    assert any(name.endswith("data.csv") for name in key["reads"]["files"])
    assert "unchanged: tiny 1 is current" in fanout(*told, releases=releases).out
    data.write_text(data.read_text() + f"{','.join(['1'] * 6)},setosa\n")
    again = fanout(*told, "--json", releases=releases)
    assert [each["version"] for each in again.document["manifests"]] == [2]
    assert "data.csv has changed" in again.err


def test_deploy_takes_a_folder_of_images_and_says_in_which_range(fanout: Fanout, tmp_path: Path) -> None:
    model, releases = saved(tmp_path, PICTURES), tmp_path / "releases"
    rng = np.random.default_rng(4)
    run(
        given_data.write_images, {tmp_path / "photos" / f"{n}.png": rng.integers(0, 256, (9, 12, 3)) for n in range(20)}
    )
    ran = fanout("deploy", model, "--data", "photos", "--targets", "hdf5", "--json", releases=releases)
    assert ran.status == 0, ran.err
    assert "tiny  images are given to input 'image' in the range 0..255, as the model scales them" in ran.err
    images = inputs(releases, 1)["image"]
    assert images.shape == (16, 6, 6, 3)
    assert images.max() > 100
    assert set(targets(ran.document["manifests"][0]).values()) == {"given"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tiny.keras", "--data", "none.csv"], "--data: .*none.csv does not exist; give FILE.py:FUNCTION, an .npz"),
        (["tiny.keras", "digits", "--data", "data.csv"], "--data belongs to one model; name that model alone"),
        (["--all", "--data", "data.csv"], "--data belongs to one model; name that model alone"),
        (
            ["tiny.keras", "--data", "data.csv"],
            r"golden.data \(.*data.csv\), line 3, column 'x_1': 'nan' is no finite",
        ),
    ],
)
def test_deploy_exits_with_2_and_one_sentence_when_data_are_wrong(
    fanout: Fanout, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    code = samples.KERAS.replace("(6,)", "(2,)").replace('"features"', '"x"')
    saved(tmp_path, code)
    (tmp_path / "data.csv").write_text("x_0,x_1\n1,2\n3,nan\n")
    ran = fanout("deploy", *arguments, releases=tmp_path / "releases")
    assert ran.status == 2
    assert "Traceback" not in ran.err
    assert re.search(sentence, ran.err)
    assert not list(tmp_path.glob("releases/tiny/[0-9]*"))
