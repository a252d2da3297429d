"""The records of a TFRecord: length, masked CRC-32C of the length, content, masked CRC-32C of the content.

Source: tensorflow/core/lib/io/record_writer.h. Read through Python, so that what watches a build sees the file.
"""

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

from converters.contract.errors import Damaged

_GZIP = b"\x1f\x8b"
_LARGEST = 1 << 31
"""A record is a protocol buffer, and those are smaller."""


def records(path: Path) -> Iterator[bytes]:
    """The content of each, one after another; the file may be compressed by gzip.

    Raises:
        Damaged: the file is missing, ends within a record, or a record fails its checksum.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP
        at = 0
        with gzip.open(path) if zipped else path.open("rb") as file:
            while head := file.read(12):
                size, check = struct.unpack("<QI", head)
                if check != _masked_crc(head[:8]) or size > _LARGEST:
                    raise Damaged(f"{path.name} cannot be read: the record at byte {at} fails its checksum")
                content = file.read(size)
                (checked,) = struct.unpack("<I", file.read(4))
                if len(content) != size or checked != _masked_crc(content):
                    raise Damaged(f"{path.name} cannot be read: the record at byte {at} fails its checksum")
                yield content
                at += 12 + size + 4
    except struct.error:
        raise Damaged(f"{path.name} cannot be read: it ends within the record at byte {at}") from None
    except (OSError, EOFError) as error:
        raise Damaged(f"{path.name} cannot be read: {error}") from error


def _masked_crc(content: bytes) -> int:
    """CRC-32C, rotated and shifted so that one of data that holds CRCs is as good (tensorflow/core/lib/hash/crc32c.h)."""
    from google_crc32c import value

    crc: int = value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
