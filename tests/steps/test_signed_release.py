"""A whole release of a tiny model that was signed: checked again, and what its provenance says."""

import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import releases
import samples

from converters.config.spec import ModelSpec
from converters.contract.layout import MANIFEST, PROVENANCE, SIGNATURE
from converters.formats import digest
from converters.release import files, signing
from converters.release.manifest import FileRecord, read
from converters.release.signing import NO_KEYS, Keys
from converters.steps.recheck import recheck

pytestmark = pytest.mark.tensorflow


@pytest.fixture(name="pair", scope="module")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return signing.generate(tmp_path_factory.mktemp("keys"))


@pytest.fixture(name="keys", scope="module")
def _keys(pair: tuple[Path, Path]) -> Keys:
    return Keys.read(*pair)


@pytest.fixture(name="signed", scope="module")
def _signed(keys: Keys, make_spec: Callable[..., ModelSpec], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its path, of which nobody may change anything."""
    spec = make_spec(samples.MODULE, targets={"hdf5": {}})
    with ThreadPoolExecutor(2) as pool:
        released = releases.publish(spec, tmp_path_factory.mktemp("releases"), pool, keys=keys)
    assert released.promoted
    return released.path


@pytest.fixture(name="statement", scope="module")
def _statement(signed: Path) -> Any:
    return json.loads((signed / PROVENANCE).read_text())


def test_recheck_verifies_the_signature_when_keys_are_trusted(signed: Path, keys: Keys) -> None:
    manifest = recheck(signed, keys=keys)
    assert manifest.refusals == []
    assert re.fullmatch(r"signed by ed25519:[0-9a-f]{16}, verified", manifest.notes[-1])


def test_recheck_says_that_nobody_verified_it_when_no_key_is_trusted(signed: Path) -> None:
    manifest = recheck(signed)
    assert manifest.refusals == []
    assert re.fullmatch(r"signed by .*, not verified: FANOUT_VERIFY_KEYS names no key", manifest.notes[-1])


def test_recheck_runs_nothing_when_a_release_was_edited_without_the_key(
    signed: Path, keys: Keys, tmp_path: Path
) -> None:
    edited = tmp_path / "edited"
    shutil.copytree(signed, edited)
    page = edited / "report.html"
    page.write_text("other")
    written = read(edited)
    record = FileRecord(sha256=digest.of_file(page), bytes=page.stat().st_size)
    fresh = written.model_copy(update={"files": {**written.files, page.name: record}}).sealed()
    (edited / MANIFEST).write_text(fresh.to_json())
    assert recheck(edited).refusals == []
    began: list[str] = []
    manifest = recheck(edited, lambda target, variant: began.append(target), keys)
    assert began == []
    assert manifest.status == "failed"
    assert "it was changed afterwards" in manifest.refusal()
    assert {row.status for row in manifest.targets} == {"failed"}


def test_recheck_refuses_a_version_in_another_s_place(signed: Path, keys: Keys, tmp_path: Path) -> None:
    shutil.copytree(signed, tmp_path / "7")
    assert "which was published elsewhere" in recheck(tmp_path / "7", keys=keys).refusal()


def test_provenance_lists_every_file_that_the_manifest_does(signed: Path, statement: Any) -> None:
    listed = {each["name"]: each["digest"] for each in statement["subject"]}
    manifest = read(signed)
    assert listed.keys() == manifest.files.keys() - {PROVENANCE}
    assert {name: {"sha256": record.sha256} for name, record in manifest.files.items() if name != PROVENANCE} == listed
    there = {path.relative_to(signed).as_posix() for path in signed.rglob("*") if path.is_file()}
    assert there - listed.keys() == {PROVENANCE, MANIFEST, SIGNATURE}
    assert files.changed_files(signed, manifest) == {}


def test_provenance_has_the_form_of_slsa_in_an_in_toto_statement(signed: Path, statement: Any) -> None:
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    definition, run = (statement["predicate"][part] for part in ("buildDefinition", "runDetails"))
    assert set(definition) == {"buildType", "externalParameters", "internalParameters", "resolvedDependencies"}
    assert definition["externalParameters"]["targets"] == {"saved_model": ["default"], "hdf5": []}
    config = definition["externalParameters"]["config"]
    assert config == {"name": "config.json", "digest": {"sha256": digest.of_file(signed / "config.json")}}
    assert all(set(each) & {"uri", "digest"} for each in definition["resolvedDependencies"])
    packages = [each["uri"] for each in definition["resolvedDependencies"] if "uri" in each]
    assert "pkg:pypi/tensorflow@2.19.0" in packages
    assert all(re.fullmatch(r"pkg:pypi/[a-z0-9.-]+@[A-Za-z0-9.%_~-]+", uri) for uri in packages)
    assert re.match("[a-z]+:", run["builder"]["id"])
    assert run["metadata"]["invocationId"] == "a test"
    started, finished = (
        datetime.strptime(run["metadata"][when], "%Y-%m-%dT%H:%M:%SZ") for when in ("startedOn", "finishedOn")
    )
    assert started <= finished


def test_no_key_and_no_path_of_the_machine_is_in_what_was_signed(
    signed: Path, pair: tuple[Path, Path], statement: Any
) -> None:
    secret = pair[0].read_text().splitlines()[1].encode()
    holding = [path for path in signed.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert holding == []
    absolute = [
        text for text in _strings(statement) if text.startswith("/") or str(Path.home()) in text or "/tmp" in text
    ]
    assert absolute == []


def test_provenance_names_the_files_of_a_model_by_path_without_their_folders(
    make_spec: Callable[..., ModelSpec], tmp_path: Path
) -> None:
    from converters.release.provenance import Run, statement

    spec = make_spec(samples.MODULE).model_copy(
        update={"model": f"{tmp_path}/model.keras", "files": (f"{tmp_path}/a*",)}
    )
    for name in ("model.keras", "abc"):
        (tmp_path / name).write_text(name)
    config = {"config.json": FileRecord(sha256="0" * 64, bytes=1)}
    text = statement(spec, 1, config, Run(0.0, "run", reads={"/elsewhere/vocab.txt": "1" * 64, "data/x.csv": "2" * 64}))
    assert str(tmp_path) not in text
    dependencies = json.loads(text)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert {each["name"] for each in dependencies if "name" in each} == {
        "model.keras", "abc", "vocab.txt", "data/x.csv", "the code of tf-fanout",
    }  # fmt: skip
    assert NO_KEYS.sign(text.encode()) is None


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(text for each in value.values() for text in _strings(each))]
    if isinstance(value, list):
        return [text for each in value for text in _strings(each)]
    return [value] if isinstance(value, str) else []
