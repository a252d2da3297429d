"""Reading a servable's warmup requests back."""

from pathlib import Path
from typing import Any

from converters.contract.errors import Damaged
from converters.contract.values import Tensors
from converters.formats.protos import load
from converters.formats.records import records
from converters.targets.serving import wire


def logs(path: Path) -> list[Any]:
    """The PredictionLogs in a warmup file.

    Raises:
        Damaged: the file is missing, its records fail their checksums, or are no PredictionLogs.
    """
    from google.protobuf.message import DecodeError

    log = load("tensorflow_serving.apis.prediction_log_pb2").PredictionLog
    try:
        return [log.FromString(record) for record in records(path)]
    except DecodeError as error:
        raise Damaged(f"{path.name} cannot be read: {error}") from error


def requests(path: Path) -> dict[str, Tensors]:
    """The inputs in a warmup file, by signature key.

    Raises:
        Damaged: the file is missing, its records fail their checksums, are no predict requests, or two of them are for
            one signature.
    """
    found: dict[str, Tensors] = {}
    for log in logs(path):
        if log.WhichOneof("log_type") != "predict_log":
            raise Damaged(f"{path.name} holds a record that is no predict request")
        request = log.predict_log.request
        if request.model_spec.signature_name in found:
            raise Damaged(f"{path.name} holds two requests for signature {request.model_spec.signature_name!r}")
        found[request.model_spec.signature_name] = {
            name: wire.from_proto(value) for name, value in request.inputs.items()
        }
    return found
