"""Paths as people write them, and as a file system takes them."""

import os
from pathlib import Path

from converters.contract.errors import BadInput


def path(text: str, base: Path | None = None) -> Path:
    """A path, `~` written out, below `base` where it is relative. Whether anything is there is for the caller to see.

    Raises:
        BadInput: no file can be called so, or what it names may not be looked at.
    """
    try:
        whole = Path(text).expanduser()
        whole = whole if base is None else base / whole
        os.stat(whole)
    except (FileNotFoundError, NotADirectoryError):
        return whole
    except (OSError, ValueError, RuntimeError) as error:  # too long; NUL, not Unicode; nobody of that name has a home
        raise BadInput(f"{text[:100]!r} is no path: {getattr(error, 'strerror', None) or error}") from error
    return whole
