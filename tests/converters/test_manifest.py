"""The manifest: where a status is decided, and what is on disk."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters import manifest as manifests
from converters.contract import Artifact, CheckResult, Options, Signature, TensorSpec
from converters.errors import BadInput
from converters.manifest import Manifest, Row, SourceRecord, refusals, row, row_status, title

STATUSES = st.sampled_from(["passed", "failed", "not_run"])


def checks(*statuses: str) -> list[CheckResult]:
    return [CheckResult(name="values", runtime="r", status=status, detail="d") for status in statuses]  # type: ignore[arg-type]


def row_of(target: str, status: str, **fields: Any) -> Row:
    return Row(target=target, variant="default", signature="serving_default", status=status, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ((), "not_run"),
        (("passed",), "passed"),
        (("passed", "passed"), "passed"),
        (("passed", "failed"), "failed"),
        (("not_run", "failed"), "failed"),
        (("passed", "not_run"), "not_run"),
    ],
)
def test_row_status_follows_the_checks(statuses: Sequence[str], status: str) -> None:
    assert row_status(checks(*statuses)) == status


@given(st.lists(STATUSES))
def test_row_status_is_passed_only_when_every_check_passed(statuses: list[str]) -> None:
    assert (row_status(checks(*statuses)) == "passed") == (set(statuses) == {"passed"})


def made(tmp_path: Path, **fields: Any) -> Artifact:
    path = tmp_path / "tflite" / "int8.tflite"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"12345")
    return Artifact(**{"target": "tflite", "variant": "int8", "signature": "s", "path": path, **fields})


def test_row_describes_the_artifact_when_its_checks_passed(tmp_path: Path) -> None:
    made_row = row(made(tmp_path), checks("passed"), None, {"convert": 1.5, "check": 0.5}, tmp_path)
    assert (made_row.status, made_row.reason) == ("passed", None)
    assert (made_row.path, made_row.bytes) == ("tflite/int8.tflite", 5)
    assert made_row.seconds == {"convert": 1.5, "check": 0.5}
    assert title(made_row) == "tflite int8 s"


def test_row_gives_the_first_failing_check_as_reason_when_one_failed(tmp_path: Path) -> None:
    failed = CheckResult(
        name="values", runtime="litert 2", status="failed", measured=0.5, limit=0.1, detail="y: max |error|"
    )
    made_row = row(made(tmp_path), [*checks("passed"), failed, *checks("failed")], None, {}, tmp_path)
    assert made_row.status == "failed"
    assert made_row.reason == "values on litert 2: y: max |error| (0.5 against a limit of 0.1)"


def test_row_is_failed_when_converting_failed(tmp_path: Path) -> None:
    made_row = row(made(tmp_path, path=None), [], "converting failed: killed", {}, tmp_path)
    assert (made_row.status, made_row.reason, made_row.path) == ("failed", "converting failed: killed", None)


def test_row_is_unsupported_when_there_is_no_file(tmp_path: Path) -> None:
    made_row = row(made(tmp_path, path=None, reason="no such op"), [], None, {}, tmp_path)
    assert (made_row.status, made_row.reason, made_row.bytes) == ("unsupported", "no such op", None)


def test_row_is_not_run_when_there_is_no_check(tmp_path: Path) -> None:
    assert row(made(tmp_path), [], None, {}, tmp_path).status == "not_run"


def test_row_counts_a_models_shards_when_it_is_a_model_json(tmp_path: Path) -> None:
    (tmp_path / "tfjs").mkdir()
    for name in ("model.json", "group1-shard1of1.bin"):
        (tmp_path / "tfjs" / name).write_bytes(b"123")
    made_row = row(made(tmp_path, path=tmp_path / "tfjs" / "model.json"), checks("passed"), None, {}, tmp_path)
    assert (made_row.path, made_row.bytes) == ("tfjs/model.json", 6)


OPTIONS = {"saved_model": Options(), "tflite": Options(), "hdf5": Options(optional=True)}
GOOD = [row_of("saved_model", "passed"), row_of("tflite", "passed"), row_of("hdf5", "passed")]


def test_refusals_is_empty_when_every_target_passed() -> None:
    assert refusals(GOOD, OPTIONS) == []


@pytest.mark.parametrize("status", ["failed", "not_run"])
@pytest.mark.parametrize("target", ["saved_model", "tflite", "hdf5"])
def test_refusals_names_the_row_when_it_failed_or_was_not_run(target: str, status: str) -> None:
    (reason,) = refusals([*GOOD, row_of(target, status, reason="because")], OPTIONS)
    verb = "failed" if status == "failed" else "was not run"
    assert reason == f"{target} serving_default {verb}: because"


def test_refusals_is_empty_when_a_passed_target_has_an_unsupported_row_too() -> None:
    assert refusals([*GOOD, row_of("tflite", "unsupported")], OPTIONS) == []


@pytest.mark.parametrize(("optional", "count"), [(True, 0), (False, 1)])
def test_refusals_depends_on_optional_when_a_target_is_wholly_unsupported(optional: bool, count: int) -> None:
    rows = [*GOOD[:2], row_of("hdf5", "unsupported", reason="no Keras model")]
    found = refusals(rows, {**OPTIONS, "hdf5": Options(optional=optional)})
    assert found == ["hdf5 has no passed row: no Keras model"][:count]


@pytest.mark.parametrize("optional", [True, False])
def test_refusals_names_the_target_when_it_has_no_row(optional: bool) -> None:
    (reason,) = refusals(GOOD[:2], {**OPTIONS, "hdf5": Options(optional=optional)})
    assert reason == "hdf5 has no passed row: it has no row"


@pytest.mark.parametrize("status", ["failed", "not_run"])
def test_refusals_names_an_optional_target_when_it_did_not_pass(status: str) -> None:
    rows = [*GOOD[:2], row_of("hdf5", "unsupported"), row_of("hdf5", status)]
    assert len(refusals(rows, OPTIONS)) == 1


@given(st.lists(st.builds(row_of, st.sampled_from(sorted(OPTIONS)), STATUSES | st.just("unsupported"))))
def test_refusals_is_empty_only_when_nothing_failed_and_every_required_target_passed(rows: list[Row]) -> None:
    if refusals(rows, OPTIONS):
        return
    assert not {r.status for r in rows} & {"failed", "not_run"}
    assert {r.target for r in rows if r.status == "passed"} >= {"saved_model", "tflite"}


FULL = Manifest(
    model="digits",
    version=3,
    status="passed",
    created="2026-11-22T02:00:07Z",
    seconds=14.2,
    source=SourceRecord(
        kind="tf_keras",
        digest="sha256:12",
        signatures={
            "serving_default": Signature(
                inputs={"image": TensorSpec(shape=(None, 8, 8, 1), dtype="float32")},
                outputs={"digit": TensorSpec(shape=None, dtype="float32")},
            )
        },
    ),
    environment={"tensorflow": "2.19.0"},
    targets=[
        row_of(
            "tflite",
            "passed",
            path="tflite/int8.tflite",
            bytes=20480,
            seconds={"convert": 2.1, "check": 0.3},
            checks=[CheckResult(name="values", runtime="litert", status="passed", measured=0.01, limit=0.05)],
        )
    ],
    files={"tflite/int8.tflite": manifests.FileRecord(sha256="ab", bytes=20480)},
)


def test_read_gives_back_the_manifest_when_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(FULL.to_json())
    assert manifests.read(tmp_path) == FULL


def test_to_json_has_the_keys_of_the_interface() -> None:
    written = json.loads(FULL.to_json())
    assert list(written) == [
        *("schema", "model", "version", "status", "created", "seconds"),
        *("source", "environment", "peak_memory_mb", "targets", "files"),
    ]
    assert written["schema"] == 1
    assert list(written["source"]) == ["kind", "digest", "signatures", "seconds", "memory_mb", "reused_from"]
    signature = written["source"]["signatures"]["serving_default"]
    assert signature["inputs"] == {"image": {"shape": [None, 8, 8, 1], "dtype": "float32"}}
    (target,) = written["targets"]
    assert list(target) == [
        *("target", "variant", "signature", "status", "reason", "path", "bytes", "seconds"),
        *("memory_mb", "reused_from", "checks"),
    ]
    assert list(target["checks"][0]) == [*("name", "runtime", "status", "measured", "limit", "detail", "latency_ms")]
    assert written["files"] == {"tflite/int8.tflite": {"sha256": "ab", "bytes": 20480}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Invalid JSON"),
        (FULL.to_json().replace('"schema": 1', '"schema": 2'), "schema: Input should be 1"),
        (FULL.to_json().replace('"digits"', "3"), "model: "),
        ("{}", "Field required"),
    ],
)
def test_read_raises_bad_input_when_it_is_no_manifest(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BadInput, match=rf"manifest\.json is no manifest of schema 1: .*{words}"):
        manifests.read(tmp_path)


def test_read_raises_bad_input_when_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no release: .*No such file"):
        manifests.read(tmp_path)


def test_record_files_gives_size_and_digest_of_every_file_but_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_bytes(b"abc")
    for name in ("manifest.json", "empty"):
        (tmp_path / name).touch()
    records = manifests.record_files(tmp_path)
    assert list(records) == ["deep/er/file", "empty"]
    assert records["deep/er/file"].bytes == 3
    assert records["deep/er/file"].sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_environment_names_the_versions_of_what_made_the_release() -> None:
    found = manifests.environment()
    assert found["tensorflow"] == "2.19.0"
    assert found["tensorflowjs"] == "4.22.0"
    assert found["python"]


def test_worst_is_the_check_nearest_its_limit() -> None:
    near = CheckResult(name="values", runtime="b", status="passed", measured=0.9, limit=1.0)
    far = CheckResult(name="values", runtime="a", status="passed", measured=5.0, limit=100.0)
    spread = CheckResult(name="varies", runtime="golden", status="passed", measured=9.0, limit=5.0)
    assert row_of("tflite", "passed", checks=[far, near, spread]).worst() == near
    assert row_of("tflite", "passed", checks=[spread]).worst() is None
