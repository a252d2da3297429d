"""A release's table, at the widths that terminals have."""

import io
from collections.abc import Sequence

import pytest
from rich.cells import cell_len
from rich.console import Console

from converters.contract.values import CheckResult
from converters.reference.labelled import EvaluationRecord
from converters.release.comparison import Comparison, Difference
from converters.release.manifest import Manifest, Row, SourceRecord
from flows.show.tables import ManifestTable
from flows.show.terminal import Terminal

NODE, BROWSER = "node 24.19.0, tfjs 4.22.0 wasm", "chromium 153.0.8010.0, tfjs 4.22.0 webgl"
UNSAID = "no accuracy was measured"


def _row(target: str, variant: str, signature: str = "serving_default", **latencies: float) -> Row:
    names = {"node": NODE, "browser": BROWSER, "lite": "litert 2.3.0"}
    checks = [
        CheckResult(
            name="values", runtime=names[name], status="passed", measured=2.5e-4, limit=0.01, latency_ms=milliseconds,
            figures={"snr_db": 87.2, "top1": 0.994},
        )
        for name, milliseconds in latencies.items()
    ]  # fmt: skip
    checks.append(
        CheckResult(name="metric", runtime="x", status="passed", measured=0.0, limit=0.02, figures={"metric": 0.9806})
    )
    return Row(
        target=target, variant=variant, signature=signature, status="passed", data="given", bytes=46_300,
        path=f"{target}/{variant}", checks=checks,
    )  # fmt: skip


ROWS = (
    _row("saved_model", "default", lite=0.522),
    _row("tflite", "dynamic", lite=0.007),
    _row("tfjs", "graph", node=0.7, browser=11.7),
)


def _manifest(rows: Sequence[Row] = ROWS, *, evaluated: bool = False, **more: object) -> Manifest:
    evaluation = EvaluationRecord.model_validate(
        {"signature": "serving_default", "metric": "accuracy", "better": "higher", "samples": 360, "live": 0.9861,
         "data": "x.py:labelled", "output": "digit"}
    )  # fmt: skip
    return Manifest.model_validate(
        {
            "model": "toy", "version": 3, "status": "passed", "created": "2026-01-01T00:00:00Z", "seconds": 1.0,
            "source": SourceRecord(kind="module", digest="sha256:0", signatures={}), "environment": {},
            "targets": list(rows), "evaluation": evaluation if evaluated else None, **more,
        }
    )  # fmt: skip


def _shown(manifest: Manifest, width: int, *, wide: bool = False, checks: bool = False) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(ManifestTable(manifest, wide=wide, checks=checks), crop=not wide)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def _header(shown: str) -> str:
    return next(line for line in shown.splitlines() if line.startswith("target"))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160])
@pytest.mark.parametrize("evaluated", [False, True])
def test_table_never_is_wider_than_the_terminal_and_cuts_nothing_off(width: int, evaluated: bool) -> None:
    shown = _shown(_manifest(evaluated=evaluated), width)
    assert max(map(cell_len, shown.splitlines())) <= width
    assert "…" not in shown
    names = ("saved_model", "dynamic", NODE, BROWSER) if width > 40 else ()
    for words in (*names, "2.5e-4 / 0.01", "11.7 ms"):
        assert words in shown


def test_columns_go_by_importance_when_the_terminal_is_narrow() -> None:
    columns = {width: _header(_shown(_manifest(evaluated=True), width)).split() for width in (60, 80, 120, 160)}
    assert {"SNR", "top-1", "signature", "inputs", "runtime"} <= set(columns[160])
    assert {"SNR", "top-1", "signature", "inputs"} <= set(columns[120])
    assert "runtime" not in columns[120]
    assert columns[80] == ["target", "variant", "status", "size", "error", "/", "limit", "top-1", "accuracy", "latency"]
    assert columns[60] == ["target", "variant", "status", "size", "error", "/", "limit", "accuracy"]
    assert "signature: serving_default" in _shown(_manifest(), 80)


def test_signatures_stay_when_there_are_several() -> None:
    rows = [_row("tflite", "float32", key, lite=0.1) for key in ("summary_of_all", "embed")]
    assert "summary_of_all" in _shown(_manifest(rows, evaluated=True), 80)


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_slowest_runtime_is_not_hidden_by_the_fastest(width: int) -> None:
    shown = _shown(_manifest(evaluated=True), width)
    told = next(line for line in shown.splitlines() if BROWSER in line)
    assert "11.7 ms" in told
    if width == 80:
        assert "0.700–11.7 ms" in shown


def test_wide_shows_every_column_in_lines_that_are_whole() -> None:
    shown = _shown(_manifest(evaluated=True), 80, wide=True)
    assert {"SNR", "top-1", "accuracy", "signature", "inputs", "runtime"} <= set(_header(shown).split())
    assert max(map(cell_len, shown.splitlines())) > 120
    assert any(line.startswith("tfjs") and NODE in line for line in shown.splitlines())


@pytest.mark.parametrize("evaluated", [False, True])
def test_table_says_that_no_accuracy_was_measured_exactly_where_none_was(evaluated: bool) -> None:
    assert (UNSAID in _shown(_manifest(evaluated=evaluated), 120)) is not evaluated


def test_every_check_is_told_when_asked_for() -> None:
    shown = _shown(_manifest(), 120, checks=True)
    assert f"✓ values  2.5e-4 / 0.01  {BROWSER}" in shown
    assert "✓ values" not in _shown(_manifest(), 120)


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_terminal_has_no_colours_when_the_environment_says_so(
    environment: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    console = Terminal(width=100, file=io.StringIO(), force_terminal=True)
    console.print(ManifestTable(_manifest()))
    assert ("\x1b[32m" in console.file.getvalue()) is coloured  # type: ignore[attr-defined]


@pytest.mark.parametrize(("change", "told"), [(0.42, True), (None, False), (-0.2, False)])
def test_comparison_names_a_latency_only_where_it_grew_beyond_the_spread(change: float | None, told: bool) -> None:
    difference = Difference(
        target="tfjs", variant="graph", signature="x", figure="latency", before=1.0, now=1.4, change=change
    )
    comparison = Comparison(version=2, differences=[difference])
    assert ("latency +42% at most (tfjs graph)" in _shown(_manifest(comparison=comparison), 120)) is told


def test_reason_is_told_once_where_several_rows_have_the_same() -> None:
    rows = [
        _row("tflite", name).model_copy(update={"status": "failed", "reason": "its sizes are open, " + "so it is " * 9})
        for name in ("a", "b", "c", "d", "e")
    ]
    shown = _shown(_manifest([*rows, *ROWS]), 80)
    assert shown.count("its sizes are open") == 1
    _, second = shown[shown.index("✗ tflite a serving_default, tflite b") :].splitlines()[:2]
    assert "and 2 more: its sizes are open" in " ".join(shown.split())
    assert second.startswith("  ")
