"""What a run shows in Prefect's UI: its progress, a table of every row, and a report."""

import contextvars
import re
import threading
from collections.abc import Iterator, Sequence
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
from converters.release import figures
from converters.release.assemble import Released
from converters.release.manifest import Manifest, Row
from flows.settings import Settings
from flows.show.events import Event, listening

_SHOW_SECONDS = 1.0
_AROUND = 3
"""Steps that are no conversion or check: build, export, release."""


@contextmanager
def live_progress(model: str) -> Iterator[None]:
    """A progress artifact of the flow run this is called in, kept up to date from the model's events meanwhile."""
    tracker = _Tracker(model)
    over = threading.Event()
    # The thread asks the API that this context is set up for.
    shower = threading.Thread(target=contextvars.copy_context().run, args=(tracker.keep_showing, over), daemon=True)
    shower.start()
    try:
        with listening(tracker):
            yield
    finally:
        over.set()
        shower.join()


class _Tracker:
    """Counts finished steps of one model. Listeners are called one at a time, from the tasks' threads.

    The artifact is changed from a thread of its own, once a second at most, so that no task waits for the API.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._planned: set[UnitName] = set()
        self._working: dict[UnitName, str] = {}
        self._steps = 0
        self._state = (0, f"{model}: starting")
        made = create_progress_artifact(progress=0.0, key=slug(f"{model}-progress"), description=self._state[1])
        assert isinstance(made, UUID)  # a coroutine only where an event loop runs
        self._artifact = made

    def __call__(self, event: Event) -> None:
        if event.model != self._model:
            return
        unit = event.unit
        doing = ""
        if event.stage == "waiting" and event.target:
            self._planned.add(unit)
            return
        if event.stage == "exporting":
            self._steps = 1
        if event.stage == "converting":
            self._steps = max(self._steps, 2)
        if event.stage in ("converting", "checking"):
            self._steps += event.stage == "checking"
            self._working[unit] = f"{event.stage} {unit.title}"
        elif event.stage == "done":
            self._steps += 1
            self._working.pop(unit, None)
        elif event.stage in ("building", "exporting", "queued"):
            doing = event.detail or event.stage
        else:
            self._working.clear()
            doing = event.detail or event.stage
        doing = doing or ", ".join(self._working.values()) or "releasing"
        whole = _AROUND + 2 * len(self._planned) if self._planned else 20
        over = event.stage in ("released", "refused")
        self._state = (100 if over else min(99, 100 * self._steps // whole), f"{self._model}: {doing}")

    def keep_showing(self, over: threading.Event) -> None:
        """Bring the artifact up to date until `over`, and once more then."""
        shown = self._state
        while True:
            last = over.wait(_SHOW_SECONDS)
            if self._state != shown:
                shown = self._state
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
    name = f"{manifest.model} {manifest.version}"
    create_table_artifact(
        _table(manifest.targets), key=slug(f"{manifest.model}-rows"), description=f"{name}: every row of the manifest"
    )
    text = _markdown(manifest, f"{released.sentence()}.", released.refusals, settings)
    create_markdown_artifact(text, key=slug(f"{manifest.model}-report"), description=f"{name}: {manifest.status}")


def record_check(found: Manifest, refusals: Sequence[str], settings: Settings) -> None:
    """The same for a release that was checked again."""
    name = f"{found.model} {found.version}"
    verdict = "does not pass its checks any more." if refusals else "passes every check."
    create_table_artifact(
        _table(found.targets), key=slug(f"{found.model}-rows-again"), description=f"{name}, checked again: every row"
    )
    text = _markdown(found, f"Checked again: {name} {verdict}", refusals, settings)
    create_markdown_artifact(text, key=slug(f"{found.model}-check"), description=f"{name}, checked again")


def _table(rows: Sequence[Row]) -> list[dict[str, str]]:
    return [
        {
            "target": row.target,
            "variant": figures.variant(row.variant),
            "signature": row.signature or "",
            "status": figures.status(row.status),
            "size": figures.size(row.bytes),
            "error / limit": figures.against(row.worst()),
            "latency": figures.latency(row.latency_ms()),
            "runtimes": "; ".join(row.runtimes()),
            "reason": row.reason or "",
        }
        for row in rows
    ]


def _markdown(manifest: Manifest, verdict: str, refusals: Sequence[str], settings: Settings) -> str:
    head = ("target", "variant", "signature", "status", "size", "error / limit", "latency")
    lines = [f"# {manifest.model} {manifest.version}: {manifest.status}", "", verdict, ""]
    if refusals:
        lines += ["## Why it is not promoted", "", *(f"- {_cell(refusal)}" for refusal in refusals), ""]
    lines += ["## Rows", "", f"| {' | '.join(head)} |", "| --- | --- | --- | --- | ---: | ---: | ---: |"]
    lines += [f"| {' | '.join(_cell(row[name]) for name in head)} |" for row in _table(manifest.targets)]
    runtimes = dict.fromkeys(name for row in manifest.targets for name in row.runtimes())
    total = sum(record.bytes for record in manifest.files.values())
    lines += ["", f"{figures.size(total)} in {len(manifest.files)} files, made in {manifest.seconds:.1f} s. Run in "
              f"{'; '.join(map(_cell, runtimes)) or 'no runtime'}.", "", f"Source: {manifest.source.kind}, "
              f"`{manifest.source.digest}`", "", _report_link(manifest, settings)]  # fmt: skip
    return "\n".join(lines) + "\n"


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
