"""Tables for people: a release's rows, a model's releases, this machine's runtimes."""

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from converters.reference.labelled import EvaluationRecord
from converters.release import figures, verdict
from converters.release.figures import MARKS
from converters.release.manifest import Comparison, Manifest, Row
from flows.show.progress import STYLES

_WIDE = 124
"""Columns from which a line has room for the runtimes too; below, they are listed once under the table."""
_MEDIUM = 100
"""Columns from which a line has room for a signature that is the same in every line, and for the top-1 beside a metric."""


class ManifestTable:
    """One line for each row: what it is, how it fared, and the check that came nearest to its limit."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        manifest = self._manifest
        headline = Text(f"{manifest.model} {manifest.version}", style="bold")
        headline.append(f"  {manifest.status}", style=STYLES[manifest.status])
        if out := manifest.left_out():
            headline.append(f"  without {len(out)} of {len(manifest.targets)} rows", style=STYLES["failed"])
        yield headline.append(f"  {manifest.seconds:.1f} s", style="dim")
        if manifest.comparison is not None and (changes := manifest.comparison.contract_changes):
            line = Text(f"contract changed against release {manifest.comparison.version}: ", style="yellow")
            yield line.append("; ".join(changes), style="default")
        metric = manifest.evaluation.metric if manifest.evaluation is not None else None
        cells = [figures.cells(row, metric) for row in manifest.targets]
        names = [
            name
            for name in (cells[0] if cells else ())
            if name in (*_ALWAYS, metric) or any(each[name] for each in cells)
        ]
        names = [name for name in names if name not in ("runtimes", "reason")]
        wide = options.max_width >= _WIDE + sum(len(name) + 4 for name in names if name not in _ALWAYS)
        kinds = {row.data for row in manifest.targets if row.data is not None}
        if options.max_width < _MEDIUM and len(kinds) < 2:
            names = [name for name in names if name != "inputs"]
        signatures = {row.signature for row in manifest.targets if row.signature is not None}
        if options.max_width < _MEDIUM and len(signatures) < 2:
            dropped = ("signature", "top-1") if metric else ("signature",)
            names = [name for name in names if name not in dropped]
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2 if wide else 1, 0, 0))
        for name in names:
            word = name in _WORDS
            table.add_column(name, justify="left" if word else "right", no_wrap=not word, overflow="fold")
        if wide:
            table.add_column("runtime", overflow="fold")
        for row, each in zip(manifest.targets, cells, strict=True):
            ran = [Text("\n".join(row.runtimes()), style="dim")] if wide else []
            table.add_row(*(Text(each[name], style=_style(row, name, metric)) for name in names), *ran)
        yield table
        if manifest.evaluation is not None:
            live, samples = figures.metric(manifest.evaluation.live), manifest.evaluation.samples
            yield Text(f"{manifest.evaluation.metric} of the live model: {live}, {samples} samples", style="dim")
        runtimes = manifest.runtimes()
        if not wide and runtimes:
            yield Text("runtimes: " + "; ".join(runtimes), style="dim")
        if manifest.comparison is not None:
            yield Text(_compared(manifest.comparison, manifest.evaluation), style="dim")
        if "inputs" not in names and kinds:
            yield Text(f"inputs: {kinds.pop()}", style="dim")
        yield from _reasons(manifest.targets)
        yield from _left_out(manifest.targets)
        yield from (Text("! ", style="yellow").append(note, style="default") for note in manifest.notes)
        told = [verdict.shortfall(row) for row in manifest.targets]
        for sentence in manifest.refusals:
            if sentence not in told:
                yield Text(f"{MARKS['failed']} ", style=STYLES["failed"]).append(sentence, style="default")


_WORDS = ("target", "variant", "signature", "status", "inputs")
_ALWAYS = (*_WORDS, "size", "error / limit", "latency")


def _style(row: Row, name: str, metric: str | None) -> str:
    """A figure has the colour of failure where its check failed."""
    if name == "status":
        return STYLES[row.status]
    check = {"SNR": "snr", "top-1": "top1", metric: "metric"}.get(name)
    failed = any(c.name == check and c.status != "passed" for c in row.checks)
    return STYLES["failed"] if failed else ""


def _compared(comparison: Comparison, evaluation: EvaluationRecord | None) -> str:
    """One line about the release that was current: what became worse by most."""
    told = []
    if (grown := comparison.worst("size")) is not None:
        told.append(f"size {grown.change:+.1%} at most ({grown.unit.title})")
    if evaluation is not None and (lost := comparison.worst("metric")) is not None:
        told.append(f"{evaluation.metric} {0 - (lost.change or 0):+.4f} at worst ({lost.unit.title})")
    return f"compared with release {comparison.version}: " + (", ".join(told) or "no row that both have")


def _reasons(rows: Sequence[Row]) -> list[Text]:
    return [
        Text(f"{MARKS[row.status]} {row.title}: ", style=STYLES[row.status]).append(row.reason, style="default")
        for row in rows
        if row.status != "passed" and row.reason
    ]


def _left_out(rows: Sequence[Row]) -> list[Text]:
    """A quiet line for each check that was not run and need not be."""
    lines = dict.fromkeys((row.target, check.name, check.detail) for row in rows for check in row.left_out())
    return [Text(f"{target}: {name} not run: {detail}", style="dim") for target, name, detail in lines]


def complaint(error: Exception) -> Text:
    """What is wrong, for stderr."""
    return Text("fanout: ", style="bold red").append(str(error), style="default")
