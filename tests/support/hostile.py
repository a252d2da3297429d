"""Models that somebody else made, and not kindly: SavedModels from protocol buffers, Keras files from JSON. No TensorFlow."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.formats.protos import load

FLOAT, STRING = 1, 7
"""DT_FLOAT, DT_STRING."""


def node(name: str, op: str, *inputs: str, **attributes: Any) -> Any:
    """A NodeDef. An attribute is text or bytes, a whole number, a dtype as ("type", NUMBER), a list of texts, or a function
    as ("func", NAME)."""
    made = load("tensorflow.core.framework.node_def_pb2").NodeDef(name=name, op=op, input=inputs)
    for key, value in attributes.items():
        attr = made.attr[key]
        if isinstance(value, bool):
            attr.b = value
        elif isinstance(value, int):
            attr.i = value
        elif isinstance(value, str | bytes):
            attr.s = value.encode() if isinstance(value, str) else value
        elif isinstance(value, list):
            attr.list.s.extend(each.encode() for each in value)
        elif value[0] == "types":
            attr.list.SetInParent()
            attr.list.type.extend(value[1:])
        elif value[0] == "func":
            attr.func.name = value[1]
        else:
            attr.type = value[1]
    return made


def text(name: str, value: str | bytes) -> Any:
    """A constant string."""
    made = node(name, "Const", dtype=("type", STRING))
    tensor = made.attr["value"].tensor
    tensor.dtype = STRING
    tensor.tensor_shape.SetInParent()
    tensor.string_val.append(value.encode() if isinstance(value, str) else value)
    return made


def placeholder(name: str, dtype: int = FLOAT) -> Any:
    """A placeholder of one sample for each of a batch, or of text."""
    made = node(name, "Placeholder", dtype=("type", dtype))
    shape = made.attr["shape"].shape
    if dtype == FLOAT:
        shape.dim.add(size=-1)
        shape.dim.add(size=2)
    return made


def writes(marker: Path, name: str = "written") -> list[Any]:
    """Nodes that write a file when `name` is run."""
    return [
        text(f"{name}_path", str(marker)),
        text(f"{name}_content", "ran"),
        node(name, "WriteFile", f"{name}_path", f"{name}_content"),
    ]


def function(name: str, arguments: Sequence[str], nodes: Sequence[Any], returns: str) -> Any:
    """A FunctionDef of strings, which runs all its nodes and returns one tensor of theirs."""
    made = load("tensorflow.core.framework.function_pb2").FunctionDef()
    made.signature.name = name
    made.signature.is_stateful = True
    for each in arguments:
        made.signature.input_arg.add(name=each, type=STRING)
    made.signature.output_arg.add(name="out", type=STRING)
    made.node_def.extend(nodes)
    made.ret["out"] = returns
    for each in nodes:
        if each.op in ("WriteFile", "SaveV2"):
            made.control_ret[each.name] = each.name
            made.signature.control_output.append(each.name)
    return made


def meta_graph(
    nodes: Sequence[Any],
    *,
    after: Sequence[str] = (),
    functions: Sequence[Any] = (),
    initialize: str | None = None,
    saver: tuple[str, str, str] | None = None,
    assets: Mapping[str, str] | None = None,
    inputs: str = "x",
    key: str = "serving_default",
) -> Any:
    """A MetaGraphDef with a signature of one input that it returns doubled, after the nodes `after` have run."""
    made = load("tensorflow.core.protobuf.meta_graph_pb2").MetaGraphDef()
    made.meta_info_def.tags.append("serve")
    made.graph_def.versions.producer = 1994
    result = node("y", "AddV2", "x_in", "x_in", *(f"^{each}" for each in after), T=("type", FLOAT))
    made.graph_def.node.extend([placeholder("x_in"), *nodes, result])
    made.graph_def.library.function.extend(functions)
    signature = made.signature_def[key]
    signature.method_name = "tensorflow/serving/predict"
    for side, name, tensor in ((signature.inputs, inputs, "x_in:0"), (signature.outputs, "y", "y:0")):
        side[name].name, side[name].dtype = tensor, FLOAT
        side[name].tensor_shape.dim.add(size=-1)
        side[name].tensor_shape.dim.add(size=2)
    if initialize is not None:
        made.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = initialize
    if saver is not None:
        filename, save, restore = saver
        made.saver_def.filename_tensor_name, made.saver_def.save_tensor_name = f"{filename}:0", f"{save}:0"
        made.saver_def.restore_op_name, made.saver_def.version = restore, 2
    for tensor, name in (assets or {}).items():
        asset = made.asset_file_def.add(filename=name)
        asset.tensor_info.name = f"{tensor}:0"
    return made


def saved_model(folder: Path, nodes: Sequence[Any] = (), **more: Any) -> Path:
    """A SavedModel of one such MetaGraphDef."""
    made = load("tensorflow.core.protobuf.saved_model_pb2").SavedModel(saved_model_schema_version=1)
    made.meta_graphs.append(meta_graph(nodes, **more))
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(made.SerializeToString())
    return folder


def layer(kind: str, name: str, module: str = "keras.layers", /, **config: Any) -> dict[str, Any]:
    """A layer of a model's config."""
    return {"module": module, "class_name": kind, "config": {"name": name, **config}, "registered_name": None}


def sequential(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """A Sequential model's config: an input of two numbers, and the layers."""
    inputs = layer("InputLayer", "x", batch_input_shape=[None, 2], dtype="float32")
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": [inputs, *layers]}}


def keras_archive(path: Path, config: Any, version: str = "2.19.0", **members: bytes) -> Path:
    """A .keras file of a config without weights."""
    import io

    import h5py

    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file.create_group("layers")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        archive.writestr("model.weights.h5", weights.getvalue())
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def keras_hdf5(path: Path, config: Any, version: str = "2.19.0") -> Path:
    """An .h5 file of a config without weights."""
    import h5py
    import numpy as np

    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"], file.attrs["backend"] = version, "tensorflow"
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = np.array([], "S1")
        weights.attrs["keras_version"], weights.attrs["backend"] = version, "tensorflow"
    return path


def marking(marker: Path) -> list[Any]:
    """The code of a function that writes the marker, as Keras 2 puts a Lambda's into a file (generic_utils.func_dump)."""
    import base64
    import marshal

    def ran(value: Any) -> Any:
        open("MARKER", "w").close()
        return value

    code = ran.__code__
    constants = tuple(str(marker) if each == "MARKER" else each for each in code.co_consts)
    return [base64.b64encode(marshal.dumps(code.replace(co_consts=constants))).decode(), None, None]
