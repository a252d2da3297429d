"""Names that come with a model: which are taken, and how any text of others is shown."""

import re
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import quote

MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
LONGEST = 200
"""Characters; of a signature's, as part of a path. A file system has 255 bytes for a name and what is put behind it."""


def shown(text: str) -> str:
    """Text with what moves a terminal's cursor, or turns letters round, written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def climbs(path: str) -> bool:
    """Whether a path, meant to be relative, is absolute or leads up somewhere, on any system."""
    parts = {*PurePosixPath(path).parts, *PureWindowsPath(path).parts}
    return path.startswith(("/", "\\")) or ".." in parts or bool(_DRIVE.match(path)) or "\0" in path


def fault(name: str) -> str | None:
    """Why a signature, input, output or layer may not be called so, as the end of a sentence; None where it may."""
    if not name:
        return "is empty"
    if not name.isprintable():
        return "holds characters that are not printed"
    if len(quote(name, safe="")) > LONGEST:
        return f"is longer than {LONGEST} characters, as part of a path"
    if climbs(name):
        return "leads out of a folder, as part of a path"
    return None


def model_fault(name: str) -> str | None:
    """The same of a model's name, which is that of a folder."""
    if not MODEL.fullmatch(name):
        return "use letters, digits, '.', '_' and '-', starting with a letter or digit"
    return f"use no more than {LONGEST} characters" if len(name) > LONGEST else None
