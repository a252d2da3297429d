"""`fanout init`: what it finds, asks and writes, and that what it wrote deploys as it is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import samples
import zoo_sources
from command import Fanout

from converters.config import read, schema
from converters.processes.child import run
from converters.targets.registry import TARGETS

BUILDER = """
import os
from pathlib import Path
import tf_keras

Path(__file__).with_name("process").write_text(str(os.getpid()))

def build():
    return tf_keras.Sequential([tf_keras.Input((5,), name="x"), tf_keras.layers.Dense(2, "tanh", name="y")])

def sequence():
    return tf_keras.Sequential([tf_keras.Input((None, 5), name="x"), tf_keras.layers.Dense(2, name="y")])

def unbuilt():
    return tf_keras.Sequential([tf_keras.layers.Dense(2, "tanh", name="y")])
"""
LAMBDA = """
import keras

def build():
    x = keras.Input((3,), name="x")
    return keras.Model(x, keras.layers.Lambda(lambda x: x * 2.0, name="scale")(x))
"""


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of every kind, and files that a config may name."""
    folder = tmp_path_factory.mktemp("init")
    (folder / "exports" / "prices").mkdir(parents=True)
    run(zoo_sources.dense, folder / "exports" / "prices" / "1")
    run(zoo_sources.keras_file, folder / "faces.keras", "keras")
    (folder / "builders.py").write_text(BUILDER)
    (folder / "names.txt").write_text("a\nb\nc\n")
    (folder / "photos").mkdir()
    (folder / "taken").mkdir()
    (folder / "taken" / "prices.yaml").write_text("mine")
    lambdas = folder / "lambdas"
    lambdas.mkdir()
    run(samples.save_keras, samples.write_spec(lambdas, LAMBDA), lambdas / "doubling.keras")
    (folder / "layers.py").write_text("def scale(x):\n    return x * 2.0\n")
    return folder


def test_what_init_writes_deploys_as_it_is_for_a_saved_model_a_keras_file_and_a_builder(
    fanout: Fanout, folder: Path
) -> None:
    releases, configs = folder / "releases", folder / "configs"
    made = {
        "prices": [folder / "exports" / "prices" / "1"],
        "faces": [
            "faces.keras",
            "--labels",
            "second=names.txt",
            "--license",
            "MIT",
            "--batch-1",
            "--targets",
            "tflite",
        ],
        "builders": [
            "builders.py:build",
            "--intended-use",
            "tests: no more",
            "--targets",
            "hdf5",
            "--schedule",
            "never",
        ],
    }
    for name, arguments in made.items():
        ran = fanout("init", *arguments, "--output", configs, "--yes", releases=releases)
        assert ran.status == 0, ran.err
        assert ran.out.rstrip().endswith(f"fanout deploy configs/{name}.yaml")
        assert all(words in ran.out for words in ("float32", "signatures", f"{name}.yaml is written"))
    assert "x float32 [?, 4] -> y float32 [?, 3]" in (configs / "prices.yaml").read_text()
    spec = read.read(configs / "faces.yaml")
    assert (spec.labels, spec.license) == ({"second": ("a", "b", "c")}, "MIT")
    assert spec.by_path is False
    assert read.read(configs / "builders.yaml").intended_use == "tests: no more"
    assert int((folder / "process").read_text()) != os.getpid()
    ran = fanout("deploy", *(configs / f"{name}.yaml" for name in made), "--quiet", releases=releases)
    assert ran.status == 0, ran.err
    assert [line.partition(" was")[0] for line in ran.out.splitlines()] == ["prices 1", "faces 1", "builders 1"]
    assert (releases / "faces" / "1" / "tflite" / "float32-batch1.tflite").is_file()
    assert "building" not in ran.err
    # Where all is unchanged, and more is asked for.
    ran = fanout("deploy", configs / "builders.yaml", "-v", "--force", releases=releases, process=True)
    assert ran.status == 0, ran.err
    assert "Task run 'builders 2: build'" in ran.err
    assert "✓ values" in ran.out


def test_config_is_short_names_the_schema_and_says_what_more_there_is(fanout: Fanout, folder: Path) -> None:
    ran = fanout("init", "builders.py:build", "--output", folder / "short", releases=folder / "releases")
    assert ran.status == 0, ran.err
    text = (folder / "short" / "builders.yaml").read_text()
    first, *_ = lines = text.splitlines()
    assert len(lines) < 25
    assert (folder / "short" / first.partition("$schema=")[2]).resolve() == schema.FILE
    for field in ("golden", "labels", "evaluation", "license", "intended_use", "schedule"):
        assert f"# {field}: " in text
    assert list(read.read(folder / "short" / "builders.yaml").targets) == list(TARGETS)
    # Its comments are right when the signs before them are taken away.
    (folder / "short" / "PATH").mkdir()
    (folder / "short" / "FILE.txt").write_text("a\nb\n")
    whole = [lines[2], *(re.sub(r"^# (?=\w+: )", "", line) for line in lines[4:])]
    (folder / "short" / "all.yaml").write_text("\n".join(whole))
    assert read.read(folder / "short" / "all.yaml").labels == {"y": ("a", "b")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["exports/prices/1", "--output", "taken"], ["prices.yaml exists and is left as it is", "--name"]),
        (["exports/prices"], ["exports/prices/1"]),
        (["exports/prices/1", "--name", "a/b"], ["--name 'a/b'", "use letters"]),
        (["exports/prices/1", "--name", "nightly"], ["--name 'nightly'"]),
        (["exports/prices/1", "--targets", "tflight"], ["'tflight'", "did you mean 'tflite'?"]),
        (["exports/prices/1", "--data", "nowhere.npz"], ["--data", "nowhere.npz does not exist"]),
        (["exports/prices/1", "--labels", "nowhere.txt"], ["--labels", "does not exist"]),
        (["exports/prices/1", "--batch-1", "--targets", "hdf5"], ["--batch-1", "no target makes files of fixed sizes"]),
        (["builders.py:sequence", "--batch-1"], ["--batch-1", "whole shapes"]),
        (["exports/prices/1", "--schedule", "at night"], ["schedule.cron", "'at night'"]),
        (["faces.keras", "--labels", "names.txt"], ["several outputs", "first, second"]),
        (["faces.keras", "--labels", "first=names.txt"], ["labels.first: there are 3 names", "is 2"]),
        (["faces.keras", "--labels", "third=names.txt"], ["no output 'third'"]),
        (["faces.keras", "--input", "left=float31[4]"], ["--input", "no dtype 'float31'"]),
        (["faces.keras", "--input", "left"], ["--input 'left'", "NAME=DTYPE[SHAPE]"]),
        (["missing.keras"], ["missing.keras", "does not exist"]),
        (["builders.py"], ["is Python", "builders.py:FUNCTION"]),
        (["builders.py:absent"], ["no function 'absent'", "build"]),
        (["builders.py:unbuilt"], ["not built", "--input"]),
        (["lambdas/doubling.keras"], ["layer scale", "--trust-code", "--custom"]),
        (["lambdas/doubling.keras", "--custom", "missing.py"], ["--custom", "missing.py does not exist"]),
    ],
)
def test_init_writes_nothing_and_exits_with_2_when_something_is_wrong(
    arguments: list[str], said: list[str], fanout: Fanout, folder: Path
) -> None:
    before = sorted(folder.rglob("*.yaml"))
    output = [] if "--output" in arguments else ["--output", folder / "refused"]
    ran = fanout("init", *arguments, *output, releases=folder / "releases")
    assert ran.status == 2, ran.out
    assert "Traceback" not in ran.err
    for words in said:
        assert words in ran.err
    assert sorted(folder.rglob("*.yaml")) == before
    assert (folder / "taken" / "prices.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("more", "field"), [(["--custom", "layers.py"], "custom: ../layers.py"), (["--trust-code"], "trust_code: true")]
)
def test_config_says_what_the_code_that_came_with_a_model_needs(
    more: list[str], field: str, fanout: Fanout, folder: Path
) -> None:
    name = more[0].strip("-")
    ran = fanout(
        "init",
        "lambdas/doubling.keras",
        *more,
        "--name",
        name,
        "--output",
        folder / "coded",
        releases=folder / "releases",
    )
    assert ran.status == 0, ran.err
    text = (folder / "coded" / f"{name}.yaml").read_text()
    assert field in text
    assert "x float32 [?, 3]" in text


def test_model_that_declares_no_inputs_gets_those_that_were_named(fanout: Fanout, folder: Path) -> None:
    arguments = [
        "builders.py:unbuilt",
        "--input",
        "y_input=float32[?,5]",
        "--name",
        "unbuilt",
        "--output",
        folder / "named",
    ]
    ran = fanout("init", *arguments, releases=folder / "releases")
    assert ran.status == 0, ran.err
    assert read.read(folder / "named" / "unbuilt.yaml").inputs["y_input"].shape == (None, 5)


def test_keras_file_with_the_other_formats_suffix_is_found_to_be_what_it_is(fanout: Fanout, folder: Path) -> None:
    run(zoo_sources.keras_file, folder / "other.h5", "tf_keras")
    (folder / "other.h5").rename(folder / "other.keras")
    ran = fanout("init", "other.keras", "--output", folder / "named", releases=folder / "releases")
    assert ran.status == 0, ran.err
    assert "Keras HDF5 model" in ran.out


def test_person_at_a_terminal_is_asked_and_asked_again_where_an_answer_is_wrong(folder: Path) -> None:
    answers = ["faces", "flowers", "tfjs,tflight", "tfjs,tflite", "nowhere.npz", "", "second=names.txt", "MIT",
               "to tell: apart", "perhaps", "y", "0 2 * *", "never"]  # fmt: skip
    (folder / "asked").mkdir()
    (folder / "asked" / "faces.yaml").write_text("mine")
    ours, theirs = os.openpty()
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    command = [sys.executable, "-m", "flows", "init", "faces.keras", "--output", "asked"]
    done = subprocess.run(command, stdin=theirs, cwd=folder, capture_output=True, text=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    for words in (
        "faces.yaml exists",
        "did you mean 'tflite'?",
        "nowhere.npz does not exist",
        "'perhaps'",
        "'0 2 * *'",
    ):
        assert words in done.stderr
    spec = read.read(folder / "asked" / "flowers.yaml")
    assert list(spec.targets) == ["saved_model", "tflite", "tfjs"]
    assert (spec.license, spec.intended_use, spec.labels["second"]) == ("MIT", "to tell: apart", ("a", "b", "c"))
    assert (folder / "asked" / "faces.yaml").read_text() == "mine"
