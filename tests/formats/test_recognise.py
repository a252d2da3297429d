"""What a file is, told from its content, whatever it is called."""

import io
import zipfile
from pathlib import Path

import h5py
import hostile
import pytest

from converters.contract.errors import BadInput
from converters.formats import recognise

EMPTY = {"class_name": "Sequential", "config": {}}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return file.getvalue()


@pytest.mark.parametrize("name", ["m.h5", "m.hdf5", "m.keras", "m", "m.bin"])
def test_kind_goes_by_the_content_when_the_suffix_is_another(name: str, tmp_path: Path) -> None:
    assert recognise.kind(hostile.keras_hdf5(tmp_path / name, EMPTY)) == "hdf5"
    (tmp_path / name).write_bytes(zipped("config.json", "metadata.json", "model.weights.h5"))
    assert recognise.kind(tmp_path / name) == "keras"
    (tmp_path / f"{name}-folder").mkdir()
    (tmp_path / f"{name}-folder" / "saved_model.pb").write_bytes(b"\x08\x01")
    assert recognise.kind(tmp_path / f"{name}-folder") == "saved_model"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.h5", LFS, r"is a Git LFS pointer.*git lfs pull"),
        ("m.keras", b"", r"is empty; copy or download it again"),
        ("saved_model.pb", b"\x08\x01", r"is part of a SavedModel; give the folder"),
        ("m.h5", b"\x1c\0\0\0TFL3rest", r"is a TF Lite file"),
        ("model.json", b'{"modelTopology": {}}', r"is a tensorflow\.js model"),
        ("m.json", b'{"class_name": "Sequential"}', r"config without its weights"),
        ("m.h5", b"<!DOCTYPE html><html>Sign in</html>", r"is a web page"),
        ("m.tar.gz", b"\x1f\x8b\x08rest", r"is a packed archive; unpack it"),
        ("m.ckpt-1.index", b"\0\0rest", r"is part of a checkpoint, weights alone; give a builder"),
        ("m.onnx", b"\x08\x07rest", r"is an ONNX model"),
        ("frozen.pb", b"\x0arest", r"is a lone graph"),
        ("m.py", b"def build(): pass", r"name the function that builds the model"),
        ("m.pkl", b"\x80\x04rest", r"is a pickle, which is not loaded"),
        ("m.pt", zipped("archive/data.pkl"), r"is a PyTorch file"),
        ("m.zip", zipped("m/saved_model.pb"), r"is a ZIP archive with a model in it; unpack it"),
        ("m.zip", zipped("readme"), r"is a ZIP archive without config\.json"),
        ("m.keras", b"PK\x03\x04cut", r"is cut off or damaged .*; copy it again"),
        ("m.h5", b"\x89HDF\r\n\x1a\ncut", r"is cut off or damaged .*; copy it again"),
        ("m.keras", b"anything else", r"is no model; give a SavedModel directory"),
    ],
    ids=range(19),  # what is zipped holds the time
)
def test_kind_says_what_it_is_and_what_to_do_when_it_is_no_model(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput, match=said) as raised:
        recognise.kind(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_kind_tells_weights_alone_from_other_hdf5_files(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.attrs["layer_names"] = ["dense"]
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["values"] = [1.0]
    with pytest.raises(BadInput, match=r"weights\.h5 holds weights only; give a whole model"):
        recognise.kind(tmp_path / "weights.h5")
    with pytest.raises(BadInput, match=r"data\.h5 is an HDF5 file without a Keras model in it"):
        recognise.kind(tmp_path / "data.h5")


def test_kind_names_the_part_of_a_saved_model_that_is_a_pointer_or_empty(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    (tmp_path / "variables" / "variables.index").write_bytes(b"some")
    data = tmp_path / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(b"")  # as it is where there are no variables
    assert recognise.kind(tmp_path) == "saved_model"
    data.write_bytes(LFS)
    with pytest.raises(BadInput, match=r"variables\.data-00000-of-00001 is a Git LFS pointer"):
        recognise.kind(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(BadInput, match=r"saved_model\.pb is empty; copy or download the SavedModel again"):
        recognise.kind(tmp_path)


def test_kind_names_what_a_folder_holds_when_it_is_no_saved_model(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no saved_model\.pb; give a SavedModel directory"):
        recognise.kind(tmp_path)
    (tmp_path / "checkpoint").touch()
    with pytest.raises(BadInput, match=r"it holds a checkpoint, weights alone"):
        recognise.kind(tmp_path)
    for version in ("9", "10"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").write_bytes(b"\x08\x01")
    with pytest.raises(BadInput, match=r"name what it holds: .*/9, .*/10$"):
        recognise.kind(tmp_path)
