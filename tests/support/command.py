"""A real Prefect server for the session, and the command line."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from sharing import Shared, locked
from waiting import http_client

START_SECONDS = 300
RECORD_SECONDS = 120
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Server:
    """A running Prefect server."""

    api: str
    home: Path

    def flow_runs(self, name: str) -> list[dict[str, Any]]:
        """The flow runs of that name, the newest first."""
        query = {"flow_runs": {"name": {"any_": [name]}}, "sort": "START_TIME_DESC"}
        return self._found("flow_runs/filter", query)

    def task_runs(self, flow_run_id: str, *names: str) -> dict[str, str]:
        """Task run name -> state name, of a flow run that has ended; no two have one name.

        The server records them a while after they end: this waits until all of these names are there and every state is
        final, if ever they are.
        """
        query = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
        deadline = time.monotonic() + RECORD_SECONDS
        while True:
            runs = self._found("task_runs/filter", query)
            # A run is there before its first state is.
            recorded = {run["name"] for run in runs if run["state"] and run["state"]["type"] in FINAL}
            if (len(recorded) == len(runs) and recorded.issuperset(names)) or time.monotonic() > deadline:
                states = {run["name"]: run["state"]["name"] for run in runs}
                assert len(states) == len(runs), sorted(run["name"] for run in runs)
                return states
            time.sleep(0.1)

    def logs(self, flow_run_id: str) -> list[str]:
        """What a flow run logged, the latest first."""
        query = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}, "limit": 200, "sort": "TIMESTAMP_DESC"}
        return [entry["message"] for entry in self._found("logs/filter", query)]

    def _found(self, path: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        with http_client() as client:
            answer: list[dict[str, Any]] = client.post(f"{self.api}/{path}", json=query).raise_for_status().json()
        return answer


@pytest.fixture(scope="session")
def server(shared: Shared) -> Iterator[Server]:
    """`prefect server start` on a free port with a home of its own: one for all workers, until the last has used it."""
    described, starting, used = (shared.folder / f"server.{name}" for name in ("json", "starting", "used"))
    process = None
    try:
        with ExitStack() as use:
            with locked(starting):
                use.enter_context(locked(used, shared=True))
                if not described.exists():
                    process = _start(shared.folder / "prefect", described)
            known = json.loads(described.read_text())
            running = Server(known["api"], Path(known["home"]))
            with _settings(running):
                yield running
    finally:
        if process is not None:
            with locked(starting), locked(used):
                described.unlink(missing_ok=True)
                process.terminate()
                process.wait(60)


def _start(home: Path, described: Path) -> "subprocess.Popen[bytes]":
    """Start a server and wait until it answers; where it is, is then in the file `described`."""
    home.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    api = f"http://127.0.0.1:{port}/api"
    deadline = time.monotonic() + START_SECONDS
    while not _healthy(api):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError((home / "server.log").read_text())
        time.sleep(0.2)
    described.write_text(json.dumps({"api": api, "home": str(home)}))
    return process


def _healthy(api: str) -> bool:
    try:
        with http_client() as client:
            return client.get(f"{api}/health").is_success
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
    """Call with arguments (and `releases=`): runs `fanout` against the server, outside the checkout.

    It runs in this process, with its fork server; with `process=True` in one of its own, where what is tested is about
    processes: how they end, all that is written to their stdout, an environment that children see, a call from a thread.
    """

    def run(
        *arguments: object, releases: Path, environment: dict[str, str] | None = None, process: bool = False
    ) -> Ran:
        variables = {
            **os.environ,
            "PREFECT_HOME": str(server.home),
            "PREFECT_API_URL": server.api,
            "FANOUT_RELEASES": str(releases),
            **(environment or {}),
        }
        variables = {name: value for name, value in variables.items() if value}
        return (_apart if process else _here)(list(map(str, arguments)), variables, releases.parent)

    return run


def _apart(arguments: list[str], variables: dict[str, str], folder: Path) -> Ran:
    command = [sys.executable, "-m", "flows", *arguments]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=folder, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


def _here(arguments: list[str], variables: dict[str, str], folder: Path) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with _surroundings(arguments, variables, folder), redirect_stdout(out), redirect_stderr(err):
        status = _status()
        _send_all()
    return Ran(status, out.getvalue(), err.getvalue())


@contextmanager
def _surroundings(arguments: list[str], variables: dict[str, str], folder: Path) -> Iterator[None]:
    """A process's arguments, environment and folder; what the command changed of them is gone with the block."""
    before, here, terminated = dict(os.environ), Path.cwd(), signal.getsignal(signal.SIGTERM)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    try:
        with mock.patch.object(sys, "argv", ["fanout", *arguments]):
            yield
    finally:
        signal.signal(signal.SIGTERM, terminated)
        os.environ.clear()
        os.environ.update(before)
        os.chdir(here)


@contextmanager
def _settings(server: Server) -> Iterator[None]:
    """Prefect in this process uses the server, in each of its threads; without heartbeats, whose end a run waits for."""
    from prefect.context import SettingsContext, _temporary_global_settings_context, get_settings_context
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, PREFECT_HOME

    before = get_settings_context()
    changes = {PREFECT_API_URL: server.api, PREFECT_HOME: server.home, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    after = SettingsContext(profile=before.profile, settings=before.settings.copy_with_update(updates=changes))
    with _temporary_global_settings_context(after), after:
        yield
        _send_all()


def _send_all() -> None:
    """What Prefect has still to send to the server; a process that ends sends it, too."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all()
    APILogWorker.drain_all()


def _status() -> int:
    """The exit status of the command that sys.argv names."""
    from flows import cli

    try:
        cli.main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except Exception:
        traceback.print_exc()
        return 1
    return 0
