"""Reading a servable's warmup requests back.

Their file is a TFRecord's: length, masked CRC-32C of the length, content, masked CRC-32C of the content
(tensorflow/core/lib/io/record_writer.h).
"""

import struct
from pathlib import Path
from typing import Any

from converters.contract.errors import Damaged
from converters.contract.values import Tensors
from converters.formats.protos import load
from converters.targets.serving import wire


def logs(path: Path) -> list[Any]:
    """The PredictionLogs in a warmup file.

    Raises:
        Damaged: the file is missing, its records fail their checksums, or are no PredictionLogs.
    """
    from google.protobuf.message import DecodeError

    log = load("tensorflow_serving.apis.prediction_log_pb2").PredictionLog
    found, at = [], 0
    try:
        content = path.read_bytes()
        while at < len(content):
            size, check = struct.unpack_from("<QI", content, at)
            record = content[at + 12 : at + 12 + size]
            (checked,) = struct.unpack_from("<I", content, at + 12 + size)
            if check != _masked_crc(content[at : at + 8]) or checked != _masked_crc(record):
                raise Damaged(f"{path.name} cannot be read: the record at byte {at} fails its checksum")
            found.append(log.FromString(record))
            at += 12 + size + 4
    except struct.error:
        raise Damaged(f"{path.name} cannot be read: it ends within the record at byte {at}") from None
    except (OSError, OverflowError, DecodeError) as error:
        raise Damaged(f"{path.name} cannot be read: {error}") from error
    return found


def _masked_crc(content: bytes) -> int:
    """CRC-32C, rotated and shifted so that one of data that holds CRCs is as good (tensorflow/core/lib/hash/crc32c.h)."""
    from google_crc32c import value

    crc: int = value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


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
