"""The report's plots, as SVG that brings no script and asks for nothing: what it is drawn in are the page's own colours."""

from collections.abc import Mapping, Sequence
from math import ceil, floor, isfinite, log10
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

from converters.contract.values import UnitName
from converters.release import figures
from converters.release.charts import Style, pygal
from converters.release.manifest import Manifest, Row
from converters.targets.registry import TARGETS

SHOWN_DB = 150.0
"""A ratio above it is drawn here: float32 ends near it, and what is exact would squeeze all others together."""
_NEAR_X, _NEAR_Y = 0.2, 0.08
"""The shares of a plot's sides that a label takes."""
_SVG = "http://www.w3.org/2000/svg"
_SERIES = ("var(--series-1)", "var(--series-2)", "var(--series-3)", "var(--series-4)", "var(--series-5)") * 8
_STYLE = Style(
    background="transparent", plot_background="transparent", foreground="var(--ink)", foreground_strong="var(--ink)",
    foreground_subtle="var(--soft)", guide_stroke_color="var(--line)", major_guide_stroke_color="var(--line)",
    colors=_SERIES, value_colors=("var(--ink)",) * len(_SERIES), font_family="system-ui, sans-serif", label_font_size=12,
    major_label_font_size=12, title_font_size=14, legend_font_size=12, value_font_size=12, value_label_font_size=12,
    opacity=".9", opacity_hover="1", transition="0s",
)  # fmt: skip


class Plot:
    """A drawing for the page, `svg`; a screen reader says what is `told` in its place."""

    def __init__(self, chart: Any, told: str) -> None:
        root = ElementTree.fromstring(chart.render(is_unicode=True, disable_xml_declaration=True))
        for parent in list(root.iter()):
            for child in list(parent):
                if child.tag.endswith("}script") or child.tag.endswith("}title"):
                    parent.remove(child)
        root.attrib.update({"role": "img", "aria-label": told})
        root.attrib.pop("height", None)
        root.attrib["width"] = "100%"
        ElementTree.register_namespace("", _SVG)
        self.svg = Markup(ElementTree.tostring(root, encoding="unicode"))


def kept_of(rows: Sequence[Row]) -> float | None:
    """What is left of the model in a file, of the signature that loses most: the signal-to-noise ratio in dB."""
    ratios = [snr for row in rows if row.status == "passed" and (snr := row.figure("snr_db")) is not None]
    return min(min(ratios), SHOWN_DB) if ratios else None


def size_against_loss(manifest: Manifest) -> Plot | None:
    """Each file's size against what is left of the model in it, of targets with a choice; None of fewer than two files."""
    points: dict[str, list[dict[str, Any]]] = {}
    for unit, rows in manifest.units().items():
        kept, size = kept_of(rows), max((row.bytes or 0 for row in rows), default=0)
        if kept is not None and size:
            points.setdefault(unit.target, []).append({"value": (size, kept), "label": unit.title})
    points = {target: each for target, each in points.items() if len(each) > 1}
    every = [point["value"] for each in points.values() for point in each]
    if not every:
        return None
    (left, right), (low, high) = _around([x for x, _ in every], after=4), _around([y for _, y in every])
    chart = _chart(
        pygal.XY, stroke=False, dots_size=5, print_labels=True, x_title="size", y_title="signal to noise, dB",
        xrange=(left, right), range=(low, high), x_value_formatter=figures.size, max_scale=8, value_formatter=_plain, height=330,
    )  # fmt: skip
    _label_together([point for each in points.values() for point in each], right - left, high - low)
    for target, each in points.items():
        chart.add(target, each)
    return Plot(chart, "Size of each file against its signal-to-noise ratio; the figures are in the table above")


def _label_together(points: Sequence[dict[str, Any]], width: float, height: float) -> None:
    """Give points that lie close together one label, since theirs would lie on each other; the ranges are the plot's."""
    labelled: list[dict[str, Any]] = []
    for point in points:
        near = next(
            (
                other
                for other in labelled
                if abs(other["value"][0] - point["value"][0]) < _NEAR_X * width
                and abs(other["value"][1] - point["value"][1]) < _NEAR_Y * height
            ),
            None,
        )
        if near is None:
            labelled.append(point)
        else:
            near["label"] += f", {point.pop('label')}"


def latencies(manifest: Manifest) -> Plot | None:
    """The median latency of each row in each of its runtimes, on a logarithmic scale; None where none was measured."""
    alone = len(manifest.source.signatures) == 1
    bars = [
        (
            f"{row.unit.title if alone else row.title} · {runtime} · {figures.latency(check.latency_ms)}",
            check.latency_ms,
        )
        for row in manifest.targets
        for runtime, check in row.latencies().items()
        if check.latency_ms
    ]
    if not bars:
        return None
    times = [took for _, took in bars]
    chart = _chart(
        pygal.HorizontalBar, logarithmic=True, height=50 + 24 * len(bars), show_legend=False,
        zero=min(times) / 4, range=(min(times) / 4, max(times) * 1.2), value_formatter=figures.latency,
    )  # fmt: skip
    chart.x_labels = [label for label, _ in reversed(bars)]
    first, last = floor(log10(min(times) / 4)), ceil(log10(max(times)))
    chart.y_labels = [10.0**power for power in range(first + 1, last)] or [max(times)]
    chart.add("latency", list(reversed(times)))
    return Plot(chart, "Median latency of a call, by row and runtime; the figures are with the checks")


def history(manifests: Sequence[Manifest]) -> Plot | None:
    """What each file that loses something kept of the model in each version; None of fewer than two. The oldest is first."""
    if len(manifests) < 2:
        return None
    lines: dict[str, dict[int, float]] = {}
    for manifest in manifests:
        for unit, rows in manifest.units().items():
            kept = kept_of(rows)
            if kept is not None and _loses(unit):
                lines.setdefault(unit.title, {})[manifest.version] = kept
    if not lines:
        return None
    versions = [manifest.version for manifest in manifests]
    low, high = _around([value for line in lines.values() for value in line.values()])
    chart = _chart(pygal.Line, y_title="signal to noise, dB", x_title="version", dots_size=3, range=(low, high))
    chart.value_formatter = _plain
    chart.x_labels = [str(version) for version in versions]
    for title, values in lines.items():
        chart.add(title, [values.get(version) for version in versions])
    return Plot(chart, "Signal-to-noise ratio of each file that loses something, over the last releases")


def _loses(unit: UnitName) -> bool:
    try:
        return TARGETS[unit.target].variant(unit.variant).quality is not None
    except KeyError:  # of another version of this program
        return False


def _around(values: Sequence[float], after: int = 2) -> tuple[float, float]:
    """A range with room on either side for what is written beside points, `after` times as much behind the last."""
    room = (max(values) - min(values)) * 0.15 or abs(max(values)) * 0.15 or 1.0
    return min(values) - room, max(values) + after * room


def _plain(value: float | tuple[float, ...]) -> str:
    return f"{value:.4g}" if isinstance(value, float | int) else ", ".join(map(_plain, value))


def _chart(kind: Any, **options: Any) -> Any:
    usual: Mapping[str, Any] = {
        "style": _STYLE, "js": (), "width": 760, "height": 300, "explicit_size": True, "margin": 8, "show_x_guides": True,
        "tooltip_border_radius": 4, "truncate_legend": -1, "truncate_label": -1, "legend_at_bottom": True,
        "show_minor_x_labels": True, "no_data_text": "",
    }  # fmt: skip
    return kind(**{**usual, **options})


def curve(values: Sequence[float], told: str) -> Plot:
    """A sound or another long vector, drawn at no more points than are seen; what is not finite leaves a gap.

    Its height is its own: no scale is drawn, so that the largest finite magnitude is 1.
    """
    step = max(1, len(values) // 400)
    chart = _chart(
        pygal.Line, height=110, width=300, show_dots=False, show_legend=False, show_x_guides=False, show_y_guides=False,
        show_y_labels=False, show_x_labels=False,
    )  # fmt: skip
    shown = [value if isfinite(value) else None for value in values[::step]]
    most = max((abs(value) for value in shown if value is not None), default=0.0) or 1.0
    chart.add("", [None if value is None else value / most for value in shown])
    return Plot(chart, told)
