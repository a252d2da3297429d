"""Is a new release worse than the current one? Row by row: the metric, size, latency and error of each.

Whatever changed is recorded; what became worse by more than the config allows is a reason not to promote, decided with
all others in `manifest.refusals`. A row that the current release passed and the new one has not counts too.
"""

from collections.abc import Callable, Mapping, Sequence

from converters.contract.settings import RegressionSpec
from converters.contract.target import Options
from converters.contract.values import CheckResult
from converters.reference.labelled import EvaluationRecord
from converters.release import verdict
from converters.release.comparison import Comparison, Difference, Figure
from converters.release.manifest import Manifest, Row

Shown = Callable[[float], str]


def compare(
    current: Manifest,
    model: str,
    version: int,
    rows: Sequence[Row],
    evaluation: EvaluationRecord | None,
    spec: RegressionSpec,
    options: Mapping[str, Options],
) -> Comparison:
    """The rows of a new release, `version` of `model`, against the current release's.

    The sentences name `fanout promote` as a remedy where no row failed a check: only then it is one.
    """
    sound = not any(row.fell_short and verdict.blocks(row, options) for row in rows)
    deliberately = f", or `fanout promote {model} {version}`" if sound else ""
    new = {row.identity: row for row in rows}
    differences: list[Difference] = []
    for before in current.targets:
        if before.status != "passed":
            continue
        now = new.get(before.identity)
        judge = _Judge(current, before, spec, deliberately)
        if now is None or now.status == "unsupported" or (now.fell_short and not verdict.blocks(now, options)):
            differences.append(judge.vanished(now))
        elif now.status == "passed":  # another is refused for itself
            differences += judge.figures(now, evaluation)
    return Comparison(version=current.version, differences=differences)


def _alike(one: CheckResult, other: CheckResult) -> bool:
    """Whether two latencies are as far apart as calls of either are among themselves, or less."""
    if one.latency_range_ms is None or other.latency_range_ms is None:
        return False
    (least, greatest), (other_least, other_greatest) = one.latency_range_ms, other.latency_range_ms
    apart = max(least, other_least) - min(greatest, other_greatest)
    return apart <= max(greatest - least, other_greatest - other_least)


class _Judge:
    """One row of the current release, and what its successor is held to."""

    def __init__(self, current: Manifest, before: Row, spec: RegressionSpec, deliberately: str) -> None:
        self.current, self.before, self.spec = current, before, spec
        self.title, self.deliberately = before.title, deliberately

    def vanished(self, now: "Row | None") -> Difference:
        what = "this release has not" if now is None else f"{_WORDS.get(now.status, now.status)} here ({now.reason})"
        refusal = (
            f"{self.title}: release {self.current.version} has it, {what}; deploy it too, set 'regression.vanished: false'"
            f"{self.deliberately}"
        )
        return self._difference("row", 1.0, None, refusal=refusal if self.spec.vanished else None)

    def figures(self, now: Row, evaluation: EvaluationRecord | None) -> list[Difference]:
        before, spec = self.before, self.spec
        differences = [
            self._grown("size", before.bytes, now.bytes, spec.size_growth, "bytes", _bytes),
            self._latency(now),
            self._grown("error", _error(before), _error(now), spec.error_growth, "of the scale", _short),
            self._metric(now, evaluation),
        ]
        return [difference for difference in differences if difference is not None]

    def _latency(self, now: Row) -> Difference | None:
        """What lies within the spread of several calls is no change, and is held against nobody."""
        was, takes, limit = self.before.latency(), now.latency(), self.spec.latency_growth
        if was is not None and takes is not None and _alike(was, takes):
            return self._difference("latency", was.latency_ms, takes.latency_ms, limit=limit)
        return self._grown("latency", self.before.latency_ms(), now.latency_ms(), limit, "ms", _short)

    def _grown(
        self, figure: Figure, before: float | None, now: float | None, limit: float | None, unit: str, shown: Shown
    ) -> Difference | None:
        if before is None and now is None:
            return None
        change = (now - before) / before if before and now is not None else None
        refusal = None
        if limit is not None and before is not None:
            worse = None
            was = f"{shown(before)} {unit} in release {self.current.version}"
            if now is None:
                worse = f"was {was} and is not measured now"
            elif change is None and now > before:
                worse = f"is {shown(now)} {unit}, was {was}"
            elif change is not None and change > limit:
                worse = f"is {shown(now)} {unit}, was {was}: {change:+.1%}, and {limit:.1%} is allowed"
            if worse is not None:
                remedy = f"change 'regression.{figure}_growth'{self.deliberately}"
                refusal = f"{self.title}: {figure} {worse}; {remedy}"
        return self._difference(figure, before, now, change=change, limit=limit, refusal=refusal)

    def _metric(self, now: Row, evaluation: EvaluationRecord | None) -> Difference | None:
        old, was, limit = self.current.evaluation, self.before.metric_value(), self.spec.metric_drop
        value = now.metric_value()
        if old is None or was is None:
            return None if value is None else self._difference("metric", None, value, limit=limit)
        remedy = f"change 'regression.metric_drop'{self.deliberately}"
        measured = f"{old.metric} {was:.4g} in release {self.current.version}"
        other = evaluation is None or (evaluation.metric, evaluation.better) != (old.metric, old.better)
        if evaluation is None or value is None or other:
            instead = f"{evaluation.metric} is measured instead" if evaluation and other else "is not measured now"
            refusal = f"{self.title}: {measured}, {instead}, so the two cannot be compared; {remedy}"
            return self._difference("metric", was, None, limit=limit, refusal=None if limit is None else refusal)
        change = was - value if old.better == "higher" else value - was
        refusal = ""
        if limit is not None and not change <= limit + _ROUNDING:
            data = "" if evaluation.data == old.data else " on other evaluation data"
            refusal = (
                f"{self.title}: {old.metric} is {value:.4g}{data}, was {was:.4g} in release {self.current.version}: "
                f"{change:.4g} worse, and {limit:g} is allowed; {remedy}"
            )
        return self._difference("metric", was, value, change=change, limit=limit, refusal=refusal or None)

    def _difference(self, figure: Figure, before: float | None, now: float | None, **fields: object) -> Difference:
        row = self.before
        name = {"target": row.target, "variant": row.variant, "signature": row.signature, "figure": figure}
        return Difference.model_validate({**name, "before": before, "now": now, **fields})


_WORDS = {"unsupported": "is unsupported", "failed": "fell short", "not_run": "was not run"}
_ROUNDING = 1e-9
"""Shares of whole samples do not subtract exactly: 0.98 - 0.97 is a little more than 0.01."""


def _error(row: Row) -> float | None:
    check = row.worst()
    return None if check is None else check.measured


def _bytes(count: float) -> str:
    return f"{int(count):,}".replace(",", " ")


def _short(value: float) -> str:
    return f"{value:.3g}"
