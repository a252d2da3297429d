"""Tables for people: a release's rows, a model's releases, this machine's runtimes."""

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from converters.contract import CheckResult
from converters.manifest import Manifest, Row
from flows.progress import MARKS, STYLES

_WIDE = 118
"""Columns from which a line has room for the runtimes too; below, they are listed once under the table."""


class ManifestTable:
    """One line for each row: what it is, how it fared, and the check that came nearest to its limit."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        manifest, wide = self._manifest, options.max_width >= _WIDE
        headline = Text(f"{manifest.model} {manifest.version}", style="bold")
        headline.append(f"  {manifest.status}", style=STYLES[manifest.status])
        yield headline.append(f"  {manifest.seconds:.1f} s", style="dim")
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2 if wide else 1, 0, 0))
        for column in ("target", "variant", "signature", "status"):
            table.add_column(column, overflow="fold")
        for column in ("size", "error / limit", "latency"):
            table.add_column(column, justify="right", no_wrap=True)
        if wide:
            table.add_column("runtime", overflow="fold")
        for row in manifest.targets:
            ran = [Text("\n".join(row.runtimes()), style="dim")] if wide else []
            table.add_row(*_cells(row), *ran)
        yield table
        runtimes = dict.fromkeys(name for row in manifest.targets for name in row.runtimes())
        if not wide and runtimes:
            yield Text("runtimes: " + "; ".join(runtimes), style="dim")
        yield from _reasons(manifest.targets)
        yield from _left_out(manifest.targets)


def _cells(row: Row) -> list[RenderableType]:
    return [
        row.target,
        row.variant if row.variant != "default" else "",
        row.signature or "",
        Text(f"{MARKS[row.status]} {row.status.replace('_', ' ')}", style=STYLES[row.status]),
        size(row.bytes) if row.bytes is not None else "",
        error_of(row.worst()),
        latency(row.latency_ms()),
    ]


def _reasons(rows: Sequence[Row]) -> list[Text]:
    lines = []
    for row in rows:
        if row.status != "passed" and row.reason:
            name = " ".join(
                part for part in (row.target, row.variant, row.signature or "") if part not in ("", "default")
            )
            lines.append(
                Text(f"{MARKS[row.status]} {name}: ", style=STYLES[row.status]).append(row.reason, style="default")
            )
    return lines


def _left_out(rows: Sequence[Row]) -> list[Text]:
    """A quiet line for each check that was not run and need not be."""
    found = dict.fromkeys((row.target, check.name, check.detail) for row in rows for check in row.left_out())
    return [Text(f"{target}: {name} not run: {detail}", style="dim") for target, name, detail in found]


def size(count: int) -> str:
    """Bytes for a person, in powers of 1000."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def error_of(check: CheckResult | None) -> str:
    """Measured against limit."""
    if check is None or check.measured is None or check.limit is None:
        return ""
    return f"{figure(check.measured)} / {figure(check.limit)}"


def figure(value: float) -> str:
    """Two significant digits: 0.031, 6.6e-7."""
    if value == 0 or value >= 1e-3:
        return f"{value:.2g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"


def latency(milliseconds: float | None) -> str:
    """Milliseconds for a person."""
    if milliseconds is None:
        return ""
    return f"{milliseconds:.3f} ms" if milliseconds < 1 else f"{milliseconds:.1f} ms"
