"""A new release against the current one: what counts as worse, and what a person may still promote."""

from pathlib import Path
from typing import Any

import pytest

from converters.contract.errors import BadInput
from converters.contract.settings import RegressionSpec
from converters.contract.target import Options
from converters.contract.values import CheckResult
from converters.reference.labelled import EvaluationRecord
from converters.release import publish
from converters.release.comparison import Comparison
from converters.release.manifest import FileRecord, Manifest, Row, SourceRecord
from converters.release.regression import compare
from converters.release.verdict import refusals

SIGNATURE = "serving_default"
ACCURACY = EvaluationRecord(
    metric="accuracy", better="higher", signature=SIGNATURE, output="y", samples=9, live=0.98, data="sha256:1"
)


def row(
    target: str = "tflite",
    *,
    size: int = 1000,
    metric: float | None = 0.97,
    latency: float | None = 2.0,
    spread: tuple[float, float] | None = None,
    error: float = 0.01,
    status: str = "passed",
    reason: str | None = None,
) -> Row:
    values = CheckResult(
        name="values",
        runtime="litert",
        status="passed",
        measured=error,
        limit=0.1,
        latency_ms=latency,
        latency_range_ms=spread,
    )
    checks = [values]
    if metric is not None:
        figures = {"metric": metric, "live": 0.98, "samples": 9.0}
        checks.append(
            CheckResult(name="metric", runtime="litert", status="passed", measured=0.98 - metric, figures=figures)
        )
    return Row(
        target=target,
        variant="int8" if target == "tflite" else "default",
        signature=SIGNATURE,
        status=status,  # type: ignore[arg-type]
        reason=reason,
        bytes=size,
        checks=checks,
    )


def made(version: int, *rows: Row, evaluation: EvaluationRecord | None = ACCURACY, **fields: Any) -> Manifest:
    return Manifest(
        **{
            "model": "m",
            "version": version,
            "status": "passed",
            "created": "2026-11-22T02:00:07Z",
            "seconds": 1.0,
            "source": SourceRecord(kind="module", digest="sha256:12", signatures={}),
            "environment": {},
            "targets": list(rows),
            "evaluation": evaluation,
            **fields,
        }
    )


def found(before: Row, now: Row | None, evaluation: EvaluationRecord | None = ACCURACY, **limits: Any) -> Comparison:
    rows = [now] if now is not None else []
    return compare(made(3, before), "m", 4, rows, evaluation, RegressionSpec(**limits), {})


@pytest.mark.parametrize(
    ("now", "limits", "sentence"),
    [
        ({"metric": 0.95}, {}, "was 0.97 in release 3: 0.02 worse, and 0.01 is allowed; change 'regression.metric_drop'"),
        ({"metric": 0.96}, {}, None),
        ({"metric": 0.99}, {}, None),
        ({"metric": 0.5}, {"metric_drop": None}, None),
        ({"metric": 0.97 - 1e-6}, {"metric_drop": 0}, "was 0.97 in release 3"),
        ({"metric": None}, {}, "accuracy 0.97 in release 3, is not measured now"),
        ({"size": 1200}, {}, "1 200 bytes, was 1 000 bytes in release 3: +20.0%, and 10.0% is allowed"),
        ({"size": 1100}, {}, None),
        ({"size": 1101}, {}, "and 10.0% is allowed"),
        ({"size": 100}, {}, None),
        ({"size": 9000}, {"size_growth": None}, None),
        ({"latency": 200.0}, {}, None),
        ({"latency": 4.1}, {"latency_growth": 1.0}, "latency is 4.1 ms, was 2 ms in release 3"),
        ({"latency": 3.9}, {"latency_growth": 1.0}, None),
        ({"latency": None}, {"latency_growth": 1.0}, "latency was 2 ms in release 3 and is not measured now"),
        ({"error": 0.09}, {}, None),
        ({"error": 0.02}, {"error_growth": 0.5}, "error is 0.02 of the scale, was 0.01 of the scale"),
        ({"status": "unsupported", "reason": "no such op"}, {}, "release 3 has it, is unsupported here (no such op)"),
        ({"status": "unsupported"}, {"vanished": False}, None),
    ],
)  # fmt: skip
def test_compare_refuses_what_is_worse_by_more_than_is_allowed(
    now: dict[str, Any], limits: dict[str, Any], sentence: str | None
) -> None:
    comparison = found(row(), row(**now), **limits)
    if sentence is None:
        assert comparison.refusals() == []
        return
    (reason,) = comparison.refusals()
    assert reason.startswith("tflite int8 serving_default: ")
    assert sentence in reason
    assert reason.endswith(", or `fanout promote m 4`")


def test_compare_refuses_a_row_that_vanished() -> None:
    (reason,) = found(row(), None).refusals()
    assert reason == (
        "tflite int8 serving_default: release 3 has it, this release has not; deploy it too, set "
        "'regression.vanished: false', or `fanout promote m 4`"
    )
    assert found(row(), None, vanished=False).refusals() == []


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [
        ((1.5, 9.0), (4.0, 20.0), False),
        ((1.9, 2.1), (2.2, 2.5), False),
        ((1.9, 2.1), (8.0, 9.0), True),
        (None, (8.0, 9.0), True),
    ],
)
def test_compare_takes_no_latency_within_its_spread_for_a_change(
    before: tuple[float, float] | None, now: tuple[float, float], refused: bool
) -> None:
    comparison = found(row(spread=before), row(latency=8.5, spread=now), latency_growth=1.0)
    (differences,) = comparison.rows()
    assert (differences["latency"].before, differences["latency"].now) == (2.0, 8.5)
    assert (differences["latency"].change is None) != refused
    assert bool(comparison.refusals()) == refused


def test_compare_records_every_figure_when_nothing_is_worse() -> None:
    comparison = found(row(), row(size=900, metric=0.98, latency=1.0, error=0.02))
    (differences,) = comparison.rows()
    assert {figure: d.change for figure, d in differences.items()} == pytest.approx(
        {"size": -0.1, "latency": -0.5, "error": 1.0, "metric": -0.01}
    )
    assert (differences["size"].before, differences["size"].now) == (1000, 900)
    worst = comparison.worst("size")
    assert worst is not None
    assert worst.target == "tflite"
    assert comparison.worst("row") is None


def test_compare_takes_lower_values_for_better_when_the_metric_does() -> None:
    lower = ACCURACY.model_copy(update={"better": "lower"})
    before, after = made(3, row(metric=0.2), evaluation=lower), row(metric=0.25)
    (reason,) = compare(before, "m", 4, [after], lower, RegressionSpec(), {}).refusals()
    assert "0.05 worse" in reason
    assert compare(before, "m", 4, [row(metric=0.1)], lower, RegressionSpec(), {}).refusals() == []


def test_compare_refuses_what_cannot_be_compared_when_the_metric_is_another() -> None:
    other = ACCURACY.model_copy(update={"metric": "f1"})
    (reason,) = found(row(), row(), other).refusals()
    assert "f1 is measured instead, so the two cannot be compared" in reason
    (reason,) = found(row(), row(metric=None), None).refusals()
    assert "is not measured now" in reason
    assert found(row(), row(metric=None), None, metric_drop=None).refusals() == []


def test_compare_says_so_when_the_evaluation_data_is_other() -> None:
    (reason,) = found(row(), row(metric=0.9), ACCURACY.model_copy(update={"data": "sha256:2"})).refusals()
    assert "accuracy is 0.9 on other evaluation data, was 0.97" in reason


def test_compare_takes_a_first_metric_when_the_current_release_has_none() -> None:
    before = made(3, row(metric=None), evaluation=None)
    comparison = compare(before, "m", 4, [row()], ACCURACY, RegressionSpec(), {})
    assert comparison.refusals() == []
    (differences,) = comparison.rows()
    assert differences["metric"].now == 0.97


def test_compare_refuses_growth_from_nothing_when_growth_is_limited() -> None:
    (reason,) = found(row(error=0), row(error=1e-9), error_growth=1.0).refusals()
    assert "error is 1e-09" in reason
    assert found(row(error=0), row(error=0), error_growth=1.0).refusals() == []


def test_compare_says_nothing_of_rows_that_did_not_pass() -> None:
    assert found(row(status="failed"), row(metric=0.1)).differences == []
    failed = found(row(), row(status="failed", metric=0.1))
    assert failed.refusals() == []  # it is refused for itself


def test_compare_refuses_what_was_left_out_and_was_there_before() -> None:
    rows = [row(status="failed", reason="because")]
    (reason,) = compare(
        made(3, row()), "m", 4, rows, ACCURACY, RegressionSpec(), {"tflite": Options(required=())}
    ).refusals()
    assert "release 3 has it, fell short here (because)" in reason
    assert "fanout promote m 4" in reason


def test_compare_names_no_promotion_when_a_check_failed_too() -> None:
    rows = [row(size=9000), row("serving", status="failed", reason="because")]
    comparison = compare(made(3, row(), row("serving")), "m", 4, rows, ACCURACY, RegressionSpec(), {})
    reasons = refusals(rows, {"tflite": Options(), "serving": Options()}, comparison)
    assert [reason.partition(":")[0] for reason in reasons] == [
        "serving serving_default failed",
        "tflite int8 serving_default",
    ]
    assert "fanout promote" not in reasons[1]
    assert not made(4, *rows, status="failed", refusals=reasons, comparison=comparison).promotable


def on_disk(releases: Path, manifest: Manifest) -> None:
    folder = releases / manifest.model / str(manifest.version)
    folder.mkdir(parents=True)
    manifest = manifest.model_copy(update={"files": {}})
    (folder / "manifest.json").write_text(manifest.to_json())


def test_promote_takes_a_release_that_is_only_worse_and_none_whose_checks_failed(tmp_path: Path) -> None:
    comparison = found(row(), row(size=9000))
    worse = made(4, row(size=9000), status="failed", refusals=comparison.refusals(), comparison=comparison)
    wrong = made(5, row(), status="failed", refusals=["tflite failed", *comparison.refusals()], comparison=comparison)
    untold = made(6, row(), status="failed")
    for manifest in (made(3, row(), files={"f": FileRecord(sha256="", bytes=0)}), worse, wrong, untold):
        on_disk(tmp_path, manifest)
    publish.promote(tmp_path, "m", 4)
    assert publish.current(tmp_path, "m") == 4
    for version in (5, 6):
        with pytest.raises(BadInput, match="failed its checks"):
            publish.promote(tmp_path, "m", version)
    assert publish.rollback(tmp_path, "m") == 3
