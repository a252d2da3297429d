"""Tables for people: a release's rows, and what every check of them found."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from converters.contract.values import Status
from converters.reference.labelled import EvaluationRecord
from converters.release import figures, verdict
from converters.release.comparison import Comparison
from converters.release.figures import MARKS
from converters.release.manifest import Manifest, Row
from flows.show.progress import STYLES

_NAMES = ("target", "variant", "signature", "status")
"""Words, which are broken into lines where a line has no room even for them; figures never are."""
_RUNTIME = "runtime"
_LEAST = (_RUNTIME, "inputs", "signature", "SNR", "top-1", "latency", "size")
"""The columns that a line may lack, in the order in which they go; `signature` only if it is the same everywhere."""
_GAP = 2


class ManifestTable:
    """One line for each row: what it is, how it fared, and the check that came nearest to its limit.

    It has as many columns as the console has room for; what those say that went is said below. With `wide` it has all, and
    may be wider than the console, which must not crop it. With `checks` every check of every row follows.
    """

    def __init__(self, manifest: Manifest, *, wide: bool = False, checks: bool = False) -> None:
        self._manifest, self._wide, self._checks = manifest, wide, checks

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        manifest = self._manifest
        yield from _head(manifest)
        columns = _columns(manifest)
        chosen, gap = list(columns), _GAP
        if not self._wide:
            chosen, gap = _fitting(columns, _may_go(manifest), options.max_width)
        if columns:
            table = _table(manifest, columns, chosen, gap)
            room = max(options.max_width, _width(columns, chosen, gap)) if self._wide else options.max_width
            yield from console.render(table, options.update(width=room))
        yield from _below(manifest, [name for name in columns if name not in chosen])
        if self._checks:
            yield from _every_check(manifest.targets)


def _head(manifest: Manifest) -> Iterator[Text]:
    headline = Text(f"{manifest.model} {manifest.version}", style="bold")
    headline.append(f"  {manifest.status}", style=STYLES[manifest.status])
    if out := manifest.left_out():
        headline.append(f"  without {len(out)} of {len(manifest.targets)} rows", style=STYLES["failed"])
    yield headline.append(f"  {manifest.seconds:.1f} s", style="dim")
    if manifest.comparison is not None and (changes := manifest.comparison.contract_changes):
        line = Text(f"contract changed against release {manifest.comparison.version}: ", style="yellow")
        yield line.append("; ".join(changes), style="default")


def _columns(manifest: Manifest) -> dict[str, list[str]]:
    """What a table can show of the rows: a cell of each by the column's name, those that are empty everywhere left out."""
    metric = manifest.evaluation.metric if manifest.evaluation is not None else None
    cells = [figures.cells(row, metric) for row in manifest.targets]
    always = (*_NAMES, "size", "error / limit", metric, "latency")
    columns = {
        name: [each[name] for each in cells]
        for name in (cells[0] if cells else ())
        if name not in ("runtimes", "reason") and (name in always or any(each[name] for each in cells))
    }
    if cells and manifest.runtimes():
        columns[_RUNTIME] = ["\n".join(row.runtimes()) for row in manifest.targets]
    return columns


def _may_go(manifest: Manifest) -> list[str]:
    several = len({row.signature for row in manifest.targets if row.signature is not None}) > 1
    return [name for name in _LEAST if name != "signature" or not several]


def _fitting(columns: dict[str, list[str]], may_go: Sequence[str], room: int) -> tuple[list[str], int]:
    """The columns for which a line has room, and how far apart."""
    chosen = list(columns)
    for name in may_go:
        if _width(columns, chosen, 1) <= room:
            break
        chosen = [each for each in chosen if each != name]
    return chosen, _GAP if _width(columns, chosen, _GAP) <= room else 1


def _width(columns: dict[str, list[str]], chosen: Sequence[str], gap: int) -> int:
    widest = [
        max(cell_len(line) for cell in (name, *columns[name]) for line in cell.split("\n")) + gap for name in chosen
    ]
    return sum(widest) - gap


def _table(manifest: Manifest, columns: dict[str, list[str]], chosen: Sequence[str], gap: int) -> Table:
    """The chosen columns; a row has a line for each of its runtimes where these are shown."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, gap, 0, 0))
    for name in chosen:
        word = name in (*_NAMES, "inputs", _RUNTIME)
        table.add_column(name, justify="left" if word else "right", no_wrap=not word, overflow="fold")
    for number, row in enumerate(manifest.targets):
        cells = {name: columns[name][number] for name in chosen}
        if _RUNTIME in cells and "latency" in cells:
            known = {runtime: check.latency_ms for runtime, check in row.latencies().items()}
            cells["latency"] = "\n".join(figures.latency(known.get(runtime)) for runtime in row.runtimes())
        metric = manifest.evaluation.metric if manifest.evaluation is not None else None
        table.add_row(*(Text(cell, style=_style(row, name, metric)) for name, cell in cells.items()))
    return table


def _style(row: Row, name: str, metric: str | None) -> str:
    """A figure has the colour of failure where its check failed."""
    if name in ("status", _RUNTIME):
        return STYLES[row.status] if name == "status" else "dim"
    check = {"SNR": "snr", "top-1": "top1", metric: "metric"}.get(name)
    failed = any(c.name == check and c.status != "passed" for c in row.checks)
    return STYLES["failed"] if failed else ""


def _below(manifest: Manifest, gone: Sequence[str]) -> Iterator[RenderableType]:
    """What the table does not say, `gone` being the columns that it lacks: accuracy, runtimes, comparison, reasons, notes."""
    if manifest.evaluation is not None:
        live, samples = figures.metric(manifest.evaluation.live), manifest.evaluation.samples
        yield Text(f"{manifest.evaluation.metric} of the live model: {live}, {samples} samples", style="dim")
    elif manifest.targets:
        yield _marked(Text("!", style="yellow"), Text(_UNMEASURED))
    if _RUNTIME in gone:
        yield _by_runtime(manifest)
    if manifest.comparison is not None:
        yield Text(_compared(manifest.comparison, manifest.evaluation), style="dim")
    for name, values in (
        ("signature", dict.fromkeys(row.signature for row in manifest.targets if row.signature is not None)),
        ("inputs", dict.fromkeys(row.data for row in manifest.targets if row.data is not None)),
    ):
        if name in gone and values:
            yield Text(f"{name}: {', '.join(map(str, values))}", style="dim")
    yield from _reasons(manifest.targets)
    yield from _left_out(manifest.targets)
    yield from (_marked(Text("!", style="yellow"), Text(note)) for note in manifest.notes)
    told = [verdict.shortfall(row) for row in manifest.targets]
    for sentence in manifest.refusals:
        if sentence not in told:
            yield _marked(Text(MARKS["failed"], style=STYLES["failed"]), Text(sentence))


_UNMEASURED = (
    "no accuracy was measured: there is no labelled data ('evaluation' in the config), so it is known that the files compute "
    "what the model does, not whether that is right"
)


def _by_runtime(manifest: Manifest) -> Table:
    """A line for each runtime: from the shortest to the longest latency of the rows that it ran."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
    table.add_column(_RUNTIME, style="dim", overflow="fold")
    table.add_column("latency", justify="right", no_wrap=True)
    for runtime in manifest.runtimes():
        known = [row.latencies()[runtime] for row in manifest.targets if runtime in row.latencies()]
        table.add_row(runtime, Text(figures.latencies(known) or "not measured"))
    return table


def _compared(comparison: Comparison, evaluation: EvaluationRecord | None) -> str:
    """One line about the release that was current: what became worse by most; a latency within the spread of calls has not."""
    told = []
    if (grown := comparison.worst("size")) is not None:
        told.append(f"size {grown.change:+.1%} at most ({grown.unit.title})")
    if evaluation is not None and (lost := comparison.worst("metric")) is not None:
        told.append(f"{evaluation.metric} {0 - (lost.change or 0):+.4f} at worst ({lost.unit.title})")
    if (slower := comparison.worst("latency")) is not None and (slower.change or 0) > 0:
        told.append(f"latency {slower.change:+.0%} at most ({slower.unit.title})")
    return f"compared with release {comparison.version}: " + (", ".join(told) or "no row that both have")


_MOST_NAMED = 3


def _reasons(rows: Sequence[Row]) -> Iterator[RenderableType]:
    """Why rows did not pass, once for all of which the same is said."""
    same: dict[tuple[Status, str], list[str]] = {}
    for row in rows:
        if row.status != "passed" and row.reason:
            same.setdefault((row.status, row.reason), []).append(row.title)
    for (status, reason), titles in same.items():
        more = f" and {len(titles) - _MOST_NAMED} more" if len(titles) > _MOST_NAMED else ""
        said = Text(f"{', '.join(titles[:_MOST_NAMED])}{more}: ", style=STYLES[status]).append(reason, style="default")
        yield _marked(Text(MARKS[status], style=STYLES[status]), said)


def _marked(mark: Text, said: Text) -> Table:
    """A sentence whose further lines begin below its first, not below the mark."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column()
    grid.add_column(overflow="fold")
    grid.add_row(mark, said)
    return grid


def _left_out(rows: Sequence[Row]) -> list[Text]:
    """A quiet line for each check that was not run and need not be."""
    lines = dict.fromkeys((row.target, check.name, check.detail) for row in rows for check in row.left_out())
    return [Text(f"{target}: {name} not run: {detail}", style="dim") for target, name, detail in lines]


def _every_check(rows: Sequence[Row]) -> Iterator[Text]:
    for row in rows:
        yield Text(f"\n{row.title}", style="bold")
        for check in row.checks:
            line = Text(f"  {MARKS[check.status]} {check.name}", style=STYLES[check.status])
            line.append(f"  {figures.against(check)}".rstrip(), style="default")
            line.append(f"  {check.runtime}", style="dim")
            yield line.append(f"  {check.detail}" if check.detail else "", style="default")


def complaint(error: Exception) -> Text:
    """What is wrong, for stderr."""
    return Text("fanout: ", style="bold red").append(str(error), style="default")
