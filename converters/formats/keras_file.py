"""What is in a Keras model's .keras or .h5 file, read without Keras: nothing that came with it is run."""

import json
import shutil
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from converters.contract.errors import BadInput, Damaged
from converters.formats import archive as archives
from converters.formats import keras_code, keras_lambda


class KerasFile(NamedTuple):
    """The version of Keras that wrote the file, or '' where it does not say, and the model's config."""

    version: str
    config: Any

    @property
    def is_of_keras_3(self) -> bool:
        return self.version.startswith("3")


def read(path: Path) -> KerasFile:
    """What the file says of the model in it.

    Raises:
        BadInput: it holds weights only.
        Damaged: it is no such file, leads out of itself, or declares more than it can hold.
    """
    try:
        return _archive(path) if zipfile.is_zipfile(path) else _hdf5(path)
    except Damaged as error:
        raise Damaged(f"{path}: {error}") from error
    except (OSError, KeyError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise Damaged(f"{path} is no file of Keras: {error}") from error


def code_in(path: Path, known: Collection[str] = ()) -> list[str]:
    """What of a .keras or .h5 file would run, or read files, if it were loaded; as parts of a sentence.

    What is `known` by name is given beside the file, and takes the place of what it holds. Raises Damaged.
    """
    try:
        return keras_code.of_config(with_functions(read(path), known).config, known)
    except BadInput:  # weights alone
        return []


def with_functions(file: KerasFile, known: Collection[str]) -> KerasFile:
    """The same with Lambda layers that call functions which are known by the layers' names."""
    changed = keras_lambda.with_functions(file.config, known, keras_3=file.is_of_keras_3)
    return file._replace(config=changed)


def write_again(path: Path, config: Any, to: Path) -> None:
    """A copy of the file with another config."""
    text = json.dumps(config)
    if not zipfile.is_zipfile(path):
        import h5py

        shutil.copyfile(path, to)
        with h5py.File(to, "r+") as file:
            file.attrs["model_config"] = text
        return
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for info in old.infolist():
            new.writestr(info, text if info.filename == "config.json" else old.read(info))


def _archive(path: Path) -> KerasFile:
    import h5py

    with zipfile.ZipFile(path) as archive:
        archives.require_sound(archive, path.stat().st_size)
        metadata, config = (archives.json_member(archive, name) for name in ("metadata.json", "config.json"))
        for info in archive.infolist():
            if info.filename.endswith(".h5"):
                with archive.open(info) as stored, h5py.File(stored, "r") as weights:
                    archives.require_own(weights, info.file_size)
    if not isinstance(metadata, Mapping):
        raise Damaged("its metadata.json holds no mapping")
    if isinstance(config, Mapping):  # it is loaded without compiling it
        config = {key: value for key, value in config.items() if key != "compile_config"}
    return KerasFile(str(metadata.get("keras_version", "")), config)


def _hdf5(path: Path) -> KerasFile:
    import h5py

    with h5py.File(path, "r") as file:
        archives.require_own(file, path.stat().st_size)
        if "model_config" not in file.attrs:
            raise BadInput(f"{path} holds weights only; give a whole model (model.save), or a builder that loads them")
        version = file.attrs.get("keras_version", "")
        config = archives.json_of(file.attrs["model_config"])
    return KerasFile(version.decode() if isinstance(version, bytes) else str(version), config)
