"""How a servable's warmup requests are harmed; the rest of it is a SavedModel. All of it runs in a child with TensorFlow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.targets.saved_model import harms as saved_model


def edit_warmup(path: Path, change: Callable[..., None] | str, *args: Any) -> None:
    """Change the requests of a warmup file by one of the functions below: it gets the list of PredictionLogs."""
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    logs = [PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset([str(path)])]
    globals()[change](logs, *args)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def drop_request(logs: list[Any], key: str) -> None:
    logs[:] = [log for log in logs if log.predict_log.request.model_spec.signature_name != key]


def redirect_request(logs: list[Any], old: str, new: str) -> None:
    for log in logs:
        if log.predict_log.request.model_spec.signature_name == old:
            log.predict_log.request.model_spec.signature_name = new


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


def make_classify_request(logs: list[Any]) -> None:
    logs[0].classify_log.request.model_spec.name = "other"


main_file, harm = saved_model.main_file, saved_model.harm
