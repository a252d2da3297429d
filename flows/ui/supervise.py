"""`fanout ui`: Prefect's server, a worker and the deployments, in the foreground, until Ctrl-C or SIGTERM.

Server and worker are processes of their own, each the leader of a session, so that only this process gets the
terminal's Ctrl-C and ends the others in order: first the worker's whole group (runs and their children are in it),
then, when what was running is marked, the server. If this process is killed, the kernel ends both (PR_SET_PDEATHSIG).
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import httpx
import psutil
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from converters.contract.errors import BadInput, ServerFailed, raised
from converters.processes.launch import bound
from flows import api, signals
from flows.settings import AUTH, AUTH_FILE, ROOT, Settings
from flows.ui import surroundings

if TYPE_CHECKING:
    from flows.ui.deployments import Plan

HOST, PORT = "127.0.0.1", 4200
START_SECONDS = 180.0
GRACE_SECONDS = 8.0
"""How long a run has to put its things away before it is killed; its children are ended in a fraction of this."""
RUNS_AT_ONCE = 2
"""Each run uses all cores; a second one keeps a long deploy from holding up a promotion."""
_LONGEST_PAUSE = 60.0
_TIDY_SECONDS = 600.0
"""How often what is old is removed from Prefect's database; more often where less than an hour and a half is kept."""


def serve(host: str, port: int, settings: Settings, console: Console) -> None:
    """Run until a signal comes. What a person needs to know goes to `console`.

    Raises:
        BadInput: the host is reachable from other machines and there is no password, it is no USER:PASSWORD, the
            port is taken, or a schedule is wrong.
        ServerFailed: the server ended by itself.
    """
    with signals.raising():
        try:
            _serve(host, port, settings, console)
        except signals.Ended:
            console.print(Text("ended", style="dim"))


def _serve(host: str, port: int, settings: Settings, console: Console) -> None:
    if settings.auth is None and (auth := os.environ.get(api.SERVER_AUTH)):
        settings = settings.model_copy(update={"auth": SecretStr(auth)})
    _require_safe(host, settings.auth)
    _require_free(host, port)
    address = api.address(host, port)
    for_server, for_worker = surroundings.configure(
        host, port, settings.model_copy(update={"reports": f"{address}/releases"})
    )
    with _running("server", [sys.executable, "-m", "flows.ui.server", host, str(port)], for_server, console) as server:
        console.print(Text("starting Prefect's server ...", style="dim"))
        # These import Prefect, which takes seconds, while the server starts.
        from prefect.client.orchestration import get_client

        from flows.ui import deployments, lost, retention, watching

        plan = deployments.plan(settings)
        _wait_until_up(f"{address}/api/health", server)
        with get_client(sync_client=True) as client:

            def recover(why: str) -> None:
                for name in lost.mark_crashed(client, why):
                    console.print(Text(f"{name} crashed; it can be retried in the UI", style="yellow"))

            def tidy() -> float:
                done = _tidy(lambda: retention.forget(client, settings.keep_days) < retention.AT_ONCE, console)
                kept = timedelta(days=settings.keep_days).total_seconds()
                return min(_TIDY_SECONDS, max(1.0, kept / 10)) if done else 1.0

            recover("what ran this was ended without a word; retry it")
            deployments.create_pool(client)
            deployments.register(client, plan.deployments)
            watcher = watching.Watcher(client, settings, plan, console)
            _describe(console, address, plan, settings)
            for problem in plan.problems:
                console.print(watching.wrong(problem), soft_wrap=True)
            console.print(Text("Ctrl-C ends it", style="dim"))
            try:
                command = deployments.worker_command(RUNS_AT_ONCE)
                start = partial(_running, "worker", command, for_worker, console)
                _keep_working(server, start, console, recover, [tidy, watcher.look])
            finally:
                if server.poll() is None:
                    lost.mark_crashed(client, "`fanout ui` was ended while this ran; retry it")


def _keep_working(
    server: "subprocess.Popen[bytes]",
    start: Callable[[], "AbstractContextManager[subprocess.Popen[bytes]]"],
    console: Console,
    recover: Callable[[str], None],
    chores: Sequence[Callable[[], float]],
) -> None:
    """Keep one worker going while the server lives; one that ends is replaced, after a pause that doubles.

    Each of the `chores` is called now and then, and says in how many seconds it should be again.
    """
    pause, due = 1.0, dict.fromkeys(chores, 0.0)
    while True:
        started = time.monotonic()
        with start() as worker:
            while worker.poll() is None:
                if server.poll() is not None:
                    raise ServerFailed(f"Prefect's server ended by itself, with exit status {server.returncode}")
                for chore in chores:
                    if time.monotonic() > due[chore]:
                        due[chore] = time.monotonic() + chore()
                time.sleep(0.2)
        console.print(Text(f"the worker ended with exit status {worker.returncode}; starting another", style="yellow"))
        recover("its worker was killed; retry it")
        pause = 1.0 if time.monotonic() - started > _LONGEST_PAUSE else min(_LONGEST_PAUSE, 2 * pause)
        time.sleep(pause)


def _tidy(forget: Callable[[], bool], console: Console) -> bool:
    """Remove what is old: whether that was all for now. `forget` says whether it was."""
    try:
        return forget()
    except httpx.HTTPError as error:  # a busy server; if it is gone, others say so
        console.print(Text(f"old runs were not removed, which is tried again later: {raised(error)}", style="dim"))
        return True


def _require_safe(host: str, auth: SecretStr | None) -> None:
    if auth is not None:
        user, colon, password = auth.get_secret_value().partition(":")
        if not (user and colon and password):
            raise BadInput(f"{AUTH}, or the first line of {AUTH_FILE}, must be USER:PASSWORD")
    elif not api.is_loopback(host):
        raise BadInput(
            f"other machines could reach {host}, and everything may be run from the UI; "
            f"set {AUTH}=USER:PASSWORD, or {AUTH_FILE} to a file that holds them, or stay at {HOST}"
        )


def _require_free(host: str, port: int) -> None:
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadInput(
                f"cannot listen on {host}:{port}: {error.strerror}; is another server there? choose another --port"
            ) from error


def _wait_until_up(health: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        if server.poll() is not None:
            raise ServerFailed(f"Prefect's server did not start: exit status {server.returncode}, see above")
        try:
            if httpx.get(health, timeout=2.0).is_success:
                return
        except httpx.HTTPError:
            pass
        if time.monotonic() > deadline:
            raise ServerFailed(f"Prefect's server did not answer at {health} within {START_SECONDS:g} s")
        time.sleep(0.2)


@contextmanager
def _running(
    what: str, command: Sequence[str], environment: Mapping[str, str], console: Console
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process in a session of its own, in the checkout; at the end nothing of that session is left."""
    process = subprocess.Popen(
        bound(command, signal.SIGTERM), cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        _end_session(process, what, console)


def _end_session(leader: "subprocess.Popen[bytes]", what: str, console: Console) -> None:
    """Ask every process of the session to end, and kill what has not after a few seconds."""
    deadline = time.monotonic() + GRACE_SECONDS
    below = [process for process in _session(leader.pid) if process.pid != leader.pid]
    if below:
        # The leader must neither start more nor end them in its own way meanwhile.
        _send(leader.pid, signal.SIGSTOP)
        for process in below:
            _send(process.pid, signal.SIGTERM)
        while any(process.pid != leader.pid for process in _session(leader.pid)) and time.monotonic() < deadline:
            time.sleep(0.1)
    for number in (signal.SIGTERM, signal.SIGCONT):
        _send(leader.pid, number)
    while (left := _session(leader.pid)) and time.monotonic() < deadline + 1:
        leader.poll()
        time.sleep(0.1)
    for process in left:
        _send(process.pid, signal.SIGKILL)
    if left:
        names = ", ".join(str(process.pid) for process in left)
        console.print(Text(f"the {what}'s processes {names} did not end when asked and were killed", style="dim"))
    leader.wait()


def _session(leader: int) -> list[psutil.Process]:
    """The live processes of a session, whoever their parent is by now."""
    members = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return members


def _send(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has ended meanwhile
        os.kill(process, number)


def _describe(console: Console, address: str, plan: "Plan", settings: Settings) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("Prefect UI", Text(address, style="bold cyan"))
    if settings.auth is not None:
        table.add_row("password", "as set; the UI asks for USER:PASSWORD")
    table.add_row("models", ", ".join(plan.models))
    for deployment in plan.deployments:
        for scheduled in deployment.scheduled:
            models = scheduled.parameters.get("model") or ", ".join(scheduled.parameters.get("models", ["every model"]))
            table.add_row("nightly", f"{scheduled.schedule.cron} ({scheduled.schedule.timezone}): {models}")
    table.add_row("releases", str(settings.releases))
    console.print(table)
