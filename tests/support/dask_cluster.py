"""A Dask scheduler and workers of it, each a process of its own, as `dask scheduler` and `fanout worker` start them."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
from waiting import PATIENCE_SECONDS, wait_until


class DaskCluster:
    """A scheduler on a free loopback port; `start` and `have` add workers. All end with the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._names = (f"w{number}" for number in itertools.count(1))
        described = folder / "scheduler.json"
        command = [
            sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
            "--no-dashboard", "--scheduler-file", str(described),
        ]  # fmt: skip
        self.scheduler = self._popen("scheduler", command, {})
        wait_until(
            lambda: not self.alive() or (described.is_file() and described.read_text().strip()),
            lambda: self.log("scheduler"),
        )
        assert self.alive(), self.log("scheduler")
        self.address: str = json.loads(described.read_text())["address"]

    def __enter__(self) -> "DaskCluster":
        return self

    def __exit__(self, *exc: object) -> None:
        for process in [*self.workers.values(), self.scheduler]:
            process.terminate()
        for process in [*self.workers.values(), self.scheduler]:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def alive(self) -> bool:
        """Whether the scheduler runs."""
        return self.scheduler.poll() is None

    def have(self, number: int) -> list[str]:
        """At least so many workers, new ones where they are missing; the names of all that the scheduler knows then."""
        for _ in range(number - len(self._running())):
            self.start(next(self._names))
        self.settle()
        return self._running()

    def settle(self) -> None:
        """Wait until the scheduler knows the workers that run, and no other."""
        from distributed import Client

        def known() -> set[str]:
            return {worker["name"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()}

        with Client(self.address, set_as_default=False) as client:
            wait_until(lambda: known() == set(self._running()), lambda: (known(), self._running()))

    def _running(self) -> list[str]:
        return [name for name, process in self.workers.items() if process.poll() is None]

    def start(
        self, name: str, environment: Mapping[str, str] | None = None, *, nanny: bool = False
    ) -> "subprocess.Popen[bytes]":
        """Start a worker that does one unit at one time; with `nanny` as `dask worker` does."""
        command = [sys.executable, "-m", "flows", "worker", self.address, "--slots", "1", "--name", name]
        if nanny:
            command = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--nanny", "--name", name]
            command += ["--nthreads", "1", "--nworkers", "1", "--no-dashboard"]
        self.workers[name] = self._popen(name, command, environment or {})
        return self.workers[name]

    def log(self, name: str) -> str:
        """What a process printed."""
        return (self.folder / f"{name}.log").read_text()

    def worker_of(self, pid: int) -> str | None:
        """The worker that a process was started for."""
        try:
            above = {parent.pid for parent in psutil.Process(pid).parents()}
        except psutil.NoSuchProcess:
            return None
        return next((name for name, process in self.workers.items() if process.pid in above), None)

    def kill(self, name: str) -> None:
        """End a worker as a machine that fails does."""
        self.workers[name].send_signal(signal.SIGKILL)
        self.workers[name].wait(30)

    def stop(self, name: str) -> None:
        """End a worker that no other test may meet."""
        self.workers[name].terminate()
        self.workers[name].wait(PATIENCE_SECONDS)

    def _popen(self, name: str, command: list[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        folder = self.folder / name
        folder.mkdir()
        with (self.folder / f"{name}.log").open("wb") as log:
            # Dask keeps a worker's files there.
            variables = {**os.environ, "DASK_TEMPORARY_DIRECTORY": str(folder), **environment}
            return subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=subprocess.STDOUT)
