"""A Dask scheduler and workers of it, each a process of its own, as `dask scheduler` and `fanout worker` start them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

START_SECONDS = 90


class DaskCluster:
    """A scheduler on a free loopback port; `start` adds workers. All end with the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        described = folder / "scheduler.json"
        command = [
            sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
            "--no-dashboard", "--scheduler-file", str(described),
        ]  # fmt: skip
        self.scheduler = self._popen("scheduler", command, {})
        deadline = time.monotonic() + START_SECONDS
        while not described.is_file() or not described.read_text().strip():
            assert self.scheduler.poll() is None, self.log("scheduler")
            assert time.monotonic() < deadline, self.log("scheduler")
            time.sleep(0.1)
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

    @property
    def environment(self) -> dict[str, str]:
        """What a deploying process is told; the store is a directory."""
        return {"FANOUT_DASK": self.address, "FANOUT_STORE": str(self.folder / "store")}

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

    def _popen(self, name: str, command: list[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        folder = self.folder / name
        folder.mkdir()
        with (self.folder / f"{name}.log").open("wb") as log:
            # Dask keeps a worker's files there.
            variables = {**os.environ, "DASK_TEMPORARY_DIRECTORY": str(folder), **environment}
            return subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=subprocess.STDOUT)
