"""How a SavedModel is harmed: its proto, its variables. All of it runs in a child with TensorFlow."""

from pathlib import Path
from typing import Any

from battery_model import INPUT, KEY, OUTPUTS


def edit_saved_model(saved_model: Path, change: str, *args: Any) -> None:
    """Change saved_model.pb by one of the functions below, by its name: it gets the MetaGraphDef."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    proto = SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    globals()[change](proto.meta_graphs[0], *args)
    (saved_model / "saved_model.pb").write_bytes(proto.SerializeToString())


def rename_signature(graph: Any, old: str, new: str) -> None:
    graph.signature_def[new].CopyFrom(graph.signature_def[old])
    del graph.signature_def[old]


def drop_signature(graph: Any, key: str) -> None:
    del graph.signature_def[key]


def swap_outputs(graph: Any, key: str, one: str, two: str) -> None:
    outputs = graph.signature_def[key].outputs
    outputs[one].name, outputs[two].name = outputs[two].name, outputs[one].name


def drop_output(graph: Any, key: str, name: str) -> None:
    del graph.signature_def[key].outputs[name]


def set_output_dtype(graph: Any, key: str, name: str, dtype: int) -> None:
    graph.signature_def[key].outputs[name].dtype = dtype


def set_input_size(graph: Any, key: str, name: str, size: int) -> None:
    graph.signature_def[key].inputs[name].tensor_shape.dim[-1].size = size


def set_method(graph: Any, key: str, method: str) -> None:
    graph.signature_def[key].method_name = f"tensorflow/serving/{method}"


def retag(graph: Any, *tags: str) -> None:
    graph.meta_info_def.tags[:] = tags


def set_op(graph: Any, function: str, node: str, op: str) -> None:
    (body,) = (found for found in graph.graph_def.library.function if found.signature.name == function)
    (changed,) = (found for found in body.node_def if found.name == node)
    # The name of the op is part of how its output is referred to: "node:activations:0" is "node:output:0" elsewhere.
    port = {"Relu": "activations", "Tanh": "y", "Softmax": "softmax"}[changed.op]
    changed.op = op
    for place in body.node_def:
        place.input[:] = [name.replace(f"{node}:{port}:", f"{node}:output:") for name in place.input]
    for name, tensor in body.ret.items():
        body.ret[name] = tensor.replace(f"{node}:{port}:", f"{node}:output:")


def set_variable(saved_model: Path, name: str, value: Any) -> None:
    """Write the checkpoint again with another value for one of its tensors, checksums and all."""
    import tensorflow as tf

    prefix = saved_model / "variables" / "variables"
    checkpoint = tf.train.load_checkpoint(str(prefix))
    tensors = {key: checkpoint.get_tensor(key) for key in sorted(checkpoint.get_variable_to_shape_map())}
    tensors[name] = value
    for old in prefix.parent.glob("variables.*"):
        old.unlink()
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )


def rename_input(graph: Any, key: str, old: str, new: str) -> None:
    inputs = graph.signature_def[key].inputs
    inputs[new].CopyFrom(inputs[old])
    del inputs[old]


def fix_batch(graph: Any, key: str, name: str) -> None:
    graph.signature_def[key].inputs[name].tensor_shape.dim[0].size = 1


def flip_bits(saved_model: Path) -> None:
    """One bit of every byte in the middle of the variables' values, whose checksums then are wrong."""
    (data,) = (saved_model / "variables").glob("variables.data-*")
    content = bytearray(data.read_bytes())
    middle = slice(len(content) // 3, len(content) // 2)
    content[middle] = bytes(byte ^ 0x40 for byte in content[middle])
    data.write_bytes(content)


BATTERY: dict[str, tuple[str, tuple[Any, ...]]] = {
    "signature renamed": ("rename_signature", (KEY, "digest")),
    "input renamed": ("rename_input", (KEY, INPUT, "sound")),
    "outputs swapped": ("swap_outputs", (KEY, *OUTPUTS)),
    "dtype changed": ("set_output_dtype", (KEY, OUTPUTS[0], 2)),
    "batch fixed": ("fix_batch", (KEY, INPUT)),
}


def main_file(artifact: Path, variant: str) -> Path:
    """What the loader opens first."""
    return artifact / "saved_model.pb"


def harm(artifact: Path, variant: str, what: str) -> None:
    """Harm it in one way of the battery."""
    if what == "bits flipped":
        flip_bits(artifact)
    else:
        change, arguments = BATTERY[what]
        edit_saved_model(artifact, change, *arguments)
