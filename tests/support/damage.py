"""Ways to break what was converted, on disk. Those of protos and flatbuffers need TensorFlow: run them in a child."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from converters.targets.tflite import flatbuffer


def flip(path: Path, old: bytes) -> None:
    """Flip the top bit of the exponent of the first float32 of `old` (little-endian), found in the file once."""
    content = bytearray(path.read_bytes())
    assert content.count(old) == 1, f"{path.name} holds {content.count(old)} copies of it"
    content[content.index(old) + 3] ^= 0x40
    path.write_bytes(content)


def truncate(path: Path, share: float = 0.5) -> None:
    """Keep the first part of the file."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def edit_saved_model(saved_model: Path, change: str, *args: Any) -> None:
    """Change saved_model.pb by one of the functions below, by its name: it gets the MetaGraphDef."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    proto = SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    globals()[change](proto.meta_graphs[0], *args)
    (saved_model / "saved_model.pb").write_bytes(proto.SerializeToString())


def rename_signature(graph: Any, old: str, new: str) -> None:
    graph.signature_def[new].CopyFrom(graph.signature_def[old])
    del graph.signature_def[old]


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


def edit_tflite(path: Path, change: str, *args: Any) -> None:
    """Change a flatbuffer by one of the functions below, by its name: it gets the ModelT."""
    model = flatbuffer.parse(path.read_bytes())
    globals()[change](model, *args)
    path.write_bytes(flatbuffer.pack(model))


def _definition(model: Any, key: str) -> Any:
    return next(found for found in model.signatureDefs if found.signatureKey == key.encode())


def rename_tflite_signature(model: Any, old: str, new: str) -> None:
    _definition(model, old).signatureKey = new.encode()


def swap_tflite_outputs(model: Any, key: str) -> None:
    one, two = _definition(model, key).outputs
    one.tensorIndex, two.tensorIndex = two.tensorIndex, one.tensorIndex


def rename_tflite_input(model: Any, key: str, new: str) -> None:
    _definition(model, key).inputs[0].name = new.encode()


def set_tflite_dtype(model: Any, key: str, dtype: int) -> None:
    definition = _definition(model, key)
    model.subgraphs[definition.subgraphIndex].tensors[definition.outputs[0].tensorIndex].type = dtype


def fix_tflite_batch(model: Any, key: str, size: int) -> None:
    definition = _definition(model, key)
    tensor = model.subgraphs[definition.subgraphIndex].tensors[definition.inputs[0].tensorIndex]
    tensor.shape = [size, *tensor.shape[1:]]
    tensor.shapeSignature = None


def edit_warmup(path: Path, change: Callable[..., None] | str, *args: Any) -> None:
    """Change the requests of a warmup file by one of the functions below: it gets the list of PredictionLogs."""
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    logs = [PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset([str(path)])]
    globals()[change](logs, *args)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def redirect_request(logs: list[Any], old: str, new: str) -> None:
    for log in logs:
        if log.predict_log.request.model_spec.signature_name == old:
            log.predict_log.request.model_spec.signature_name = new


def rename_request_input(logs: list[Any], old: str, new: str) -> None:
    for log in logs:
        inputs = log.predict_log.request.inputs
        if old in inputs:
            inputs[new].CopyFrom(inputs[old])
            del inputs[old]


def change_request_value(logs: list[Any], name: str) -> None:
    import tensorflow as tf

    for log in logs:
        inputs = log.predict_log.request.inputs
        if name in inputs:
            inputs[name].CopyFrom(tf.make_tensor_proto(tf.make_ndarray(inputs[name]) + 1))


def drop_request(logs: list[Any], key: str) -> None:
    logs[:] = [log for log in logs if log.predict_log.request.model_spec.signature_name != key]


def make_classify_request(logs: list[Any]) -> None:
    logs[0].classify_log.request.model_spec.name = "other"


def drop_signature(graph: Any, key: str) -> None:
    del graph.signature_def[key]


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


def set_buffer(model: Any, index: int, value: Any) -> None:
    import numpy as np

    model.buffers[index].data = np.frombuffer(value.tobytes(), np.uint8)


def requantize(model: Any, subgraph: int, tensor: int, factor: float, offset: int) -> None:
    quantization = model.subgraphs[subgraph].tensors[tensor].quantization
    quantization.scale = [scale * factor for scale in quantization.scale]
    if offset:
        quantization.zeroPoint = [min(127, zero + offset) for zero in quantization.zeroPoint]


def drop_activation(model: Any, subgraph: int, operator: int) -> None:
    model.subgraphs[subgraph].operators[operator].builtinOptions.fusedActivationFunction = 0


def swap_operands(model: Any, subgraph: int, operator: int) -> None:
    changed = model.subgraphs[subgraph].operators[operator]
    one, two, *others = changed.inputs
    changed.inputs = [two, one, *others]


def drop_tflite_signature(model: Any, key: str) -> None:
    model.signatureDefs = [found for found in model.signatureDefs if found.signatureKey != key.encode()]


def add_request(logs: list[Any], key: str, other: str) -> None:
    """The same request once more, for another signature."""
    for log in list(logs):
        if log.predict_log.request.model_spec.signature_name == key:
            copy = type(log).FromString(log.SerializeToString())
            copy.predict_log.request.model_spec.signature_name = other
            logs.append(copy)


def double_request(logs: list[Any], key: str, name: str) -> None:
    """A damaged request before the sound one: an input that is missing."""
    for log in list(logs):
        if log.predict_log.request.model_spec.signature_name == key:
            copy = type(log).FromString(log.SerializeToString())
            del copy.predict_log.request.inputs[name]
            logs.insert(0, copy)
