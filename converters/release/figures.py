"""Figures as a person reads them: in the terminal's tables, in Prefect's UI, and as filters of the report's page."""

from collections.abc import Callable, Iterable

from converters.contract.values import CheckResult, Status
from converters.reference.measure import MOST_DB
from converters.release.comparison import Difference
from converters.release.manifest import Row

MARKS = {"passed": "✓", "failed": "✗", "unsupported": "–", "not_run": "?"}


def status(word: Status) -> str:
    """A status, with its mark."""
    return f"{MARKS[word]} {word.replace('_', ' ')}"


def variant(name: str) -> str:
    """A variant's name; a target's only one has none."""
    return "" if name == "default" else name


def size(count: float | None) -> str:
    """Bytes, in powers of 1000."""
    if count is None:
        return ""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def figure(value: float | None) -> str:
    """Two significant digits: 0.031, 6.6e-7."""
    if value is None:
        return ""
    if value == 0 or value >= 1e-3:
        return f"{value:.2g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"


def against(check: CheckResult | None) -> str:
    """Measured against limit."""
    if check is None or check.measured is None or check.limit is None:
        return ""
    return f"{figure(check.measured)} / {figure(check.limit)}"


def decibels(value: float | None) -> str:
    """A signal-to-noise ratio; exact where there is no noise at all."""
    if value is None:
        return ""
    return "exact" if value >= MOST_DB else f"{round(value)} dB"


def share(value: float | None) -> str:
    """A share in per cent, in which all but all is not all."""
    if value is None:
        return ""
    return "100%" if value == 1 else f"{min(value, 0.999):.1%}"


def metric(value: float | None) -> str:
    """A metric of labelled data."""
    return "" if value is None else f"{value:.4g}"


def latency(milliseconds: float | None) -> str:
    """Milliseconds."""
    if milliseconds is None:
        return ""
    return f"{milliseconds:.3f} ms" if milliseconds < 1 else f"{milliseconds:.1f} ms"


def latencies(measured: Iterable[CheckResult]) -> str:
    """From the shortest median latency to the longest, where one does not read as the other: 0.335–11.7 ms."""
    ordered = sorted(check.latency_ms for check in measured if check.latency_ms is not None)
    first, last = (latency(ordered[place] if ordered else None) for place in (0, -1))
    return last if first == last else f"{first.removesuffix(' ms')}–{last}"


def spread(check: CheckResult) -> str:
    """A latency with the shortest and the longest call."""
    if check.latency_range_ms is None:
        return latency(check.latency_ms)
    least, greatest = check.latency_range_ms
    return f"{latency(check.latency_ms)} ({least:.3g} to {greatest:.3g})"


def cells(row: Row, metric_name: str | None) -> dict[str, str]:
    """All that a table can show of a row, by the column's name; `metric_name` is that of labelled data, if there is any."""
    return {
        "target": row.target,
        "variant": variant(row.variant),
        "signature": row.signature or "",
        "status": status(row.status),
        "inputs": row.data or "",
        "size": size(row.bytes),
        "error / limit": against(row.worst()),
        "SNR": decibels(row.figure("snr_db")),
        "top-1": share(row.figure("top1")),
        **({metric_name: metric(row.metric_value())} if metric_name is not None else {}),
        "latency": latencies(row.latencies().values()),
        "runtimes": "; ".join(row.runtimes()),
        "reason": row.reason or "",
    }


def change(difference: Difference) -> str:
    """A figure in the current release and in the new one, and the share by which it grew."""
    if difference.figure == "row":
        return "gone"
    show = _OF[difference.figure]
    grown = f" {difference.change:+.1%}" if difference.change is not None and difference.figure != "metric" else ""
    return f"{show(difference.before) or '–'} → {show(difference.now) or '–'}{grown}"


_OF: dict[str, Callable[[float | None], str]] = {"metric": metric, "size": size, "latency": latency, "error": figure}
FILTERS = {
    each.__name__: each
    for each in (status, variant, size, figure, against, decibels, share, metric, latency, spread, change)
}
"""For Jinja."""
