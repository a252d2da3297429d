"""Where a user's data are: what `golden.data`, `representative`, `evaluation.data` and `--data` may name."""

import re
from pathlib import Path
from typing import Literal, NamedTuple

from converters.contract import paths
from converters.contract.errors import BadInput
from converters.processes import userland

Form = Literal["function", "npz", "npy", "table", "records", "folder"]

FORMS = "FILE.py:FUNCTION, an .npz, .npy, .csv or .tsv file, a TFRecord (.tfrecord), or a folder of images, .wav or .txt files"
"""All of them, for a person."""
_SUFFIXES: dict[str, Form] = {".npz": "npz", ".npy": "npy", ".csv": "table", ".tsv": "table"}
_RECORDS = re.compile(r"\.(tf)?records?\b", re.IGNORECASE)
"""In the name of a TFRecord; a shard of several has more after it."""
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
_VALUES = re.compile(rf"{_NUMBER}\.\.{_NUMBER}|caffe|torch")


class Located(NamedTuple):
    """Data at `path`, in the `form` that its name tells.

    `text` is the reference as it was written. `function` is that of a Python file, and `values` what a folder of images
    is followed by: the range that the model expects, as LOW..HIGH, caffe or torch.
    """

    text: str
    path: Path
    form: Form
    function: str | None = None
    values: str | None = None


def locate(reference: str, base: Path, field: str) -> Located:
    """What a reference names; a relative path is below `base`.

    Raises:
        BadInput: nothing is there, or nothing that is read; names the config's field.
    """
    head, _, tail = reference.rpartition(":")
    whole = _absolute(reference, base)
    if whole.exists() or not head:
        return Located(reference, whole, _form(whole, field))
    if _VALUES.fullmatch(tail):
        path = _absolute(head, base)
        form = _form(path, field)
        if form != "folder":
            raise BadInput(f"{field}: {path} is followed by a range, {tail}, which only a folder of images can be")
        return Located(reference, path, form, values=tail)
    if not head.endswith(".py"):
        return Located(reference, whole, _form(whole, field))
    path, function = userland.split(reference, base, field)
    return Located(reference, path, "function", function=function)


def absolute(reference: str, field: str) -> str:
    """The same reference, wherever it is read from. A relative path is below the current directory. Raises BadInput."""
    located = locate(reference, Path.cwd(), field)
    ending = located.function or located.values
    return f"{located.path}:{ending}" if ending else str(located.path)


def _absolute(path: str, base: Path) -> Path:
    return paths.path(path, base).resolve()


def _form(path: Path, field: str) -> Form:
    if path.is_dir():
        return "folder"
    if not path.exists():
        raise BadInput(f"{field}: {path} does not exist; give {FORMS}")
    form = _SUFFIXES.get(path.suffix.lower(), "records" if _RECORDS.search(path.name) else None)
    if form is None:
        raise BadInput(f"{field}: {path} is of no form that is read; give {FORMS}")
    return form
