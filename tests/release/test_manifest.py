"""The manifest: where a status is decided, and what is on disk."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.contract.errors import BadInput
from converters.contract.target import Options
from converters.contract.values import Artifact, CheckResult, LayerLoss, Signature, TensorSpec
from converters.release import files, sealing
from converters.release import manifest as manifests
from converters.release.manifest import Losses, Manifest, Row, SourceRecord
from converters.release.verdict import leave_out, refusals, row, row_status

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


OPTIONAL = CheckResult(name="server", runtime="s", status="not_run", detail="install s", required=False)


@given(st.lists(STATUSES, min_size=1))
def test_row_status_is_that_of_the_required_checks_when_another_was_not_run(statuses: list[str]) -> None:
    assert row_status([OPTIONAL, *checks(*statuses)]) == row_status(checks(*statuses))


@pytest.mark.parametrize(("status", "row"), [("not_run", "not_run"), ("passed", "not_run"), ("failed", "failed")])
def test_row_status_is_never_passed_when_no_check_is_required(status: str, row: str) -> None:
    assert row_status([OPTIONAL.model_copy(update={"status": status})]) == row


def test_row_names_a_check_that_was_left_out_but_gives_no_reason_when_the_others_passed(tmp_path: Path) -> None:
    made_row = row(made(tmp_path), [OPTIONAL, *checks("passed")], None, {}, tmp_path)
    assert (made_row.status, made_row.reason, made_row.left_out()) == ("passed", None, [OPTIONAL])
    assert made_row.runtimes() == ["r"]
    failed = row(made(tmp_path), [OPTIONAL, *checks("failed")], None, {}, tmp_path)
    assert failed.reason == "values on r: d"


def test_required_is_written_only_where_it_is_false() -> None:
    (usual,) = checks("passed")
    assert "required" not in usual.model_dump(mode="json")
    written = OPTIONAL.model_dump(mode="json")
    assert written["required"] is False
    assert CheckResult.model_validate(written) == OPTIONAL


def test_runtimes_leaves_out_what_did_not_run(tmp_path: Path) -> None:
    missing = CheckResult(name="runs", runtime="node", status="not_run", detail="no node")
    assert row(made(tmp_path), [missing], None, {}, tmp_path).runtimes() == []


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
    assert made_row.title == "tflite int8 s"


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


LENIENT = {"saved_model": Options(), "tflite": Options(optional=True, required=()), "hdf5": Options(optional=True)}


@pytest.mark.parametrize("status", ["failed", "not_run"])
def test_refusals_pass_over_a_variant_that_is_not_required_when_another_target_passed(status: str) -> None:
    assert refusals([GOOD[0], row_of("tflite", status), GOOD[2]], LENIENT) == []
    assert len(refusals([row_of("saved_model", status), *GOOD[1:]], LENIENT)) == 1


def test_refusals_says_why_when_nothing_but_the_saved_model_passed() -> None:
    rows = [GOOD[0], row_of("tflite", "failed", reason="because"), row_of("hdf5", "unsupported", reason="no Keras")]
    assert refusals(rows, LENIENT) == ["no target has a passed row: tflite serving_default failed: because"]
    assert refusals(rows[:1] + rows[2:], {"saved_model": Options(), "hdf5": Options(optional=True)}) == [
        "no target has a passed row: no Keras"
    ]


def test_refusals_asks_for_data_when_the_config_requires_it() -> None:
    rows = [each.model_copy(update={"data": "drawn"}) for each in GOOD]
    assert refusals(rows, OPTIONS) == []
    (reason,) = refusals(rows, OPTIONS, require_data=True)
    assert "serving_default: its inputs were drawn, and 'require_data' asks for yours" in reason
    assert refusals([each.model_copy(update={"data": "given"}) for each in GOOD], OPTIONS, require_data=True) == []


def test_leave_out_removes_the_files_of_what_fell_short_and_is_not_required(tmp_path: Path) -> None:
    for name in ("tflite/a.tflite", "tflite/b.tflite", "tfjs/graph/k/model.json", "tfjs/graph/k/w.bin", "hdf5/m.h5"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    both = [row_of("tflite", "passed", path="tflite/a.tflite"), row_of("tflite", "failed", path="tflite/a.tflite")]
    rows = [
        *both,
        row_of("tflite", "passed", path="tflite/b.tflite"),
        row_of("tfjs", "not_run", path="tfjs/graph/k/model.json", bytes=2),
        row_of("hdf5", "failed", path="hdf5/m.h5"),
    ]
    options = {"tflite": Options(required=()), "tfjs": Options(required=()), "hdf5": Options()}
    kept = leave_out(rows, options, tmp_path)
    assert [each.path for each in kept] == [None, None, "tflite/b.tflite", None, "hdf5/m.h5"]
    assert [each.status for each in kept] == ["failed", "failed", "passed", "not_run", "failed"]
    assert kept[0].reason == "it shares its file with 'serving_default', which fell short"
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert there == {"tflite", "tflite/b.tflite", "hdf5", "hdf5/m.h5"}


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


def test_is_sealed_unless_a_bit_of_the_manifest_was_changed(tmp_path: Path) -> None:
    path, written = tmp_path / "manifest.json", FULL.sealed().to_json().encode()
    path.write_bytes(written)
    assert sealing.is_sealed(tmp_path)
    generator = random.Random(1)
    for _ in range(300):
        place, bit = generator.randrange(len(written)), generator.randrange(8)
        path.write_bytes(written[:place] + bytes([written[place] ^ 1 << bit]) + written[place + 1 :])
        assert not sealing.is_sealed(tmp_path)


def test_to_json_has_the_keys_of_the_interface() -> None:
    written = json.loads(FULL.to_json())
    assert list(written) == [
        *("schema", "model", "version", "status", "created", "seconds"),
        *("source", "environment", "peak_memory_mb", "targets", "files"),
        *("evaluation", "comparison", "refusals", "observed", "notes", "digest"),
    ]
    assert written["schema"] == 1
    assert list(written["source"]) == ["kind", "digest", "signatures", "seconds", "memory_mb", "reused_from"]
    signature = written["source"]["signatures"]["serving_default"]
    assert signature["inputs"] == {"image": {"shape": [None, 8, 8, 1], "dtype": "float32"}}
    (target,) = written["targets"]
    assert list(target) == [
        *("target", "variant", "signature", "status", "reason", "data", "path", "bytes", "seconds"),
        *("memory_mb", "reused_from", "checks", "layers", "answers"),
    ]
    assert list(target["checks"][0]) == [
        *("name", "runtime", "status", "measured", "limit", "detail", "latency_ms"),
    ]
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


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_read_raises_bad_input_when_a_number_is_none_of_json(tmp_path: Path, number: str) -> None:
    text = FULL.to_json()
    (tmp_path / "manifest.json").write_text(text.replace('"seconds": ' + repr(FULL.seconds), f'"seconds": {number}', 1))
    with pytest.raises(BadInput, match=f"it holds {number}, which is no number of JSON"):
        manifests.read(tmp_path)


def test_read_raises_bad_input_when_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no release: .*No such file"):
        manifests.read(tmp_path)


def test_record_files_gives_size_and_digest_of_every_file_but_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_bytes(b"abc")
    for name in ("manifest.json", "empty"):
        (tmp_path / name).touch()
    records = files.record_files(tmp_path)
    assert list(records) == ["deep/er/file", "empty"]
    assert records["deep/er/file"].bytes == 3
    assert records["deep/er/file"].sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_environment_names_the_versions_of_what_made_the_release() -> None:
    found = manifests.environment()
    assert found["tensorflow"] == "2.19.0"
    assert found["tensorflowjs"] == "4.22.0"
    assert found["python"]


def test_figure_and_metric_are_those_of_the_runtime_that_lost_most() -> None:
    def found(name: str, runtime: str, lost: float | None, **figures: float) -> CheckResult:
        return CheckResult(name=name, runtime=runtime, status="passed", measured=lost, figures=figures)

    good, bad = found("values", "a", 0, snr_db=90), found("values", "b", 0, snr_db=40, top1=0.9)
    one, two, unknown = (
        found("metric", "a", 0, metric=0.9),
        found("metric", "b", 0.1, metric=0.8),
        found("metric", "c", None),
    )
    made_row = row_of("tflite", "passed", checks=[good, bad, one, two])
    assert (made_row.figure("snr_db"), made_row.figure("top1"), made_row.figure("cosine")) == (40, 0.9, None)
    assert made_row.metric() == two
    assert row_of("tflite", "failed", checks=[two, unknown]).metric() == unknown
    assert row_of("tflite", "passed").metric() is None


def loss(layer: str, added: float) -> LayerLoss:
    return LayerLoss(layer=layer, op="CONV_2D", snr_db=3.14, added=added)


def test_row_names_outputs_and_layers_when_a_lossy_variant_fell_short(tmp_path: Path) -> None:
    bad = [
        CheckResult(name="snr", runtime="litert 2", status="failed", detail=f"{name}: dB", output=name)
        for name in "abc"
    ]
    losses = Losses(layers=[loss(name, 0.5) for name in ("one", "two", "three", "four")])
    made_row = row(made(tmp_path), bad, None, {}, tmp_path, losses=losses)
    assert made_row.reason == (
        "snr on litert 2: a: dB; 'b', 'c' fell short too; the layers that lose the most: 'one' (CONV_2D, 3.1 dB left), "
        "'two' (CONV_2D, 3.1 dB left), 'three' (CONV_2D, 3.1 dB left)"
    )
    assert [kept.layer for kept in made_row.layers] == ["one", "two", "three", "four"]
    untold = row(made(tmp_path), bad[:1], None, {}, tmp_path, losses=Losses(layers=[], error="no float32 graph"))
    assert untold.reason == "snr on litert 2: a: dB; which layers lose it cannot be told: no float32 graph"
    none = row(made(tmp_path), bad[:1], None, {}, tmp_path, losses=Losses(layers=[loss("one", -0.1)]))
    assert none.reason == "snr on litert 2: a: dB"


def test_worst_is_the_check_nearest_its_limit() -> None:
    near = CheckResult(name="values", runtime="b", status="passed", measured=0.9, limit=1.0)
    far = CheckResult(name="values", runtime="a", status="passed", measured=5.0, limit=100.0)
    spread = CheckResult(name="varies", runtime="golden", status="passed", measured=9.0, limit=5.0)
    assert row_of("tflite", "passed", checks=[far, near, spread]).worst() == near
    assert row_of("tflite", "passed", checks=[spread]).worst() is None
