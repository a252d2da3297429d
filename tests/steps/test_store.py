"""The store through which machines exchange files, and units of work that go through it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import samples

from converters.config.spec import ModelSpec
from converters.contract import layout
from converters.contract.errors import BadInput, Damaged, StoreFailed
from converters.contract.values import Artifact
from converters.formats import digest
from converters.release.staging import staging
from converters.source.builder import Builder
from converters.steps import remote
from converters.steps.check import check
from converters.steps.convert import Conversion
from converters.steps.store import Store
from converters.steps.unit import Unit, relocated


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"content" * 1000)
    return path


@pytest.mark.parametrize("url", ["{}/store", "file://{}/store", "memory://{}/store"])
def test_get_returns_what_put_stored_for_every_kind_of_url(url: str, file: Path, tmp_path: Path) -> None:
    store = Store(url.format(tmp_path))
    found = store.put(file)
    assert found == digest.of_file(file)
    assert store.holds(found)
    assert store.put(file) == found
    Store(url.format(tmp_path)).get(found, tmp_path / "deep" / "copy")
    assert (tmp_path / "deep" / "copy").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c[:-1] + b"?", lambda c: c + b"?"])
def test_get_refuses_and_put_stores_anew_when_a_file_was_damaged(
    damage: Callable[[bytes], bytes], file: Path, tmp_path: Path
) -> None:
    store = Store(str(tmp_path / "store"))
    found = store.put(file)
    (stored,) = (p for p in (tmp_path / "store").rglob("*") if p.is_file())
    stored.write_bytes(damage(stored.read_bytes()))
    with pytest.raises(Damaged, match="copy was damaged in the store"):
        store.get(found, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert not store.holds(found)
    store.put(file)
    store.get(found, tmp_path / "copy")
    assert [path.name for path in tmp_path.rglob("*.part")] == []


def test_get_names_the_store_when_it_lacks_the_file(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="is it the same on all machines"):
        Store(str(tmp_path / "empty")).get("0" * 64, tmp_path / "copy")


def test_put_names_the_store_when_it_cannot_be_written(file: Path) -> None:
    with pytest.raises(StoreFailed, match=r"cannot be written: .*Error"):
        Store(str(file / "below-a-file")).put(file)


def test_store_says_what_to_give_when_the_url_is_none() -> None:
    with pytest.raises(BadInput, match=r"nonsense://x cannot be opened: .*; give a directory or a URL"):
        Store("nonsense://x")


def test_relocated_moves_every_path_when_they_are_nested() -> None:
    made = Conversion(
        target="t",
        variant="v",
        artifacts=[
            Artifact(target="t", variant="v", signature=s, path=p) for s, p in (("a", Path("/x/a")), ("b", None))
        ],
    )
    moved = relocated(made, Path("/x"), Path("/y/z"))
    assert [artifact.path for artifact in moved.artifacts] == [Path("/y/z/a"), None]
    assert relocated(moved, Path("/y/z"), Path("/x")) == made


@pytest.mark.parametrize("name", ["/etc/passwd", "release/../../x"])
def test_below_refuses_a_name_that_leads_out(name: str, tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="is no place in"):
        remote.below(tmp_path, name)


def test_difference_names_what_two_machines_do_not_share() -> None:
    ours = {"tensorflow": "2.19.0", "the code of tf-fanout": "1"}
    assert remote.difference(dict(ours), ours) is None
    assert remote.difference({**ours, "tensorflow": "2.18.0"}, ours) == "tensorflow is 2.18.0 there and 2.19.0 here"
    assert remote.difference({**ours, "the code of tf-fanout": "2"}, ours) == "the code of tf-fanout is another there"
    assert remote.difference({**ours, "$TF_X": "1"}, ours) == "$TF_X is set there and not set here"
    both = {**ours, "$TF_X": "1"}
    assert remote.difference({**ours, "$TF_X": "2"}, both) == "$TF_X is set there and set to something else here"
    assert remote.difference(ours, both) == "$TF_X is not set there and set here"


@pytest.mark.tensorflow
def test_a_unit_as_text_gives_the_rows_that_working_here_gives(
    make_spec: Callable[..., ModelSpec], tmp_path: Path
) -> None:
    code = samples.KERAS.replace("import tf_keras\n", "import tf_keras\nimport beside\n", 1)
    spec = make_spec("", name="tiny", targets={"hdf5": {}})
    (spec.base / "beside.py").write_text("")
    (spec.base / "tiny.py").write_text(code)
    store = Store(str(tmp_path / "store"))
    with (
        staging(tmp_path / "releases", "tiny") as place,
        Builder(spec, place.release, place.release / "source") as builder,
    ):
        (place.release / "source").mkdir()
        builder.build()
        source = builder.export().value
        reads = builder.reads(place.root)
        assert source.builder is not None

        def elsewhere(parcel: remote.Parcel, folder: Path) -> remote.Done:
            (tmp_path / folder).mkdir()
            told = remote.Parcel.model_validate_json(parcel.model_dump_json())
            done = remote.do(told, tmp_path / folder, tmp_path / "cache")
            return remote.receive(remote.Done.model_validate_json(done.model_dump_json()), place.root, store)

        log = place.root / layout.check_log("hdf5", "model")
        unit = Unit(target="hdf5", variant="model", source=source, spec=spec, release=place.release, log=log)
        parcel = remote.to_convert(unit, reads, 1.0, store)
        assert {name for name in parcel.files if name.startswith("base/")} == {"base/tiny.py", "base/beside.py"}
        conversion = elsewhere(parcel, Path("a")).conversion
        assert conversion is not None
        assert conversion.error is None, conversion.error
        assert conversion.artifacts[0].path == place.release / "hdf5" / "model.h5"
        there = elsewhere(remote.to_check(unit, conversion, 1.0, store), Path("b")).rows
        here = check(unit, conversion)
        assert log.is_file()
    (row,), (same,) = there, here
    assert row.status == "passed"
    assert [(c.name, c.status, c.measured) for c in row.checks] == [(c.name, c.status, c.measured) for c in same.checks]
    assert (row.path, row.bytes) == (same.path, same.bytes)


def test_store_repeats_no_secret_of_its_url_when_it_cannot_be_opened() -> None:
    with pytest.raises(BadInput, match="the store nosuch://host/folder cannot be opened") as refused:
        Store("nosuch://key:secret@host/folder?token=secret")
    assert "secret" not in str(refused.value)
