"""Configs that are written, changed or removed while `fanout ui` runs: its deployments follow, without a restart."""

from pathlib import Path
from typing import Any, TypeAlias

import httpx
from prefect.client.orchestration import SyncPrefectClient
from rich.console import Console
from rich.text import Text

from converters.contract.errors import BadInput, raised
from flows.settings import Settings
from flows.ui import deployments
from flows.ui.deployments import Plan

LOOK_SECONDS = 1.0
_Seen: TypeAlias = dict[str, Any]


class Watcher:
    """Brings the deployments up to date with the configs, and with the models that have releases.

    What is wrong with them is said, once, and what was right before stays.
    """

    def __init__(self, client: SyncPrefectClient, settings: Settings, plan: Plan, console: Console) -> None:
        self._client, self._settings, self._console = client, settings, console
        self._plan = plan
        self._told = set(plan.problems)
        self._before: _Seen | None = None
        self._done: _Seen | None = None

    def look(self) -> float:
        """Look for changes; in how many seconds to look again."""
        try:
            seen = self._seen()
            # A file that is still being written is read when it has stayed as it is from one look to the next.
            if seen == self._before and (seen != self._done or self._plan.problems):
                self._follow(self._done is None or {**seen, "": None} != {**self._done, "": None})
                self._done = seen
            self._before = seen
        except (BadInput, OSError) as error:
            self._tell([str(error)])
        except httpx.HTTPError as error:  # a busy server; if it is gone, others say so
            self._tell([f"the deployments were not brought up to date, which is tried again: {raised(error)}"])
        return LOOK_SECONDS

    def _follow(self, written: bool) -> None:
        """Read the configs, which were `written` anew, or releases alone have changed."""
        plan = deployments.plan(self._settings, self._plan)
        changed = [each for each in plan.deployments if each not in self._plan.deployments]
        deployments.register(self._client, changed)
        if written and (changed or set(plan.problems) != self._told):
            self._console.print(Text(f"configs were read again: {', '.join(plan.models)}", style="dim"), soft_wrap=True)
        self._plan = plan
        self._tell(plan.problems)

    def _tell(self, problems: list[str]) -> None:
        for problem in problems:
            if problem not in self._told:
                self._console.print(wrong(problem), soft_wrap=True)
        self._told = set(problems)

    def _seen(self) -> _Seen:
        """What there is, without reading it."""
        files = {str(path): _state(path) for path in self._settings.configs.glob("*.yaml")}
        return {**files, "": deployments.there(self._settings.releases)}


def wrong(problem: str) -> Text:
    """What is wrong with a config, for the console."""
    return Text("wrong config: ", style="yellow").append(problem, style="default")


def _state(path: Path) -> tuple[int, ...] | None:
    """Changes when the file does; None where it has just gone."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
