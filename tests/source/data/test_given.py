"""What a config or the command line gives of data becomes golden, calibration and labelled data, and part of the key."""

import os
import shutil
from pathlib import Path
from typing import Any

import given_data
import numpy as np
import pytest
import samples
from samples import Sample

from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput
from converters.contract.layout import EVALUATION
from converters.processes.child import run
from converters.reference import golden
from converters.source.builder import Builder
from converters.source.data.given import CALIBRATION
from converters.source.watch import Reads

pytestmark = pytest.mark.tensorflow

KEY = "serving_default"
FEATURES = np.random.default_rng(5).normal(50, 10, size=(400, 6)).astype(np.float32)


def with_table(folder: Path, count: int = 400, **fields: Any) -> ModelSpec:
    """A tiny model whose folder holds data.csv, with labels."""
    rows = "".join(f"{','.join(map(str, row))},{n % 3}\n" for n, row in enumerate(FEATURES[:count]))
    (folder / "data.csv").write_text("a,b,c,d,e,f,labels\n" + rows)
    return samples.write_spec(folder, samples.KERAS, **fields)


def calibrated(sample: Sample) -> Any:
    """The samples to calibrate on."""
    assert sample.source.representative is not None
    (case,) = golden.load(sample.source.representative).cases[KEY]
    return case.inputs["features"]


def recorded(sample: Sample) -> Any:
    """Golden's samples."""
    return sample.golden.cases[KEY][0].inputs["features"]


def test_build_calibrates_on_more_of_golden_s_data_than_golden_keeps(tmp_path: Path) -> None:
    sample = samples.build(with_table(tmp_path, golden={"data": "data.csv", "samples": 20}), tmp_path)
    assert recorded(sample).shape == (20, 6)
    assert calibrated(sample).shape == (CALIBRATION, 6)
    assert 40 < recorded(sample).mean() < 60
    np.testing.assert_array_equal(calibrated(sample)[:20], recorded(sample))
    assert sample.built.said == ("the header names no input, so columns are taken in order",)
    assert sample.built.drawn_for is None


def test_build_takes_golden_from_representative_data_when_it_has_none_of_its_own(tmp_path: Path) -> None:
    sample = samples.build(with_table(tmp_path, count=30, representative="data.csv"), tmp_path)
    assert recorded(sample).shape == (16, 6)
    assert calibrated(sample).shape == (30, 6)
    np.testing.assert_array_equal(calibrated(sample)[:16], recorded(sample))


def test_build_needs_no_calibration_file_when_golden_holds_all_that_is_given(tmp_path: Path) -> None:
    sample = samples.build(with_table(tmp_path, count=10, golden={"data": "data.csv"}), tmp_path)
    assert sample.source.representative is None
    assert recorded(sample).shape == (10, 6)


def test_build_evaluates_on_a_table_with_labels(tmp_path: Path) -> None:
    sample = samples.build(with_table(tmp_path, evaluation={"data": "data.csv", "samples": 50}), tmp_path)
    cases = golden.load(sample.source.golden.parent / EVALUATION).cases
    labels, inputs = cases["labels"][0].outputs["labels"], cases["calls"][0].inputs["features"]
    assert labels.shape == (50,)
    numbers = [int(np.abs(FEATURES - row).sum(axis=1).argmin()) for row in inputs]
    assert [n % 3 for n in numbers] == labels[: len(numbers)].tolist()


def test_build_gives_every_signature_of_one_input_what_a_table_holds(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("signal_0,signal_1,signal_2,signal_3\n1,2,3,4\n5,6,7,8\n")
    sample = samples.build(samples.write_spec(tmp_path, samples.MODULE, golden={"data": "data.csv"}), tmp_path)
    for cases in sample.golden.cases.values():
        assert sorted(cases[0].inputs["signal"][:, 0]) == [1, 5]


def test_with_data_takes_the_place_of_what_the_config_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    spec = with_table(tmp_path / "elsewhere", representative="data.csv")
    with pytest.raises(BadInput, match=r"^--data: .*data\.csv does not exist"):
        spec.with_data("data.csv")
    shutil.copy(tmp_path / "elsewhere" / "data.csv", tmp_path / "data.csv")
    changed = spec.with_data("data.csv")
    assert (changed.golden.data, changed.representative) == (str(tmp_path / "data.csv"), None)
    assert spec.with_data("elsewhere/tiny.py:build").golden.data == str(tmp_path / "elsewhere" / "tiny.py:build")


def data_reads(model: ModelSpec, folder: Path) -> Reads:
    """What a build read."""
    folder.mkdir()
    with Builder(model, folder, folder) as builder:
        builder.build()
        reads = builder.reads(folder)
    assert reads is not None
    return reads


PICTURES = """
import tf_keras

def build():
    layers = tf_keras.layers
    return tf_keras.Sequential([layers.Input((4, 4, 3), name="image"), layers.Flatten(), layers.Dense(2, name="score")])
"""


def backdated(path: Path) -> None:
    """What is changed while a build runs makes it unknown what was read."""
    os.utime(path, (1, 1))


def test_reads_hold_the_files_of_data_that_were_read_and_the_names_of_their_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(given_data.write_images, {tmp_path / "data" / f"{name}.png": np.full((4, 4, 3), 7)})
        backdated(tmp_path / "data" / f"{name}.png")
    spec = samples.write_spec(tmp_path, PICTURES, golden={"data": "data"})
    for file in (tmp_path / "tiny.py", tmp_path / "tiny.yaml"):
        backdated(file)
    reads = data_reads(spec, tmp_path / "one")
    assert {"data/a.png", "data/b.png"} <= set(reads.files)
    assert reads.changed(tmp_path) is None
    shutil.copy(tmp_path / "data" / "a.png", tmp_path / "data" / "c.png")
    assert reads.changed(tmp_path) == "data holds other files"
    (tmp_path / "data" / "c.png").unlink()
    (tmp_path / "data" / "a.png").write_bytes((tmp_path / "data" / "a.png").read_bytes() + b" ")
    assert reads.changed(tmp_path) == "data/a.png has changed"
    shutil.rmtree(tmp_path / "data")
    assert reads.changed(tmp_path) == "data/a.png is gone"


@pytest.mark.parametrize("form", ["csv", "npz", "npy", "tfrecord"])
def test_reads_hold_the_file_of_data_whatever_reads_it(tmp_path: Path, form: str) -> None:
    spec = with_table(tmp_path, count=20)
    np.savez(tmp_path / "data.npz", features=FEATURES[:20])
    np.save(tmp_path / "data.npy", FEATURES[:20])
    run(given_data.write_examples, tmp_path / "data.tfrecord", [{"features": row.tolist()} for row in FEATURES[:20]])
    for file in tmp_path.iterdir():
        backdated(file)
    reads = data_reads(spec.with_data(str(tmp_path / f"data.{form}")), tmp_path / "one")
    assert f"data.{form}" in str(sorted(reads.files))
    with (tmp_path / f"data.{form}").open("ab") as file:
        file.write(b" ")
    assert reads.changed(spec.base.resolve()) == f"data.{form} has changed"
