"""Names, paths and sizes that somebody chose to do harm are refused in one sentence, before anything is loaded or copied."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import hostile
import numpy as np
import pytest
from hostile import layer
from samples import only_build

from converters.config import read
from converters.contract import names
from converters.contract.errors import BadInput, Damaged, said
from converters.formats import keras_file, saved_model
from converters.reference import golden
from converters.release import manifest

HOSTILE_NAMES = {
    "climbs": "../../../tmp/evil",
    "absolute": "/etc/passwd",
    "windows": "..\\..\\evil",
    "drive": "C:\\evil",
    "newline": "two\nlines",
    "escape": "red\x1b[31m",
    "turned": "exe\u202egnp",
    "NUL": "a\0b",
    "long": "n" * 300,
    "long when quoted": "\N{SNOWMAN}" * 30,
}
HARMLESS_NAMES = (
    "serving_default",
    "image/encoded",
    "x:0",
    "-dash",
    "<b>bold</b>",
    'it\'s "so"; $(rm)',
    "größe",
    "a.b",
    "[bold]",
)


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_fault_says_why_a_name_is_not_taken(name: str) -> None:
    assert names.fault(name) is not None
    assert names.model_fault(name) is not None
    assert names.shown(name).isprintable()


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_fault_takes_names_that_are_only_odd(name: str) -> None:
    assert names.fault(name) is None


@pytest.mark.tensorflow
@pytest.mark.usefixtures("kept_children")
@pytest.mark.parametrize(
    "name", [n for n in HOSTILE_NAMES.values() if "\0" not in n], ids=[n for n in HOSTILE_NAMES if n != "NUL"]
)
@pytest.mark.parametrize("what", ["key", "inputs"])
def test_build_refuses_a_saved_model_with_a_hostile_name(what: str, name: str, tmp_path: Path) -> None:
    spec = read.find(str(hostile.saved_model(tmp_path / "m", **{what: name})))
    with pytest.raises(BadInput) as refusal:
        only_build(spec, tmp_path)
    assert "; rename it" in str(refusal.value)
    assert str(refusal.value).isprintable()
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]


@pytest.mark.tensorflow
@pytest.mark.usefixtures("kept_children")
@pytest.mark.parametrize("name", ["two\nlines", "red\x1b[31m", "n" * 300, "../../evil"])
def test_build_refuses_a_keras_file_with_a_hostile_name(name: str, tmp_path: Path) -> None:
    config = hostile.sequential(layer("Activation", name, activation="tanh", trainable=True, dtype="float32"))
    spec = read.find(str(hostile.keras_hdf5(tmp_path / "m.h5", config)))
    with pytest.raises(BadInput, match=r"; rename it") as refusal:
        only_build(spec, tmp_path)
    assert str(refusal.value).isprintable()


@pytest.mark.tensorflow
@pytest.mark.usefixtures("kept_children")
def test_build_refuses_an_input_that_nobody_could_hold(tmp_path: Path) -> None:
    meta_graph = hostile.meta_graph([])
    meta_graph.signature_def["serving_default"].inputs["x"].tensor_shape.dim[1].size = 10**9
    made = hostile.load("tensorflow.core.protobuf.saved_model_pb2").SavedModel(meta_graphs=[meta_graph])
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "saved_model.pb").write_bytes(made.SerializeToString())
    with pytest.raises(BadInput, match=r"input 'x'.*takes 4000000000 bytes"):
        only_build(read.find(str(tmp_path / "m")), tmp_path)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "..\\secret"])
@pytest.mark.tensorflow
@pytest.mark.usefixtures("kept_children")
def test_build_refuses_an_asset_that_is_elsewhere(name: str, tmp_path: Path) -> None:
    made = hostile.saved_model(tmp_path / "m", [hostile.text("asset", "v")], assets={"asset": name})
    with pytest.raises(BadInput, match=r"its asset .* is no file of the SavedModel"):
        only_build(read.find(str(made)), tmp_path)


def to_a_file(folder: Path, outside: Path) -> None:
    (folder / "assets" / "v.txt").symlink_to(outside / "secret")


def to_a_folder(folder: Path, outside: Path) -> None:
    (folder / "variables").symlink_to(outside)


def to_itself(folder: Path, outside: Path) -> None:
    (folder / "assets" / "again").symlink_to(folder)


def to_nothing(folder: Path, outside: Path) -> None:
    (folder / "assets" / "v.txt").symlink_to(outside / "absent")


def fifo(folder: Path, outside: Path) -> None:
    os.mkfifo(folder / "assets" / "pipe")


def chunked(folder: Path, outside: Path) -> None:
    (folder / "saved_model.cpb").write_bytes(b"another graph")


@pytest.mark.parametrize("change", [to_a_file, to_a_folder, to_itself, to_nothing, fifo, chunked])
@pytest.mark.parametrize("by_config", [False, True])
def test_find_refuses_a_saved_model_that_is_not_all_in_its_folder(
    change: Callable[[Path, Path], None], by_config: bool, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    folder = hostile.saved_model(tmp_path / "m")
    (folder / "assets").mkdir()
    (folder / "assets" / "own.txt").symlink_to(folder / "saved_model.pb")  # which is in it, after all
    saved_model.require_contained(folder)
    change(folder, tmp_path / "outside")
    (tmp_path / "c.yaml").write_text("model: m\n")
    with pytest.raises(BadInput, match=r"is a link to|is no file|chunked form"):
        read.find(str(tmp_path / "c.yaml" if by_config else folder))


@pytest.mark.parametrize("member", ["../slip.txt", "/tmp/slip.txt", "a/../../slip.txt", "..\\slip.txt", "C:\\slip.txt"])
def test_read_refuses_an_archive_whose_member_leads_out(member: str, tmp_path: Path) -> None:
    path = hostile.keras_archive(tmp_path / "m.keras", hostile.sequential(), **{member: b"slipped"})
    with pytest.raises(Damaged, match="leads out of it"):
        keras_file.read(path)


def test_read_refuses_an_archive_with_a_link(tmp_path: Path) -> None:
    path = hostile.keras_archive(tmp_path / "m.keras", hostile.sequential())
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("assets")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc")
    with pytest.raises(Damaged, match="is a symbolic link"):
        keras_file.read(path)


def test_read_refuses_an_archive_that_unpacks_to_far_more(tmp_path: Path) -> None:
    path = hostile.keras_archive(tmp_path / "m.keras", hostile.sequential())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("bomb", "w") as bomb:
        for _ in range(300):
            bomb.write(bytes(1 << 20))
    with pytest.raises(Damaged, match=r"it declares \d+ bytes of content"):
        keras_file.read(path)


def test_read_refuses_hdf5_that_is_not_all_in_its_file(tmp_path: Path) -> None:
    import h5py

    def changed(change: Callable[[h5py.File], object]) -> Path:
        path = hostile.keras_hdf5(tmp_path / "m.h5", hostile.sequential())
        with h5py.File(path, "a") as file:
            change(file)
        return path

    (tmp_path / "secret").write_bytes(bytes(16))
    links = changed(lambda file: file.__setitem__("model_weights/w", h5py.ExternalLink("/etc/passwd", "/")))
    with pytest.raises(Damaged, match="is a link to another file"):
        keras_file.read(links)
    outside = [(str(tmp_path / "secret"), 0, 16)]
    external = changed(lambda file: file.create_dataset("w", (4,), np.float32, external=outside))
    with pytest.raises(Damaged, match="from another file"):
        keras_file.read(external)
    huge = changed(lambda file: file.create_dataset("w", (10**9, 10**3), np.float32, chunks=(1000, 1000)))
    with pytest.raises(Damaged, match="declares 4000000000000"):
        keras_file.read(huge)
    looped = changed(lambda file: file.__setitem__("model_weights/again", file["/"]))
    assert keras_file.read(looped).version == "2.19.0"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 500 + "1" + "}" * 500, "NaN" * 3, "", "\x00"])
def test_read_refuses_json_that_is_none_or_too_deep(text: str, tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="JSON"):
        keras_file.read(hostile.keras_archive(tmp_path / "m.keras", text))


def test_load_refuses_golden_that_declares_more_than_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    np.savez_compressed(path, **{"k/0/inputs/x": np.zeros(10**7)})
    with pytest.raises(Damaged, match="declares more than it holds"):
        golden.load(path)
    np.savez(path, **{"k/0/inputs/x": np.zeros(4, np.float32)})
    path.write_bytes(path.read_bytes().replace(b"'shape': (4,), }         ", b"'shape': (4000000000,), }"))
    with pytest.raises(Damaged, match=r"golden data cannot be read|declares more"):
        golden.load(path)


BOMB = "\n".join(
    ["a: &a [x, x, x, x, x, x, x, x, x]"]
    + [f"{n}: &{n} [{', '.join([f'*{m}'] * 9)}]" for m, n in zip("abcdefgh", "bcdefghi", strict=True)]
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: !!python/object/apply:os.system ['touch MARKER']", "could not determine a constructor"),
        ("model: !!python/object/new:os.system ['touch MARKER']", "could not determine a constructor"),
        (f"{BOMB}\nmodel: x", "stand for more than"),
        ("model: &a [*a]", "stands for what it is in"),
        ("model: " + "[" * 5000, "is not valid YAML"),
        ("model: 2020-99-99", "is not valid YAML"),
        ("model: " + "9" * 5000, "is not valid YAML"),
        ("model: x\n" + "#" * 2_000_000, "no more than"),
        ("? [a, b]\n: c", "is not valid YAML"),
    ],
    ids=["tag", "new", "aliases", "cycle", "deep", "date", "number", "large", "key"],
)
def test_read_refuses_yaml_that_is_more_than_data(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text.replace("MARKER", str(tmp_path / "marker")))
    with pytest.raises(BadInput, match="is not valid YAML") as refusal:
        read.read(path)
    assert words in str(refusal.value)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "field",
    [
        *(f"limits: {{seconds: {bad}}}" for bad in (".inf", ".nan", "-1", "0", "1.0e12")),
        *(f"limits: {{memory_gb: {bad}}}" for bad in (".inf", ".nan", "-1", "1.0e12")),
        *(
            f"targets: {{tflite: {{tolerance: {{int8: {{error: {bad}}}}}}}}}"
            for bad in (".inf", ".nan", "-1", "1.0e12")
        ),
        *(f"regression: {{{name}: {bad}}}" for name in ("metric_drop", "size_growth") for bad in (".inf", ".nan")),
        "targets: {tflite: {quality: {int8: {snr_db: .inf}}}}",
        "golden: {inputs: {x: {low: -.inf, high: 1}}}",
        "golden: {inputs: {x: {values: [.nan]}}}",
        "golden: {seed: -1}",
        "golden: {samples: 100000000000}",
        "inputs: {x: {shape: [1000000000], dtype: float32}}",
        "inputs: {x: {shape: [-5], dtype: float32}}",
        "inputs: {x: {shape: [5], dtype: evil}}",
        'inputs: {"../x": {shape: [5], dtype: float32}}',
        'signatures: {"a\\eb": call}',
        f"name: {'n' * 300}",
        "name: ../x",
        "name: -x",
    ],
)
def test_read_refuses_numbers_and_names_beyond_reason(field: str, tmp_path: Path) -> None:
    hostile.keras_hdf5(tmp_path / "m.h5", hostile.sequential())
    (tmp_path / "c.yaml").write_text(f"model: m.h5\n{field}\n")
    with pytest.raises(BadInput, match=r"c\.yaml: ") as refusal:
        read.read(tmp_path / "c.yaml")
    assert str(refusal.value).isprintable()


MANIFEST = {
    "model": "m",
    "version": 1,
    "status": "passed",
    "created": "now",
    "seconds": 1,
    "source": {"kind": "module", "digest": "d", "signatures": {}},
    "environment": {},
    "targets": [],
}
ROW = {"target": "tflite", "variant": "float32", "signature": "s", "status": "passed"}


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..", ".", "a\0b", "..\\x", "a//b"])
def test_read_refuses_a_manifest_that_names_what_is_not_in_its_release(path: str, tmp_path: Path) -> None:
    for document in (
        {**MANIFEST, "targets": [{**ROW, "path": path}]},
        {**MANIFEST, "files": {path: {"sha256": "0", "bytes": 1}}},
        {**MANIFEST, "model": f"../{path}"},
    ):
        (tmp_path / "manifest.json").write_text(json.dumps(document))
        with pytest.raises(BadInput, match=r"is no manifest of schema 1.*is no (path inside a release|model's name)"):
            manifest.read(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({**MANIFEST, "targets": [{**ROW, "path": "tflite/x.tflite"}]}))
    assert manifest.read(tmp_path).targets[0].path == "tflite/x.tflite"


def test_said_moves_no_cursor() -> None:
    assert said("a\x1b[2Jb\x07\u202e") == "a\\x1b[2Jb\\x07\\u202e"
