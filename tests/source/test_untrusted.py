"""Nothing that came with a model runs unasked: each hostile file would write a marker, and does so only when it is trusted."""

import contextlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
from hostile import STRING, function, layer, node, writes
from samples import only_build

from converters.config import read
from converters.config.asked import Asked
from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput, Damaged
from converters.reference import golden

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("kept_children")]


def in_signature(folder: Path, marker: Path) -> Path:
    return hostile.saved_model(folder / "m", writes(marker), after=["written"])


def on_loading(folder: Path, marker: Path) -> Path:
    return hostile.saved_model(folder / "m", writes(marker), initialize="written")


def in_a_function(folder: Path, marker: Path) -> Path:
    path, content, written = writes(marker)
    written.input[:] = ["written_path:output:0", "written_content:output:0"]
    inner = function("inner", [], [path, content, written], "written_path:output:0")
    call = node("call", "StatefulPartitionedCall", f=("func", "inner"), Tin=("types",), Tout=("types", STRING))
    outer = function("outer", [], [call], "call:output:0")
    outer.control_ret["call"] = "call"
    outer.signature.control_output.append("call")
    both = node("both", "StatefulPartitionedCall", f=("func", "outer"), Tin=("types",), Tout=("types", STRING))
    return hostile.saved_model(folder / "m", [both], functions=[inner, outer], after=["both"])


def printed(folder: Path, marker: Path) -> Path:
    said = [hostile.text("said", "ran"), node("print", "PrintV2", "said", output_stream=f"file://{marker}", end="\n")]
    return hostile.saved_model(folder / "m", said, after=["print"])


def a_lambda(marker: Path) -> dict[str, Any]:
    code = {"function": hostile.marking(marker), "function_type": "lambda", "module": "builtins", "arguments": {}}
    shape = {"output_shape": None, "output_shape_type": "raw", "output_shape_module": None}
    return hostile.sequential(layer("Lambda", "l", **code, **shape))


def lambda_in_hdf5(folder: Path, marker: Path) -> Path:
    return hostile.keras_hdf5(folder / "m.h5", a_lambda(marker))


def lambda_in_archive(folder: Path, marker: Path) -> Path:
    return hostile.keras_archive(folder / "m.keras", a_lambda(marker))


def op_in_hdf5(folder: Path, marker: Path) -> Path:
    """Keras calls a function of TensorFlow's, whose arguments are all constants, while it loads."""
    wrote = {
        "class_name": "TFOpLambda",
        "name": "w",
        "config": {"name": "w", "function": "io.write_file"},
        "inbound_nodes": [["_CONSTANT_VALUE", -1, str(marker), {"contents": "ran"}]],
    }
    inputs = {
        "class_name": "InputLayer",
        "name": "x",
        "config": {"name": "x", "batch_input_shape": [None, 2], "dtype": "float32"},
        "inbound_nodes": [],
    }
    config = {"name": "m", "layers": [inputs, wrote], "input_layers": [["x", 0, 0]], "output_layers": [["x", 0, 0]]}
    return hostile.keras_hdf5(folder / "m.h5", {"class_name": "Functional", "config": config})


RUNNING = [in_signature, on_loading, in_a_function, printed, lambda_in_hdf5, lambda_in_archive, op_in_hdf5]


@pytest.mark.parametrize("make", RUNNING, ids=lambda make: str(make.__name__))
def test_build_refuses_what_would_run_and_runs_it_when_it_is_trusted(
    make: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    spec = read.find(str(make(tmp_path, marker)))
    with pytest.raises(BadInput, match=r"comes with code that is not run unasked: .*--trust-code"):
        built(spec, tmp_path)
    assert not marker.exists()
    with contextlib.suppress(BadInput):  # some do nothing else well
        built(Asked(trust_code=True).of(spec), tmp_path)
    assert marker.exists(), "what is refused is hostile indeed"


IN_KERAS = {
    "class": (layer("Evil", "e", "evil_module"), "Evil"),
    "registered": ({**layer("Dense", "d"), "registered_name": "Package>Dense"}, "Dense"),
    "builtin": (
        layer("Dense", "d", units=2, activation={"module": "builtins", "class_name": "function", "config": "exec"}),
        "runs Python's exec",
    ),
    "utility": (layer("get_file", "g", "keras.utils"), "taken from keras.utils"),
    "download": (
        layer(
            "Dense",
            "d",
            activation={"module": "keras.applications.convnext", "class_name": "function", "config": "ConvNeXtTiny"},
        ),
        "taken from keras.applications.convnext",
    ),
    "pickled": (layer("TorchModuleWrapper", "t", module="gASV"), "holds a pickled object"),
    "elsewhere": (layer("TFSMLayer", "t", filepath="/tmp/model"), "loads and runs a SavedModel"),
    "vocabulary": (layer("StringLookup", "s", vocabulary="/etc/passwd"), "reads the file /etc/passwd"),
    "raw op": (layer("TFOpLambda", "o", function="raw_ops.ReadFile"), "runs raw_ops.ReadFile"),
    "python op": (layer("TFOpLambda", "o", function="compat.v1.py_func"), "runs compat.v1.py_func"),
    "old op": (layer("TensorFlowOpLayer", "o", node_def='{"op": "WriteFile"}'), "may reach out"),
    "dump": (layer("TFOpLambda", "o", function="debugging.experimental.enable_dump_debug_info"), "may reach out"),
}


@pytest.mark.parametrize("name", IN_KERAS)
@pytest.mark.parametrize("version", ["2.19.0", "3.15.0"])
@pytest.mark.parametrize("write", [hostile.keras_archive, hostile.keras_hdf5])
def test_build_names_what_a_keras_file_would_run_or_read(
    name: str, version: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    item, words = IN_KERAS[name]
    # Deep in another model, as an argument of a layer.
    config = hostile.sequential(layer("TimeDistributed", "t", layer=hostile.sequential(item)))
    path = write(tmp_path / ("m.keras" if write is hostile.keras_archive else "m.h5"), config, version)
    with pytest.raises(BadInput, match="not run unasked") as refusal:
        built(read.find(str(path)), tmp_path)
    assert words in str(refusal.value)


ORDINARY = [
    "math.add",
    "nn.relu",
    "__operators__.getitem",
    "concat",
    "compat.v1.gather",
    "io.decode_base64",
    "image.resize",
]


@pytest.mark.parametrize("function", ORDINARY)
def test_of_keras_names_no_ordinary_function(function: str, tmp_path: Path) -> None:
    from converters.formats import code

    config = hostile.sequential(
        layer("TFOpLambda", "o", function=function), layer("Dense", "d", units=2, activation="tanh")
    )
    assert code.of_keras(hostile.keras_hdf5(tmp_path / "m.h5", config)) == []


@pytest.mark.parametrize("library", ["keras.src", "tf_keras.src"])
def test_of_keras_names_no_layer_of_keras_applications(library: str, tmp_path: Path) -> None:
    from converters.formats import code

    scaled = layer("LayerScale", "s", f"{library}.applications.convnext", init_values=1e-6, projection_dim=4)
    assert code.of_keras(hostile.keras_archive(tmp_path / "m.keras", hostile.sequential(scaled))) == []


class Marking:
    """What writes the marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.marker), "w")


def test_load_never_unpickles_golden_or_evaluation(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "golden.npz"
    np.savez(path, **{"serving_default/0/inputs/x": np.array([Marking(marker)], object)})  # type: ignore[arg-type]
    with pytest.raises(Damaged, match="Object arrays cannot be loaded"):
        golden.load(path)
    (tmp_path / "all.npz").write_bytes(pickle.dumps(Marking(marker)))
    with pytest.raises(Damaged, match="cannot be read"):
        golden.load(tmp_path / "all.npz")
    assert not marker.exists()


@pytest.mark.parametrize("ending", [".npz", ".npy"])
def test_build_never_unpickles_data(ending: str, tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / f"data{ending}"
    array = np.array([Marking(marker)], object)
    np.save(path, array) if ending == ".npy" else np.savez(path, x=array)
    spec = Asked(data=str(path)).of(read.find(str(hostile.saved_model(tmp_path / "m"))))
    with pytest.raises(BadInput, match="Python objects, which are not unpickled"):
        built(spec, tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize("shape", ["4000000000", "1000000000, 1000000000", "-4"])
def test_build_refuses_data_that_declare_more_than_they_hold(shape: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, np.zeros((4, 2), np.float32))
    header = b"'shape': (4, 2), }"
    changed = f"'shape': (4, {shape}), }}".encode()
    content = path.read_bytes().replace(header + b" " * (len(changed) - len(header)), changed)
    path.write_bytes(content)
    spec = Asked(data=str(path)).of(read.find(str(hostile.saved_model(tmp_path / "m"))))
    with pytest.raises(BadInput, match=r"declares .* bytes, and has"):
        built(spec, tmp_path)


def built(spec: ModelSpec, folder: Path) -> Any:
    (place := folder / "release").mkdir(exist_ok=True)
    return only_build(spec, place)
