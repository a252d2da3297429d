"""What a file or folder that is called a model is, told from its content: names and suffixes are often wrong."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from converters.contract.errors import BadInput

Kind = Literal["saved_model", "keras", "hdf5"]
"""A SavedModel directory, Keras's own archive (.keras), or an HDF5 file (.h5, .hdf5)."""
GIVE = "give a SavedModel directory, or a .keras or .h5 file"

_HDF5 = b"\x89HDF\r\n\x1a\n"
"""At byte 0, 512 or a power of two times that (HDF5 file format specification, III.A)."""
_ZIP = b"PK\x03\x04"
ENDINGS: dict[Kind, str] = {"keras": ".keras", "hdf5": ".h5"}
_LFS = b"version https://git-lfs.github.com/spec/"
"""The first line of a Git LFS pointer (its specification, docs/spec.md)."""
_PROTOS = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")
_BEGINNING = 4096


def kind(path: Path) -> Kind:
    """What is at a path that exists. Little of it is read, and nothing loaded.

    Raises:
        BadInput: it is no model, or only a part of one; says what it is, where that can be told, and what to do.
    """
    if path.is_dir():
        return _folder(path)
    content = _beginning(path)
    if any(content[at : at + len(_HDF5)] == _HDF5 for at in (0, 512, 1024, 2048)):
        _require_whole(path)
        return "hdf5"
    if content.startswith(_ZIP) and _is_keras(path):
        return "keras"
    raise BadInput(f"{path} {_what(path, content)}")


def ending(path: Path) -> str:
    """The suffix that a file should have: of Keras's two formats it is often the other's. Raises BadInput, unread."""
    if path.suffix.lower() not in ENDINGS.values():
        return path.suffix
    content = _beginning(path)
    return (
        ENDINGS["hdf5"] if content.startswith(_HDF5) else ENDINGS["keras"] if content.startswith(_ZIP) else path.suffix
    )


def _folder(path: Path) -> Kind:
    files = [path / name for name in _PROTOS if (path / name).is_file()]
    if not files:
        raise BadInput(f"{path} is no SavedModel: it holds no saved_model.pb{_instead(path)}")
    for file in (*files, *sorted((path / "variables").glob("variables.*"))):
        beginning = _beginning(file)
        if beginning.startswith(_LFS):
            raise BadInput(f"{file} {_POINTER}")
        if not beginning and file.name != "variables.data-00000-of-00001":  # of no variables it is
            raise BadInput(f"{file} is empty; copy or download the SavedModel again")
    return "saved_model"


def _instead(folder: Path) -> str:
    """The end of a sentence: which of what the folder holds may be meant."""
    below = [each.parent for name in _PROTOS for each in folder.glob(f"*/{name}")]
    files = [each for each in sorted(folder.iterdir()) if each.suffix.lower() in (".keras", ".h5", ".hdf5")]
    found = [*sorted(below, key=_natural), *files]
    if found:
        return f"; name what it holds: {', '.join(map(str, found[-5:]))}"
    if (folder / "checkpoint").is_file() or any(folder.glob("*.index")):
        return "; it holds a checkpoint, weights alone: give a builder that restores it (model: FILE.py:FUNCTION)"
    if (folder / "model.json").is_file():
        return "; it holds a tensorflow.js model: give the one that was made of"
    return f"; {GIVE}"


def _natural(path: Path) -> tuple[int, str]:
    return (int(path.name) if path.name.isdigit() else -1, path.name)


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_BEGINNING)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error


def _is_keras(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise BadInput(
            f"{path} begins like a .keras file, and is cut off or damaged ({error}); copy it again"
        ) from error
    if {"config.json", "metadata.json"} <= names:
        return True
    parts = {name.rpartition("/")[2] for name in names}
    if "data.pkl" in parts:
        raise BadInput(f"{path} is a PyTorch file; convert it to a TensorFlow or Keras model first")
    if parts & set(_PROTOS) or any(name.endswith((".h5", ".hdf5", ".keras")) for name in parts):
        raise BadInput(f"{path} is a ZIP archive with a model in it; unpack it, and give what is in it")
    raise BadInput(f"{path} is a ZIP archive without config.json and metadata.json, and so no .keras file; {GIVE}")


def _require_whole(path: Path) -> None:
    """Refuse an HDF5 file that holds weights alone, or nothing of Keras at all."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            keys, attributes = set(file), set(file.attrs)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise BadInput(
            f"{path} begins like an HDF5 file, and is cut off or damaged ({error}); copy it again"
        ) from error
    if "model_config" in attributes:
        return
    if "layer_names" in attributes or keys & {"layers", "_layer_checkpoint_dependencies", "vars", "model_weights"}:
        raise BadInput(f"{path} holds weights only; give a whole model (model.save), or a builder that loads them")
    raise BadInput(f"{path} is an HDF5 file without a Keras model in it; {GIVE}")


_POINTER = "is a Git LFS pointer, a text that stands for the file; fetch the file itself (git lfs pull)"


def _what(path: Path, content: bytes) -> str:
    """What a file is that is no model, as a sentence without its subject."""
    return next((said for fits, said in _others(path, content) if fits), f"is no model; {GIVE}")


def _others(path: Path, content: bytes) -> Iterator[tuple[bool, str]]:
    text = content.lstrip()[:512].lower()
    yield content.startswith(_LFS), _POINTER
    yield not content, "is empty; copy or download it again"
    yield path.name in _PROTOS, f"is part of a SavedModel; give the folder that holds it, {path.parent}"
    yield content[4:8] == b"TFL3", "is a TF Lite file, which nothing else can be made of; give the model it was made of"
    yield b"modelTopology" in content, "is a tensorflow.js model; give the model it was made of"
    json = text.startswith(b"{")
    yield (
        json and b'"class_name"' in content,
        "is a Keras model's config without its weights; give a whole model (model.save)",
    )
    yield (
        text.startswith((b"<!doctype html", b"<html")),
        "is a web page, not what was to be downloaded; download it again",
    )
    yield (
        content.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf")) or content[257:262] == b"ustar",
        "is a packed archive; unpack it, and give what is in it",
    )
    checkpoint = re.search(r"\.(index|meta|data-\d+-of-\d+)$|\.ckpt$", path.name) or path.name == "checkpoint"
    yield (
        bool(checkpoint),
        "is part of a checkpoint, weights alone; give a builder that restores it (model: FILE.py:FUNCTION)",
    )
    yield path.suffix == ".onnx", "is an ONNX model; convert it to a TensorFlow or Keras model first"
    yield (
        path.suffix in (".pb", ".pbtxt"),
        "is a lone graph, or part of a SavedModel; give the folder of a SavedModel (a frozen graph: save it as one first)",
    )
    yield (
        path.suffix == ".py",
        f"is Python; name the function that builds the model, in a config (model: {path.name}:FUNCTION)",
    )
    yield (
        content[:1] == b"\x80" and content[1:2] in b"\x02\x03\x04\x05",
        "is a pickle, which is not loaded; save the model as a .keras file or SavedModel (model.save)",
    )
