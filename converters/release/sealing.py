"""The bytes of a manifest: as it is written, with its own digest at the end, so that no bit of it can change unseen."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from converters.contract.layout import MANIFEST


def is_sealed(release: Path) -> bool:
    """Whether a release's manifest is, to the last byte, what was written. Raises OSError."""
    path = release / MANIFEST
    content = path.read_bytes()
    try:
        document = json.loads(content)
        same = content == text(document).encode()
        return same and document.pop("digest") == digest(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def text(document: Any) -> str:
    """A manifest's file."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def digest(document: Any) -> str:
    """Of the file of a manifest that has none yet."""
    return f"sha256:{sha256(text(document).encode()).hexdigest()}"


def endless(content: bytes) -> list[str]:
    """NaN and Infinity in a JSON document, which pydantic takes for numbers."""
    found: list[str] = []
    json.loads(content, parse_constant=found.append)
    return found
