"""What a toy holds."""

from pathlib import Path
from typing import Any

from converters.contract.values import Signature
from converters.formats import describing
from fanout_toy.check import reading


def npz(path: Path) -> dict[str, Any]:
    """Signature and parameters. Raises Damaged."""
    with reading(path) as arrays:
        signature = Signature.model_validate_json(str(arrays["signature"]))
        return {
            "format": "toy",
            "bytes": path.stat().st_size,
            "parameters": arrays["weight"].size + arrays["offset"].size,
            "signatures": describing.signatures({str(arrays["key"]): signature}),
        }
