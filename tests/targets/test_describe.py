"""Descriptions of real files of every format, and of damaged ones."""

import io
import json
import os
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import samples
from rich.console import Console
from samples import Sample, converted

from converters.contract.errors import BadInput
from converters.contract.values import Signature
from converters.processes import child as isolate
from converters.targets.describe import describe
from flows.show.description import render

pytestmark = pytest.mark.tensorflow

FLEX = """
import tensorflow as tf

class Flex(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 2, 2], tf.float32, name="matrix")])
    def __call__(self, matrix):
        return {"determinant": tf.linalg.det(matrix)}

def build():
    return Flex()
"""
"""Needs a select TF op in TF Lite."""


@pytest.fixture(scope="module")
def paths(keras_sample: Sample, module_sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of every format, by a name for it."""
    keras_file = tmp_path_factory.mktemp("keras") / "model.keras"
    isolate.run(samples.save_keras, keras_sample.spec, keras_file)
    return {
        "saved_model": module_sample.source.saved_model,
        "keras": keras_file,
        "h5": converted(keras_sample, "hdf5", "model").path,
        "weights": converted(module_sample, "hdf5", "weights").path,
        "tflite": converted(module_sample, "tflite", "float32").path,
        "graph": converted(module_sample, "tfjs", "graph").path,
        "layers": converted(keras_sample, "tfjs", "layers").path,
    }


def described(path: Path) -> Any:
    """The description, through a child and through JSON, as the command line makes it."""
    return json.loads(json.dumps(isolate.run(describe, path).value))


def dumped(signatures: Mapping[str, Signature]) -> dict[str, Any]:
    """Signatures as a description holds them."""
    return {key: signature.model_dump(mode="json") for key, signature in signatures.items()}


def test_describe_tells_signatures_and_ops_when_given_a_saved_model(
    paths: dict[str, Path], module_sample: Sample
) -> None:
    found = described(paths["saved_model"])
    (tag_set,) = found["tag_sets"]
    assert tag_set["tags"] == ["serve"]
    assert tag_set["tensorflow"] == version("tensorflow")
    assert tag_set["signatures"] == dumped(module_sample.source.signatures)
    assert (found["parameters"], found["variables"]) == (25, 2)
    assert found["assets"] == []
    assert tag_set["ops"]["MatMul"] == 2
    assert "RestoreV2" not in tag_set["ops"], "ops that load the variables are no part of any signature"
    counts = list(tag_set["ops"].values())
    assert counts == sorted(counts, reverse=True)


def test_describe_takes_the_directory_when_given_saved_model_pb(paths: dict[str, Path]) -> None:
    assert described(paths["saved_model"] / "saved_model.pb") == described(paths["saved_model"])


@pytest.mark.parametrize("name", ["keras", "h5", "layers"])
def test_describe_tells_layers_and_parameters_when_given_a_keras_model(paths: dict[str, Path], name: str) -> None:
    found = described(paths[name])
    assert found["keras"] == version("tf-keras")
    assert found["class"] == "Sequential"
    assert found["parameters"] == 6 * 8 + 8 + 8 * 3 + 3
    assert {"name": "hidden", "class": "Dense"} in found["layers"]
    (signature,) = found["signatures"].values()
    assert signature["inputs"] == {"features": {"shape": [None, 6], "dtype": "float32"}}
    assert signature["outputs"].keys() == {"scores"}


def test_describe_tells_datasets_when_given_weights(paths: dict[str, Path]) -> None:
    found = described(paths["weights"])
    assert found["datasets"] == {
        "offset": {"dtype": "float32", "shape": [5]},
        "weight": {"dtype": "float32", "shape": [4, 5]},
    }
    assert found["parameters"] == 25


def test_describe_tells_signatures_and_ops_when_given_a_tflite_file(
    paths: dict[str, Path], module_sample: Sample
) -> None:
    found = described(paths["tflite"])
    assert found["signatures"] == dumped(module_sample.source.signatures)
    assert found["bytes"] == paths["tflite"].stat().st_size
    assert len(found["subgraphs"]) == 2
    assert found["ops"]["FULLY_CONNECTED"] == 2
    assert (found["select_tf_ops"], found["custom_ops"]) == ([], [])
    assert found["min_runtime"]


def test_describe_names_select_tf_ops_when_the_file_needs_them(make_sample: Callable[..., Sample]) -> None:
    sample = make_sample(FLEX, name="flex", targets={"tflite": {}})
    found = described(converted(sample, "tflite", "float32").path)
    assert found["select_tf_ops"] == ["FlexMatrixDeterminant"]
    assert found["custom_ops"] == []
    assert found["ops"]["FlexMatrixDeterminant"] == 1


def test_describe_tells_ops_and_shards_when_given_a_graph_model(paths: dict[str, Path]) -> None:
    found = described(paths["graph"])
    assert found["format"] == "tensorflow.js graph-model"
    (signature,) = found["signatures"].values()
    assert signature["inputs"] == {"signal": {"shape": [None, 4], "dtype": "float32"}}
    (group,) = found["weights"]
    assert group["shards"] == {file.name: file.stat().st_size for file in paths["graph"].parent.glob("*.bin")}
    assert found["bytes"] == sum(file.stat().st_size for file in paths["graph"].parent.iterdir())
    assert sum(found["ops"].values()) > 3
    assert "TensorFlow.js" in found["converted_by"]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["saved_model", "keras", "h5", "weights", "tflite", "graph", "layers"])
def test_render_fits_the_terminal_when_narrow(paths: dict[str, Path], name: str, width: int) -> None:
    found = described(paths[name])
    screen = io.StringIO()
    Console(file=screen, width=width).print(render(found))
    shown = screen.getvalue()
    assert all(len(line) <= width for line in shown.splitlines())
    for signature in found.get("signatures", {}).values():
        assert all(tensor in shown for tensor in (*signature["inputs"], *signature["outputs"]))
    assert found["format"] in shown
    assert f"{found['parameters']:,}" in shown if "parameters" in found else "signature" in shown


def test_render_takes_names_literally_when_they_look_like_markup(paths: dict[str, Path]) -> None:
    found = {**described(paths["weights"]), "datasets": {"[red]odd[/red]": {"dtype": "float32", "shape": [2]}}}
    screen = io.StringIO()
    Console(file=screen, width=80).print(render(found))
    assert "[red]odd[/red]" in screen.getvalue()


@pytest.mark.parametrize("name", ["saved_model", "keras", "h5", "weights", "tflite", "graph", "layers"])
def test_describe_raises_bad_input_when_the_file_is_truncated(
    paths: dict[str, Path], tmp_path: Path, name: str
) -> None:
    original = paths[name] if paths[name].is_dir() else paths[name].parent
    copy = shutil.copytree(original, tmp_path / "copy")
    damaged = copy if paths[name].is_dir() else copy / paths[name].name
    cut = damaged / "saved_model.pb" if damaged.is_dir() else damaged
    os.truncate(cut, cut.stat().st_size // 2)
    assert_refused(damaged)


def test_describe_raises_bad_input_when_variables_are_truncated(paths: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(paths["saved_model"], tmp_path / "copy")
    os.truncate(copy / "variables" / "variables.index", 20)
    assert "variables" in assert_refused(copy)


def test_describe_raises_bad_input_when_a_shard_is_missing(paths: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(paths["graph"].parent, tmp_path / "copy")
    (shard,) = copy.glob("*.bin")
    shard.unlink()
    assert shard.name in assert_refused(copy / "model.json")


@pytest.mark.parametrize("name", ["absent.tflite", "model.onnx", "empty", "other.json", "list.json", "text.tflite"])
def test_describe_raises_bad_input_when_the_path_is_of_no_known_format(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07")
    (tmp_path / "other.json").write_text('{"name": "tsconfig"}')
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "text.tflite").write_text("")
    assert_refused(tmp_path / name)


def assert_refused(path: Path) -> str:
    """The message: one line, naming the path."""
    with pytest.raises(BadInput) as caught:
        isolate.run(describe, path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_render_shows_what_a_tflite_file_says_of_preprocessing(make_sample: Callable[..., Sample]) -> None:
    told = {"features": {"description": "standardised", "mean": [0.5], "std": [0.25]}}
    made = converted(make_sample(samples.KERAS, preprocessing=told), "tflite", "float32")
    shown = io.StringIO()
    Console(file=shown, width=100).print(render(describe(made.path)))
    for words in ("standardised", "0.5", "0.25", "low"):
        assert words in shown.getvalue()
