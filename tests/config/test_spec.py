"""Configs: those that are here validate, and whatever is wrong with one is said with file, field and remedy."""

import re
import subprocess
import sys
from pathlib import Path

import hostile
import pytest
from wrong_configs import MODEL, WRONG

from converters.config import read
from converters.config.asked import Asked
from converters.contract.errors import BadInput
from converters.contract.settings import Tolerance
from converters.targets.registry import TARGETS
from converters.targets.tflite.options import TFLiteOptions


def write(folder: Path, text: str, name: str = "wrong.yaml") -> Path:
    """The path of a file of this text, in a folder that also holds the m.py that the configs here name."""
    (folder / "m.py").touch()
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["digits", "features", "mobilenet_v2"])
def test_find_gives_a_valid_spec_when_the_config_is_one_of_ours(name: str) -> None:
    found = read.find(name)
    assert found.name == name
    assert found.base == read.CONFIGS
    assert list(found.targets) == list(TARGETS)
    assert (found.base / found.model.partition(":")[0]).is_file()
    assert found == read.read(read.CONFIGS / f"{name}.yaml") == read.find(str(read.CONFIGS / f"{name}.yaml"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "preprocessing.x: says nothing"),
        ("{mean: [1]}", "mean and std must be as many: 1 and 0"),
        ("{mean: [0], std: [0]}", "std must be above 0"),
        ("{mean: [0], std: [.inf]}", "preprocessing.x.std"),
        ("{color: cmyk}", "preprocessing.x.color"),
    ],
)
def test_read_refuses_preprocessing_that_means_nothing(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadInput) as error:
        read.read(write(tmp_path, f"{MODEL}preprocessing: {{x: {text}}}\n"))
    assert words in str(error.value)


def test_read_takes_what_a_model_is_for(tmp_path: Path) -> None:
    text = "license: apache-2.0\nintended_use: digits\npreprocessing: {x: divided by 16, y: {mean: [0], std: [255], color: rgb}}\n"
    spec = read.read(write(tmp_path, MODEL + text))
    assert (spec.license, spec.intended_use) == ("apache-2.0", "digits")
    assert (spec.preprocessing["x"].description, spec.preprocessing["y"].std) == ("divided by 16", (255.0,))


def test_names_lists_every_config() -> None:
    assert {"digits", "features", "mobilenet_v2"} <= set(read.names())


def test_read_types_every_option_when_the_config_uses_all(tmp_path: Path) -> None:
    text = """
name: all-of_it.2
description: everything
model: m.py:build
inputs: {x: {shape: [null, 3], dtype: float32}}
initialize: shape
signatures: {serving_default: call, other: {method: other, inputs: {y: {shape: [2], dtype: string}}}}
golden:
  data: m.py:data
  samples: 5
  seed: 3
  inputs: {x: {low: -1, high: 1}, y: {values: [a, b]}}
  constant: [z]
representative: m.py:calibration
targets:
  tflite: {variants: [float32], select_ops: never, tolerance: {float32: {error: 0.5, reason: because}}}
  hdf5:
limits: {seconds: 5, memory_gb: 1.5}
"""
    found = read.read(write(tmp_path, text))
    assert found.name == "all-of_it.2"
    assert found.base == tmp_path
    assert found.inputs["x"].shape == (None, 3)
    assert found.signatures["serving_default"].method == "call"
    assert found.signatures["other"].inputs["y"].dtype == "string"
    assert found.golden.inputs["y"].values == ("a", "b")
    assert list(found.targets) == ["saved_model", "tflite", "hdf5"]
    options = found.targets["tflite"]
    assert isinstance(options, TFLiteOptions)
    assert options.select_ops == "never"
    assert options.tolerance == {"float32": Tolerance(error=0.5, reason="because")}
    assert found.limits.memory_gb == 1.5


def test_read_asks_for_every_target_when_the_config_names_none(tmp_path: Path) -> None:
    found = read.read(write(tmp_path, MODEL))
    assert list(found.targets) == list(TARGETS)
    assert found.name == "wrong"


@pytest.mark.parametrize("what", list(WRONG))
def test_read_names_file_field_and_remedy_when_one_thing_is_wrong(tmp_path: Path, what: str) -> None:
    text, words = WRONG[what]
    path = write(tmp_path, text)
    with pytest.raises(BadInput, match=re.escape(words)) as caught:
        read.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert "pydantic" not in message


def test_read_names_every_problem_when_there_are_several(tmp_path: Path) -> None:
    text = "golde: {}\ntargets: {tflite: {a: 1}, hdf5: {b: 2}}\n"
    with pytest.raises(BadInput) as caught:
        read.read(write(tmp_path, text))
    for words in ("model: is required", "golde: unknown key", "targets.tflite.a: unknown", "hdf5.b: unknown"):
        assert words in str(caught.value)


def test_read_raises_bad_input_when_the_file_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(BadInput, match=r"binary\.yaml: is not valid YAML"):
        read.read(path)


def test_find_raises_bad_input_when_the_config_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"absent\.yaml: cannot be read: No such file"):
        read.find(str(tmp_path / "absent.yaml"))


def test_find_suggests_a_name_when_there_is_no_such_model() -> None:
    with pytest.raises(BadInput, match=r"no model 'digit' in configs/; did you mean 'digits'\?.*features"):
        read.find("digit")


@pytest.mark.parametrize("what", ["some/where", "absent.keras", "absent.h5", "absent.onnx"])
def test_find_says_that_a_path_does_not_exist_when_it_looks_like_one(what: str) -> None:
    with pytest.raises(BadInput, match=f"{re.escape(what)} does not exist"):
        read.find(what)


def test_find_says_what_it_takes_when_the_file_is_of_another_kind(tmp_path: Path) -> None:
    path = write(tmp_path, "something", "model.onnx")
    with pytest.raises(BadInput, match=r"model\.onnx is an ONNX model; convert it"):
        read.find(str(path))


def test_find_raises_bad_input_when_the_directory_is_no_saved_model(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no SavedModel: it holds no saved_model\.pb"):
        read.find(str(tmp_path))


@pytest.mark.parametrize(
    ("made", "name"),
    [
        *(("My model (v2)", "My-model-v2"), ("a.b", "a.b"), ("prices/--", "prices"), ("plain", "plain")),
        *(
            ("prices/1", "prices"),
            ("cats/1", "cats"),
            ("prices/saved_model", "prices"),
            ("prices/export/0042", "prices"),
        ),
        *(("prices/export/Servo/1599999999", "prices"), ("prices/v2", "prices"), ("prices/my-model", "prices")),
        *(("prices/mobilenet_v2", "mobilenet_v2"), ("prices/model_b", "model_b"), ("prices/20240101-120000", "prices")),
    ],
)
def test_find_names_the_model_after_what_tells_it_apart_when_the_path_has_no_config(
    tmp_path: Path, made: str, name: str
) -> None:
    (tmp_path / made).mkdir(parents=True)
    write(tmp_path / made, "some", "saved_model.pb")
    found = read.find(str(tmp_path / made))
    assert found.name == name
    assert found.model == str(tmp_path / made)
    assert {target: options.optional for target, options in found.targets.items()} == {
        target: target != "saved_model" for target in TARGETS
    }


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_find_names_the_model_by_its_file_when_it_is_keras(tmp_path: Path, suffix: str) -> None:
    path = hostile.keras_hdf5(tmp_path / f"scores.v3{suffix}", {"class_name": "Sequential", "config": {}})
    assert read.find(str(path)).name == "scores.v3"
    (tmp_path / "prices").mkdir()
    assert read.find(str(path.rename(tmp_path / "prices" / f"model{suffix}"))).name == "prices"


def test_require_distinct_refuses_two_paths_when_both_mean_the_same_model(tmp_path: Path) -> None:
    empty = {"class_name": "Sequential", "config": {}}
    paths = [str(hostile.keras_hdf5(tmp_path / f"mine{suffix}", empty)) for suffix in (".keras", ".h5")]
    specs = {path: read.find(path) for path in paths}
    with pytest.raises(BadInput, match=r"mine\.keras and .*mine\.h5 would both be releases of 'mine'; .* --name"):
        read.require_distinct(specs)
    specs[paths[0]] = Asked(name="other").of(specs[paths[0]])
    read.require_distinct(specs)


def test_asked_says_again_what_was_asked_and_refuses_what_is_wrong(tmp_path: Path) -> None:
    spec = read.read(write(tmp_path, MODEL))
    (own := tmp_path / "own.py").touch()
    asked = Asked(name="other", tags="serve, gpu", custom=str(own), trust_code=True, accept_contract_change=True)
    changed = asked.of(spec)
    assert (changed.name, changed.tags, changed.custom_file) == ("other", ("serve", "gpu"), own)
    assert changed.trust_code
    assert changed.accept_contract_change
    assert asked.words() == [
        *("--name", "other", "--tags", "serve, gpu", "--custom", str(own), "--trust-code", "--accept-contract-change")
    ]
    assert Asked().of(spec) == spec
    with pytest.raises(BadInput, match=r"--name '\.\./x': use letters"):
        Asked(name="../x").of(spec)
    with pytest.raises(BadInput, match=r"--custom: .*absent\.py does not exist; give a FILE\.py"):
        Asked(custom=str(tmp_path / "absent.py")).of(spec)


def test_with_targets_keeps_options_when_targets_are_chosen(tmp_path: Path) -> None:
    found = read.read(write(tmp_path, MODEL + "targets: {tflite: {variants: [int8]}, hdf5: {}}\n"))
    chosen = found.with_targets(["tflite", "serving"])
    assert list(chosen.targets) == ["saved_model", "tflite", "serving"]
    assert chosen.targets["tflite"].variants == ("int8",)


def test_with_targets_suggests_a_name_when_there_is_no_such_target(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no target 'tfj'; did you mean 'tfjs'\?"):
        read.read(write(tmp_path, MODEL)).with_targets(["tfj"])


def test_find_needs_no_tensorflow() -> None:
    code = "import sys; from converters.config import read; read.find('digits'); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
