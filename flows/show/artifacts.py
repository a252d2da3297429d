"""What a run shows in Prefect's UI: its progress, a table of every row, and a report."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.exceptions import PrefectException
from prefect.logging import get_logger

from converters.contract.layout import REPORT
from converters.contract.values import UnitName
from converters.processes.meanwhile import meanwhile
from converters.release import figures
from converters.release.assemble import Released
from converters.release.comparison import Figure
from converters.release.manifest import Manifest, Row
from flows.settings import Settings
from flows.show.events import Event, Stage, listening
from flows.show.forecast import Forecast

_SHOW_SECONDS = 3.0
"""Prefect's own pages look no more often, and each update costs the server as much as a task."""
_AROUND = 3
"""Steps that are no conversion or check: build, export, release."""
_WORKING: tuple[Stage, ...] = ("converting", "checking")
_STEPS: dict[Stage, int] = {"checking": 1, "done": 2}
"""How many of a variant's two are over."""


@contextmanager
def live_progress(model: str, forecast: Forecast) -> Iterator[None]:
    """A progress artifact of the flow run this is called in, kept up to date from the model's events meanwhile.

    The share that is done and the time that is left are the forecast's; where it knows nothing, steps are counted.
    """
    tracker = _Tracker(model, forecast)
    with meanwhile(tracker.keep_showing), listening(tracker):
        yield


class _Tracker:
    """Counts finished steps of one model. Listeners are called one at a time, from the tasks' threads.

    The artifact is changed from a thread of its own, every few seconds at most, so that no task waits for the API.
    """

    def __init__(self, model: str, forecast: Forecast) -> None:
        self._model, self._forecast = model, forecast
        self._stages: dict[UnitName, Stage] = {}
        self._state = (0, f"{model}: starting")
        artifact = create_progress_artifact(progress=0.0, key=slug(f"{model}-progress"), description=self._state[1])
        assert isinstance(artifact, UUID)  # a coroutine only where an event loop runs
        self._artifact = artifact

    def __call__(self, event: Event) -> None:
        if event.model != self._model:
            return
        self._forecast(event)
        doing = event.detail or event.stage
        if event.target:
            self._stages[event.unit] = event.stage
            busy = [f"{stage} {unit.title}" for unit, stage in self._stages.items() if stage in _WORKING]
            doing = ", ".join(busy) or "releasing"
        steps = 2 if self._stages else int(event.stage == "exporting")
        steps += sum(_STEPS.get(stage, 0) for stage in self._stages.values())
        whole = _AROUND + 2 * len(self._stages) if self._stages else 20
        over = event.stage in ("released", "refused")
        self._state = (100 if over else min(99, 100 * steps // whole), f"{self._model}: {doing}")

    def _now(self) -> tuple[int, str]:
        """How much is done, in percent, and what is being done."""
        percent, doing = self._state
        ahead = self._forecast.ahead() if percent < 100 else None
        return self._state if ahead is None else (min(99, int(100 * ahead.share)), f"{doing}; {ahead.left()}")

    def keep_showing(self, over: threading.Event) -> None:
        """Bring the artifact up to date until `over`, and once more then."""
        shown = self._state
        while True:
            last = over.wait(_SHOW_SECONDS)
            if (now := self._now()) != shown:
                shown = now
                try:
                    update_progress_artifact(self._artifact, progress=float(shown[0]), description=shown[1])
                except (httpx.HTTPError, PrefectException) as error:
                    # The work goes on without being watched; a server that is gone ends the run by itself.
                    get_logger("flow_runs").warning("progress cannot be shown: %s", error)
            if last:
                return


def record(released: Released, settings: Settings) -> None:
    """The table of a version's rows, and its report, as artifacts of the flow run this is called in."""
    manifest = released.manifest
    _create(manifest, f"{released.sentence()}.", settings, ("rows", "report"), manifest.status)


def record_check(manifest: Manifest, settings: Settings) -> None:
    """The same for a release that was checked again."""
    verdict = "does not pass its checks any more." if manifest.refusals else "passes every check."
    verdict = f"Checked again: {manifest.model} {manifest.version} {verdict}"
    _create(manifest, verdict, settings, ("rows-again", "check"), "checked again")


def _create(manifest: Manifest, verdict: str, settings: Settings, keys: tuple[str, str], what: str) -> None:
    """Artifacts of these `keys`, the model's name before them."""
    name = f"{manifest.model} {manifest.version}: {what}"
    rows, report = (slug(f"{manifest.model}-{key}") for key in keys)
    create_table_artifact(_table(manifest, settings), key=rows, description=f"{name}, every row")
    create_markdown_artifact(_markdown(manifest, verdict, settings), key=report, description=name)


_LEFT = ("target", "variant", "signature", "status", "inputs")
_FIGURES = ("size", "error / limit", "SNR", "top-1")
_MORE = ("runtimes", "reason")


def _columns(manifest: Manifest) -> tuple[str, ...]:
    """Those of the table; of figures that no row has, none."""
    top1 = any(row.figure("top1") is not None for row in manifest.targets)
    shown = [name for name in _FIGURES if name != "top-1" or top1]
    metric = [manifest.evaluation.metric] if manifest.evaluation is not None else []
    return (*_LEFT, *shown, *metric, "latency")


def _table(manifest: Manifest, settings: Settings) -> list[dict[str, str]]:
    """Each row's cells, in Markdown; where our server serves them, its file is a link, and its status one to all of its checks."""
    metric = manifest.evaluation.metric if manifest.evaluation is not None else None
    report = report_address(manifest, settings)
    found = []
    for number, row in enumerate(manifest.targets):
        cells = {**figures.cells(row, metric), "file": _file(manifest, row, settings)}
        if report:
            cells["status"] = f"[{cells['status']}]({report}#row-{number})"
        found.append({name: cells[name] for name in (*_columns(manifest), *_MORE, "file")})
    return found


def _file(manifest: Manifest, row: Row, settings: Settings) -> str:
    """A link by which a row's output is fetched, a folder as a zip; its path where no server of ours serves it."""
    if row.path is None:
        return ""
    # model.json is of no use without the weights beside it
    path = row.path if not row.path.endswith("/model.json") else row.path.rpartition("/")[0]
    base = settings.reports
    return f"[{path}]({base}/{quote(manifest.model)}/{manifest.version}/{quote(path)})" if base else path


def _markdown(manifest: Manifest, verdict: str, settings: Settings) -> str:
    lines = [f"# {manifest.model} {manifest.version}: {manifest.status}", "", verdict, ""]
    if manifest.refusals:
        lines += ["## Why it is not promoted", "", *(f"- {_cell(refusal)}" for refusal in manifest.refusals), ""]
    lines += [f"**{_cell(note)}**\n" for note in manifest.notes]
    if manifest.evaluation is None:
        lines += ["No accuracy was measured: there is no labelled data.", ""]
    columns = _columns(manifest)
    aligned = [*("---" for _ in _LEFT), *("---:" for _ in columns[len(_LEFT) :]), "---"]
    lines += ["## Rows", "", f"| {' | '.join(map(_cell, columns))} | file |", f"| {' | '.join(aligned)} |"]
    for row in _table(manifest, settings):
        cells = [row[name] if name == "status" else _cell(row[name]) for name in columns]
        lines.append(f"| {' | '.join(cells)} | {row['file']} |")
    lines += _compared(manifest)
    lines += ["", f"{figures.size(manifest.bytes)} in {len(manifest.files)} files, made in {manifest.seconds:.1f} s. Run in "
              f"{'; '.join(map(_cell, manifest.runtimes())) or 'no runtime'}.", "", f"Source: {manifest.source.kind}, "
              f"`{manifest.source.digest}`", "", _report_link(manifest, settings)]  # fmt: skip
    return "\n".join(lines) + "\n"


def _compared(manifest: Manifest) -> list[str]:
    """What has become of the current release's figures."""
    if manifest.comparison is None or not manifest.comparison.differences:
        return []
    lines = ["", f"## Against release {manifest.comparison.version}", "", "| row | metric | size | error | latency |",
             "| --- | ---: | ---: | ---: | ---: |"]  # fmt: skip
    names: tuple[Figure, ...] = ("metric", "size", "error", "latency")
    for of in manifest.comparison.rows():
        first = next(iter(of.values()))
        told = [figures.change(of[name]) if name in of else "" for name in names]
        lines.append(
            f"| {' | '.join(map(_cell, (first.title, *(told if 'row' not in of else ('gone', '', '', '')))))} |"
        )
    return lines


def _report_link(manifest: Manifest, settings: Settings) -> str:
    """Where a person finds the HTML report: an address where our server serves it, a path elsewhere."""
    address = report_address(manifest, settings)
    if address:
        return f"[The whole report, with every check]({address})"
    return f"The whole report: `{settings.releases / manifest.model / str(manifest.version) / REPORT}`"


def report_address(manifest: Manifest, settings: Settings) -> str | None:
    """The address of a release's report, where a server of ours serves it."""
    base = settings.reports
    return f"{base}/{quote(manifest.model)}/{manifest.version}/{REPORT}" if base else None


def slug(text: str) -> str:
    """Text as the key of an artifact: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _cell(text: str) -> str:
    """Text that markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))
