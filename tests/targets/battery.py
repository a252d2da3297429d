"""The harms that every target's check must see, whatever its format; how a format is harmed is in its harms.py."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import damage

FILES: dict[str, Callable[[Path], Any]] = {
    "missing": os.remove,
    "empty": lambda path: path.write_bytes(b""),
    "foreign": lambda path: path.write_bytes(b"x" * 100),
    "truncated": damage.truncate,
}
"""What is done to the file that is opened first."""

SEEN: dict[str, frozenset[str]] = {
    **dict.fromkeys(FILES, frozenset({"loads"})),
    "truncated": frozenset({"loads", "runs"}),
    "bits flipped": frozenset({"runs", "loads", "values", "snr", "cosine", "sound"}),
    "signature renamed": frozenset({"names", "runs"}),
    "input renamed": frozenset({"names", "runs"}),
    "outputs swapped": frozenset({"values", "sound"}),
    "dtype changed": frozenset({"dtypes"}),
    "batch fixed": frozenset({"shapes"}),
}
"""Harm -> the checks of which at least one must turn red for it, and of a file's harms no other."""


def harm(target: str, artifact: Path, variant: str, what: str) -> None:
    """Harm an artifact. For a child process. Raises KeyError where its format has nothing that could be harmed so."""
    harms = importlib.import_module(f"tests.targets.{target}.harms")
    if what in FILES:
        FILES[what](harms.main_file(artifact, variant))
    else:
        harms.harm(artifact, variant, what)
