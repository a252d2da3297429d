"""Progress on stderr while a deploy runs: live on a terminal, plain lines elsewhere."""

import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from converters.release.figures import MARKS
from converters.release.manifest import Row
from flows.show.events import Event, Stage
from flows.show.forecast import OVER, Forecast

STYLES = {"passed": "green", "failed": "bold red", "unsupported": "yellow", "not_run": "magenta"}
_TOLD: tuple[Stage, ...] = ("changed", "assumed")
_WORKING: tuple[Stage, ...] = ("building", "exporting", "converting", "checking")


class Progress:
    """Listens to events and shows them, with what a forecast says of the rest; use as a context manager.

    With `live`, and on a terminal that can, lines are redrawn in place.
    """

    def __init__(self, console: Console, forecast: Forecast | None = None, *, live: bool = True) -> None:
        self._console, self._forecast = console, forecast
        self._started = time.monotonic()
        self._board = _Board(forecast)
        self._interrupted = False
        redrawn = live and console.is_terminal and not console.is_dumb_terminal
        self._live = Live(self._board, console=console, refresh_per_second=8, transient=True) if redrawn else None

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show one event; what comes after an interruption is only the threads' ending."""
        self._interrupted = self._interrupted or event.stage == "interrupted"
        if self._interrupted:
            return
        if self._forecast is not None:
            self._forecast(event)
        self._board.add(event)
        if self._live:
            if event.stage in (*OVER, *_TOLD):
                self._console.print(self._line(event))
            return
        if event.stage != "waiting":
            self._console.print(self._line(event), soft_wrap=True)

    def _line(self, event: Event) -> Text:
        line = Text(f"{time.monotonic() - self._started:6.1f} s  ", style="dim")
        line.append(event.model, style="bold")
        if event.target:
            line.append(f"  {event.unit.title}")
        if event.stage == "done":
            ahead = self._forecast.ahead() if self._forecast is not None else None
            line.append("  ").append(_outcome(event.rows, "" if ahead is None else f"  ({ahead.sentence()})"))
        elif event.stage in ("unchanged", "changed"):
            line.append(f"  {event.stage}", style="green" if event.stage == "unchanged" else "cyan")
            line.append(f"  {event.detail}" if event.detail else "", style="dim")
        elif event.released is not None:
            sentence = event.released.sentence()
            well = not event.released.manifest.refusals and event.released.only_here is None
            line.append(f"  {sentence.removeprefix(event.model).strip()}", style="green" if well else "red")
        elif event.stage == "failed":
            line.append("  failed", style="red")
        else:
            line.append(f"  {event.detail or event.stage}", style="cyan")
        return line


def _outcome(rows: tuple[Row, ...], after: str = "") -> Text:
    """What became of a conversion's rows, `after` that line the reasons of those that did not pass."""
    text = Text()
    for number, status in enumerate(dict.fromkeys(row.status for row in rows)):
        count = sum(row.status == status for row in rows)
        text.append(", " if number else "").append(
            status.replace("_", " ") + (f" ({count} signatures)" if count > 1 else ""), style=STYLES[status]
        )
    origins = {row.reused_from for row in rows if row.reused_from is not None}
    if origins:
        text.append(f", unchanged since {max(origins)}", style="dim")
    text.append(after, style="dim")
    for row in rows:
        if row.status != "passed" and row.reason:
            text.append(f"\n          {row.title}: {' '.join(row.reason.split())}", style="dim")
    return text


class _Board:
    """The models at work, a line for each conversion."""

    def __init__(self, forecast: Forecast | None) -> None:
        self._forecast = forecast
        self._lines: dict[tuple[str, str, str], tuple[Event, float]] = {}
        self._spinner = Spinner("dots")

    def add(self, event: Event) -> None:
        if event.stage in _TOLD:
            return
        if event.stage in OVER:
            self._lines = {key: line for key, line in self._lines.items() if key[0] != event.model}
            return
        if event.target:
            self._lines.pop((event.model, "", ""), None)
        self._lines[event.model, event.target, event.variant] = (event, time.monotonic())

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for event, since in list(self._lines.values()):
            working = event.stage in _WORKING
            state = (
                _outcome(event.rows) if event.stage == "done" else Text(event.stage, style="cyan" if working else "dim")
            )
            seconds = Text(f"{time.monotonic() - since:.0f} s" if working else "", style="dim")
            mark: RenderableType = self._spinner if working else Text(_mark(event))
            table.add_row(mark, Text(event.model, style="bold"), event.target, event.variant, state, seconds)
        ahead = self._forecast.ahead() if self._forecast is not None and self._lines else None
        return Group(table, *([] if ahead is None else [Text(ahead.sentence(), style="dim")]))


def _mark(event: Event) -> str:
    worst = next(
        (s for s in ("failed", "not_run", "unsupported", "passed") if any(r.status == s for r in event.rows)), ""
    )
    return MARKS.get(worst, " ")
