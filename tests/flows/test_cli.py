"""What a person sees: bad input, help, tables, progress."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import samples
from command import Fanout
from rich.console import Console

from converters.contract.values import CheckResult
from converters.release.figures import figure, size
from converters.release.manifest import Manifest, Row, SourceRecord
from flows.show.events import Event
from flows.show.progress import Progress
from flows.show.tables import ManifestTable

BUILDER = "def build():\n    return 3\n"


def _written(folder: Path, name: str, text: str) -> Path:
    (folder / "builder.py").write_text(BUILDER)
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["deploy", "digit"], ["'digit'", "did you mean 'digits'?", "configs/"]),
        (["deploy"], ["--all"]),
        (["deploy", "digits", "--all"], ["not both"]),
        (["deploy", "digits", "--targets", "tflite,tfjz"], ["'tfjz'", "did you mean 'tfjs'?"]),
        (["deploy", "missing.keras"], ["missing.keras", "does not exist"]),
        (["deploy", "missing.yaml"], ["missing.yaml", "cannot be read"]),
        (["deploy", "empty/"], ["empty", "no saved_model.pb"]),
        (
            ["deploy", "unknown_key.yaml"],
            ["unknown_key.yaml", "golden.sample", "unknown key", "did you mean 'samples'?"],
        ),
        (["deploy", "wrong_type.yaml"], ["wrong_type.yaml", "golden.samples", "'many'"]),
        (["deploy", "wrong_target.yaml"], ["wrong_target.yaml", "targets", "'onnx'"]),
        (["deploy", "wrong_variant.yaml"], ["wrong_variant.yaml", "tflite", "'int5'"]),
        (["deploy", "no_file.yaml"], ["no_file.yaml", "nowhere.py", "does not exist"]),
        (["deploy", "digits", "--releases", "file/releases"], ["file/releases", "cannot be written"]),
        (["check", "empty"], ["empty", "no release"]),
        (["inspect", "missing.tflite"], ["missing.tflite"]),
        (["promote", "digits", "1"], ["no release of 'digits'"]),
        (["deploy", "--wrong"], ["--wrong"]),
    ],
)
def test_main_exits_with_2_and_one_sentence_when_input_is_bad(
    arguments: list[str], said: list[str], fanout: Fanout, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    _written(tmp_path, "unknown_key.yaml", "model: builder.py:build\ngolden: {sample: 3}\n")
    _written(tmp_path, "wrong_type.yaml", "model: builder.py:build\ngolden: {samples: many}\n")
    _written(tmp_path, "wrong_target.yaml", "model: builder.py:build\ntargets: {onnx: {}}\n")
    _written(tmp_path, "wrong_variant.yaml", "model: builder.py:build\ntargets: {tflite: {variants: [int5]}}\n")
    _written(tmp_path, "no_file.yaml", "model: nowhere.py:build\n")
    ran = fanout(*arguments, releases=tmp_path / "releases")
    assert ran.status == 2
    assert ran.out == ""
    assert "Traceback" not in ran.err
    for words in said:
        assert words in ran.err
    assert not list(tmp_path.glob("releases/*"))


def test_deploy_shows_the_builders_error_and_line_when_it_raises(
    fanout: Fanout, tmp_path: Path, make_spec: Callable[..., object]
) -> None:
    (tmp_path / "raises.py").write_text("def build():\n    table = {}\n    return table['weights']\n")
    config = tmp_path / "raises.yaml"
    config.write_text("model: raises.py:build\n")
    ran = fanout("deploy", config, "--json", releases=tmp_path / "releases")
    assert ran.status == 2
    assert ran.document == {"manifests": []}
    assert f"{tmp_path / 'raises.py'}, line 3, in build: KeyError: 'weights'" in ran.err
    assert "Traceback" not in ran.err


def test_help_names_every_command_when_asked(fanout: Fanout, tmp_path: Path) -> None:
    ran = fanout("--help", releases=tmp_path / "releases")
    assert ran.status == 0
    for command in ("deploy", "inspect", "check", "releases", "promote", "rollback", "prune", "ui", "doctor"):
        assert command in ran.out


def test_doctor_finds_every_required_runtime_when_set_up(fanout: Fanout, tmp_path: Path) -> None:
    ran = fanout("doctor", "--json", releases=tmp_path / "releases")
    assert ran.status == 0, ran.out
    runtimes = {runtime["name"]: runtime for runtime in ran.document["runtimes"]}
    assert {"python", "tensorflow", "ai-edge-litert", "node", "chromium"} <= set(runtimes)
    assert all(runtime["found"] for runtime in runtimes.values() if runtime["required"])
    assert all(runtime["remedy"] for runtime in runtimes.values())


def test_doctor_says_how_to_get_a_model_server_and_succeeds_without_one(fanout: Fanout, tmp_path: Path) -> None:
    ran = fanout(
        "doctor", releases=tmp_path / "releases", environment={"FANOUT_MODEL_SERVER": "grpc=[::1]:1,rest=[::1]:1"}
    )
    assert ran.status == 0
    line, remedy = ran.out.splitlines()[-2:]
    assert re.match(r"–  tensorflow_model_server +missing +.*\(optional\)", line)
    assert "nothing listens at [::1]:1" in remedy


def test_doctor_says_how_to_get_a_runtime_when_it_is_missing(fanout: Fanout, tmp_path: Path) -> None:
    hidden = {"FANOUT_CHROMIUM": str(tmp_path / "no-such-browser")}
    ran = fanout("doctor", releases=tmp_path / "releases", environment=hidden)
    assert ran.status == 1
    assert "no-such-browser" in ran.out


def test_inspect_shows_signatures_when_given_a_saved_model(
    fanout: Fanout, tmp_path: Path, module_sample: samples.Sample
) -> None:
    ran = fanout("inspect", module_sample.source.saved_model, releases=tmp_path / "releases")
    assert ran.status == 0, ran.err
    for words in ("serve", "serving_default", "summary", "signal", "float32"):
        assert words in ran.out


def _manifest(*rows: Row) -> Manifest:
    source = SourceRecord(kind="module", digest="sha256:0", signatures={})
    return Manifest(
        model="toy", version=3, status="failed", created="2026-01-01T00:00:00Z", seconds=1.0, source=source,
        environment={}, targets=list(rows),
    )  # fmt: skip


_ROW = Row(
    target="tflite",
    variant="int8",
    signature="serving_default",
    status="failed",
    reason="values on litert 2.3.0: y is off",
    path="tflite/int8.tflite",
    bytes=20480,
    checks=[
        CheckResult(name="values", runtime="litert 2.3.0", status="failed", measured=0.2, limit=0.1, latency_ms=0.05),
        CheckResult(name="batch", runtime="litert 2.3.0", status="passed", measured=2e-7, limit=0.1),
    ],
)


@pytest.mark.parametrize("width", [80, 140])
def test_manifest_table_shows_every_column_when_terminal_is_narrow_or_wide(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(ManifestTable(_manifest(_ROW)))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "tflite",
        "int8",
        "serving_default",
        "failed",
        "20.5 kB",
        "0.2 / 0.1",
        "0.050 ms",
        "litert 2.3.0",
        "y is off",
    ):
        assert words in shown
    assert max(map(len, shown.splitlines())) <= width


def test_manifest_table_says_once_and_without_a_reason_what_was_left_out() -> None:
    left_out = CheckResult(name="server", runtime="s", status="not_run", detail="install it", required=False)
    rows = [_ROW.model_copy(update={"signature": key, "status": "passed", "checks": [left_out]}) for key in ("a", "b")]
    console = Console(width=140, file=io.StringIO(), highlight=False)
    console.print(ManifestTable(_manifest(*rows)))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.splitlines()[-1].rstrip() == "tflite: server not run: install it"
    assert shown.count("install it") == 1


def test_figure_keeps_two_digits_when_values_are_small_or_large() -> None:
    assert [figure(value) for value in (0.0, 6.56e-7, 1e-4, 0.03129, 0.5)] == ["0", "6.6e-7", "1e-4", "0.031", "0.5"]
    assert [size(count) for count in (12, 20480, 14_000_000, 2_500_000_000)] == [
        "12 B",
        "20.5 kB",
        "14.0 MB",
        "2.50 GB",
    ]


def test_progress_prints_plain_lines_when_stderr_is_no_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=100)
    with Progress(console) as progress:
        progress(Event("toy", "building"))
        progress(Event("toy", "converting", "tflite", "int8"))
        progress(Event("toy", "done", "tflite", "int8", rows=(_ROW,)))
    lines = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in lines
    assert [words for words in ("building", "converting", "failed", "y is off") if words not in lines] == []


def test_progress_redraws_lines_in_place_when_stderr_is_a_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with Progress(console) as progress:
        progress(Event("toy", "waiting", "tflite", "int8"))
        progress(Event("toy", "converting", "tflite", "int8"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[" in shown
    assert "converting" in shown
