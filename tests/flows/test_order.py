"""The order of conversions and checks, with real Prefect tasks against a real server."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import Server
from prefect import flow, task
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner

from converters.contract.values import UnitName
from converters.release.manifest import Row
from converters.steps.convert import Conversion
from flows.order import Needs, measured_needs, run_all

PLANNED = [UnitName(target, "1") for target in "abcd"]


class Workshop:
    """Tasks that note when they begin, and how many work at one time."""

    def __init__(self, broken: UnitName | None = None) -> None:
        self.begun: list[tuple[str, UnitName]] = []
        self.most = 0
        self.working = 0
        self._lock = threading.Lock()
        self._broken = broken

    def work(self, what: str, key: UnitName) -> None:
        with self._lock:
            self.begun.append((what, key))
            self.working += 1
            self.most = max(self.most, self.working)
        time.sleep(0.05)
        with self._lock:
            self.working -= 1

    def run(
        self,
        costs: dict[UnitName, float],
        side_by_side: int,
    ) -> list[Row]:
        @task
        def convert(key: UnitName) -> Any:
            self.work("convert", key)
            if key == self._broken:
                raise RuntimeError("no result")
            return Conversion(target=key[0], variant=key[1], artifacts=[])

        @task
        def check(key: UnitName, conversion: Conversion) -> Any:
            self.work("check", key)
            row = Row(target=conversion.target, variant=key[1], signature="s", status="failed")
            return Failed(message="red", data=[row]) if key[0] == "b" else [row]

        @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))  # type: ignore[arg-type]
        def run() -> list[Row]:
            rows = run_all(
                PLANNED,
                side_by_side,
                lambda key: costs.get(key, float("inf")),
                convert.submit,
                check.submit,
            )
            return [row for key in PLANNED for row in rows[key]]

        return run()


@pytest.fixture(autouse=True)
def _at(server: Server) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: server.api, PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield


def test_run_all_gives_every_row_when_one_check_failed() -> None:
    assert [(row.target, row.variant) for row in Workshop().run({}, 2)] == PLANNED


def test_run_all_starts_longest_first_and_checks_at_once_when_costs_are_known() -> None:
    workshop = Workshop()
    workshop.run({("a", "1"): 1.0, ("b", "1"): 9.0, ("c", "1"): 4.0}, 1)
    order = [("d", "1"), ("b", "1"), ("c", "1"), ("a", "1")]  # of unknown cost first
    assert workshop.begun == [(what, key) for key in order for what in ("convert", "check")]


@pytest.mark.parametrize("limit", [1, 3])
def test_run_all_keeps_to_its_limit_when_more_is_waiting(limit: int) -> None:
    workshop = Workshop()
    workshop.run({}, limit)
    assert workshop.most == limit


def test_run_all_raises_when_a_task_gives_no_result() -> None:
    with pytest.raises(RuntimeError, match="no result"):
        Workshop(broken=("c", "1")).run({}, 2)


def test_measured_needs_is_empty_when_nothing_was_released(tmp_path: Path) -> None:
    assert measured_needs(tmp_path, "new") == Needs()
