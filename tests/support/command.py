"""A real Prefect server for the session, and the command line run as a person runs it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A running Prefect server."""

    api: str
    home: Path

    def flow_runs(self, name: str) -> list[dict[str, Any]]:
        """The flow runs of that name, the newest first."""
        query = {"flow_runs": {"name": {"any_": [name]}}, "sort": "START_TIME_DESC"}
        answer: list[dict[str, Any]] = httpx.post(f"{self.api}/flow_runs/filter", json=query).raise_for_status().json()
        return answer

    def task_runs(self, flow_run_id: str) -> dict[str, str]:
        """Task run name -> state name."""
        query = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
        answer = httpx.post(f"{self.api}/task_runs/filter", json=query).raise_for_status().json()
        return {run["name"]: run["state"]["name"] for run in answer}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`prefect server start` on a free port with a home of its own."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (home / "server.log").open("w")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    api = f"http://127.0.0.1:{port}/api"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _healthy(api):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((home / "server.log").read_text())
            time.sleep(0.2)
        yield Server(api, home)
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """stdout, which must be exactly one JSON document."""
        return json.loads(self.out)


Fanout = Callable[..., Ran]


@pytest.fixture(scope="session")
def fanout(server: Server) -> Fanout:
    """Call with arguments (and `releases=`): runs `python -m flows` against the server, outside the checkout."""

    def run(*arguments: object, releases: Path, environment: dict[str, str] | None = None) -> Ran:
        variables = {
            **os.environ,
            "PREFECT_HOME": str(server.home),
            "PREFECT_API_URL": server.api,
            "FANOUT_RELEASES": str(releases),
            **(environment or {}),
        }
        variables = {name: value for name, value in variables.items() if value}
        command = [sys.executable, "-m", "flows", *map(str, arguments)]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=releases.parent, check=False)
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
