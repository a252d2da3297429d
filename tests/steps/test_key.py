"""What a key is made of: every module of a converter, every file and module a build depends on."""

import os
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
import samples

from converters.config.read import without_config
from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput
from converters.contract.values import UnitName
from converters.formats import digest
from converters.processes import userland
from converters.processes.child import Child
from converters.source import watch
from converters.steps import key


@pytest.fixture(name="package")
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package to edit, which keys are made of in place of the real one."""
    copy = tmp_path / "converters"
    shutil.copytree(digest.PACKAGE, copy, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    monkeypatch.setattr(digest, "PACKAGE", copy)
    return copy


@pytest.fixture(name="spec")
def _spec(tmp_path: Path) -> ModelSpec:
    return samples.write_spec(tmp_path, samples.MODULE)


def edited(path: Path) -> None:
    """Append to a file, and make sure that its time differs."""
    with path.open("a") as file:
        file.write("\n")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def differing(before: key.Recipe, now: key.Recipe) -> set[str]:
    """The parts that differ; a converter by its target's name."""
    parts = {part for part in ("source", "release") if getattr(before, part) != getattr(now, part)}
    return parts | {target for target in before.converters if before.converters[target] != now.converters[target]}


@pytest.mark.parametrize(
    "file",
    [
        "targets/tflite/convert.py",
        "javascript/js/core.mjs",
        "javascript/js/package-lock.json",
        "formats/variables.py",
        "release/pages/report.html.j2",
        "processes/preload.py",
    ],
)
def test_recipe_differs_in_every_part_when_a_file_of_the_package_is_edited(
    package: Path, spec: ModelSpec, file: str
) -> None:
    before = key.recipe(spec)
    edited(package / file)
    assert differing(before, key.recipe(spec)) == {"source", "release", *spec.targets}


def test_recipe_differs_when_a_file_is_added_to_the_package(package: Path, spec: ModelSpec) -> None:
    before = key.recipe(spec)
    (package / "targets" / "fresh.json").write_text("{}")
    assert differing(before, key.recipe(spec)) == {"source", "release", *spec.targets}


def test_of_package_differs_when_what_defines_a_member_of_another_package_is_edited(tmp_path: Path) -> None:
    module = tmp_path / "elsewhere" / "toy.py"
    module.parent.mkdir()
    module.write_text("def convert():\n    pass\n")
    member = userland.load(module).convert
    before = digest.of_package(member)
    assert before != digest.of_package()
    edited(module)
    assert before != digest.of_package(member)


def test_source_differs_when_a_given_file_is_edited(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("saved_model.pb", "weights"):
        (tmp_path / "model" / name).write_bytes(b"1")
    given = without_config(tmp_path / "model")
    before = key.source(given)
    assert key.difference(before, key.source(given)) is None
    (tmp_path / "model" / "weights").write_bytes(b"2")
    assert "weights has changed" in (key.difference(before, key.source(given)) or "")


def test_source_differs_when_a_declared_file_is_edited_or_added(tmp_path: Path) -> None:
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "ckpt" / "a.index").write_text("1")
    spec = samples.write_spec(tmp_path, samples.MODULE, files=["ckpt/*"])
    before = key.source(spec)
    (tmp_path / "ckpt" / "a.data").write_text("1")
    assert "a.data is new" in (key.difference(before, key.source(spec)) or "")
    (tmp_path / "ckpt" / "a.data").unlink()
    (tmp_path / "ckpt" / "a.index").write_text("2")
    assert "a.index has changed" in (key.difference(before, key.source(spec)) or "")


def test_read_names_the_field_when_a_declared_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"tiny\.yaml: files: 'ckpt/\*' fits no file"):
        samples.write_spec(tmp_path, samples.MODULE, files=["ckpt/*"])


@pytest.mark.parametrize("pattern", ["", "a**"])
def test_read_names_the_field_when_a_pattern_is_none(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(BadInput, match=rf"tiny\.yaml: files: '{re.escape(pattern)}' (is no pattern|fits no file)"):
        samples.write_spec(tmp_path, samples.MODULE, files=[pattern])


@pytest.mark.parametrize("variable", ["TF_ENABLE_ONEDNN_OPTS", "TF_USE_LEGACY_KERAS", "XLA_FLAGS", "FANOUT_CHROMIUM"])
def test_source_differs_when_a_variable_that_matters_is_set(
    spec: ModelSpec, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key.source(spec)
    monkeypatch.setenv(variable, "other")
    assert key.difference(before, key.source(spec)) == f"${variable} is new"
    monkeypatch.setenv(variable, "another")
    assert key.source(spec)[f"${variable}"] not in ("another", before.get(f"${variable}"))


@pytest.mark.parametrize("variable", ["PYTHONPATH", "FANOUT_REPORTS", "PREFECT_API_URL"])
def test_source_is_the_same_whoever_asks(spec: ModelSpec, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable, raising=False)
    before = key.recipe(spec)
    monkeypatch.setenv(variable, "http://127.0.0.1:4711/releases")
    assert key.recipe(spec) == before


@pytest.mark.parametrize("home", ["KERAS_HOME", "HOME"])
def test_source_differs_by_what_keras_json_says_of_its_own(
    spec: ModelSpec, tmp_path: Path, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras writes its defaults there at the first import: else the first release of a machine could not be known again."""
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv(home, str(tmp_path))
    file = tmp_path / ("keras.json" if home == "KERAS_HOME" else ".keras/keras.json")
    file.parent.mkdir(exist_ok=True)
    before = key.source(spec)
    defaults = '"floatx": "float32", "epsilon": 1e-07, "image_data_format": "channels_last"'
    for text in ("", "[1]", "{}", f'{{{defaults}, "backend": "tensorflow"}}', '{"backend": "jax"}'):
        file.write_text(text)
        assert key.source(spec) == before, text
    file.write_text('{"floatx": "float16"}')
    assert key.difference(before, key.source(spec)) == "keras.json is new"


@pytest.mark.parametrize("variable", ["FANOUT_WEBHOOK", "FANOUT_AUTH", "TF_ANY", "KERAS_ANY", "AWS_SECRET_ACCESS_KEY"])
def test_source_and_tools_know_nothing_of_a_variable_that_shapes_no_model(
    spec: ModelSpec, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key.source(spec), key.tools()
    monkeypatch.setenv(variable, "secret")
    assert (key.source(spec), key.tools()) == before


def test_variant_is_the_same_when_only_another_variants_options_differ(tmp_path: Path) -> None:
    def ingredients(name: str, **options: object) -> key.Ingredients:
        spec = samples.write_spec(tmp_path, samples.MODULE, targets={"tflite": options})
        return key.variant(spec, UnitName("tflite", name), key.Recipe({}, {}, {"tflite": ""}), watch.Reads())

    plain = ingredients("float32")
    tight = {"error": 0.01}
    assert ingredients("float32", variants=["float32"], optional=True, tolerance={"int8": tight}) == plain
    assert ingredients("float32", tolerance={"float32": tight}) != plain
    assert ingredients("float32", select_ops="never") != plain


READER = """
import importlib, pathlib
import helper
HERE = pathlib.Path(__file__).parent
NAMED = "named.bin"          # as native code is given it
def build():
    open(HERE / ("opened" + ".bin"), "rb").read()
    (HERE / "made.txt").write_text("by the build")
    (HERE / "made.txt").read_text()
    importlib.import_module("la" + "te")
    try:
        import absent
    except ImportError:
        pass
"""


def read_by(folder: Path, during: str = "") -> watch.Reads | None:
    """What a build in a child is seen to read."""
    for name, text in (
        ("helper.py", "X = 1"),
        ("late.py", ""),
        ("named.bin", "1"),
        ("opened.bin", "1"),
        ("reader.py", READER),
    ):
        (folder / name).write_text(text)
    call = f"userland.call('reader.py:build', Path({str(folder)!r}), 'model')"
    code = f"from converters.processes import userland\nfrom pathlib import Path\n{call}\n"
    time.sleep(0.05)  # what is written now is older than the build
    with Child() as child:
        child.hold(watch.Watcher)
        child.call(exec, code + during)
        return child.ask(watch.Watcher.reads, folder.resolve(), [folder / "products"]).value


@pytest.mark.tensorflow
def test_reads_lists_modules_opened_and_named_files_when_a_build_used_them(tmp_path: Path) -> None:
    reads = read_by(tmp_path)
    assert reads is not None
    assert set(reads.files) == {"reader.py", "helper.py", "late.py", "named.bin", "opened.bin"}
    assert reads.changed(tmp_path) is None


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["reader.py", "helper.py", "late.py", "named.bin", "opened.bin"])
def test_changed_names_the_file_when_one_is_edited_or_gone(tmp_path: Path, name: str) -> None:
    reads = read_by(tmp_path)
    assert reads is not None
    edited(tmp_path / name)
    assert reads.changed(tmp_path) == f"{name} has changed"
    (tmp_path / name).unlink()
    assert reads.changed(tmp_path) == f"{name} is gone"


@pytest.mark.tensorflow
def test_changed_names_a_module_that_would_now_be_imported_when_it_appears(tmp_path: Path) -> None:
    reads = read_by(tmp_path)
    assert reads is not None
    (tmp_path / "unrelated.py").write_text("")
    assert reads.changed(tmp_path) is None
    (tmp_path / "absent.py").write_text("")
    assert "absent.py is new" in (reads.changed(tmp_path) or "")


@pytest.fixture(name="library")
def _library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path, as $PYTHONPATH has them, and the working directory."""
    folder = tmp_path / "library"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.mark.tensorflow
def test_changed_is_nothing_when_pythons_path_has_other_folders_of_no_concern(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name in ("helper.py", "unrelated.py"):
        (library / name).write_text("")  # the first is passed over: the config's folder is searched before
    reads = read_by(model)
    assert reads is not None
    assert (reads.changed(model), reads.searched) == (None, ())
    monkeypatch.syspath_prepend(str(tmp_path))
    assert reads.changed(model) is None
    monkeypatch.setattr("sys.path", sys.path[2:])
    assert reads.changed(model) is None
    (tmp_path / "other").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    (tmp_path / "other" / "helper.py").write_text("")
    assert reads.changed(model) is None
    (tmp_path / "other" / "absent.py").write_text("")
    assert reads.changed(model) == f"{tmp_path / 'other' / 'absent.py'} is new"
    (tmp_path / "other" / "absent.py").rename(tmp_path / "other" / "tensorflow.py")  # which the fork server has loaded
    assert reads.changed(model) == f"{tmp_path / 'other' / 'tensorflow.py'} is new"
    monkeypatch.setattr("sys.path", [*sys.path[1:], sys.path[0]])  # where the real one is found before it
    assert reads.changed(model) is None


@pytest.mark.tensorflow
@pytest.mark.parametrize("package", [True, False])
def test_changed_names_the_folder_when_a_module_is_found_no_longer(
    tmp_path: Path, library: Path, package: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, found = tmp_path / "model", library / ("absent/__init__.py" if package else "absent.py")
    model.mkdir()
    found.parent.mkdir(exist_ok=True)
    found.write_text("X = 1")
    reads = read_by(model)
    assert reads is not None
    assert str(found) in reads.files
    assert (reads.changed(model), reads.searched) == (None, (str(library),))
    (tmp_path / "link").symlink_to(library)
    monkeypatch.setattr("sys.path", [str(tmp_path / "link"), *sys.path[1:]])
    assert reads.changed(model) is None
    monkeypatch.setattr("sys.path", sys.path[1:])
    assert reads.changed(model) == f"{library}, where it found modules, is not on Python's path"


def test_source_differs_by_what_is_installed_on_pythons_path_and_not_by_its_folders(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    before = key.source(spec)
    (tmp_path / "site").mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(("", str(Path.cwd()), str(tmp_path / "site"), "nowhere")))
    assert key.source(spec) == before
    (tmp_path / "site" / "toy-1.0.dist-info").mkdir()
    assert key.difference(before, key.source(spec)) == "the installed packages has changed"


@pytest.mark.tensorflow
def test_reads_is_unknown_when_a_file_is_edited_during_the_build(tmp_path: Path) -> None:
    edit = f"import os, time\nos.utime({str(tmp_path / 'helper.py')!r}, (time.time() + 1, time.time() + 1))\n"
    assert read_by(tmp_path, during=edit) is None
