"""What a command takes: wall time, memory of all its processes, and what it tells of its stages."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from converters.processes import memory

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Run:
    """One command: wall time, peak memory of all its processes (proportional set size, GB), and what it told."""

    what: str
    seconds: float
    peak_gb: float
    stages: dict[str, float] = field(default_factory=dict)


def timed(what: str, command: list[Any], statuses: tuple[int, ...], root: Path = ROOT, **environment: str) -> Run:
    """Run it in a checkout, and watch its memory and that of all it starts."""
    variables = {
        **os.environ,
        "PYTHONPATH": str(root),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **environment,
    }
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], env=variables, stdout=out, stderr=err, cwd=root)
        watched = _Watched(process.pid)
        status = process.wait()
        seconds = time.perf_counter() - started
        peak = watched.end()
        out.seek(0)
        err.seek(0)
        if status not in statuses:
            raise SystemExit(f"{what} ended with status {status}:\n{err.read()[-3000:]}")
        text = out.read().strip()
    return Run(what, seconds, peak, _stages(text))


def _stages(text: str) -> dict[str, float]:
    """Seconds by stage: of a script from its last line, of a deploy from its manifests."""
    if not text.startswith('{"manifests"') and '"manifests"' not in text[:40]:
        return {str(name): float(value) for name, value in json.loads(text.splitlines()[-1]).items()}
    stages: dict[str, float] = {}
    for manifest in json.loads(text)["manifests"]:
        stages |= {name: stages.get(name, 0.0) + value for name, value in manifest["source"].get("seconds", {}).items()}
        for row in manifest["targets"]:
            for step, value in row["seconds"].items():
                name = f"{step} {row['target']} {row['variant']}".removesuffix(" default")
                stages[name] = stages.get(name, 0.0) + value
    return stages


class _Watched:
    """The most that a process and all below it hold at one time, by proportional set size, sampled as the product does."""

    def __init__(self, pid: int) -> None:
        self._over = threading.Event()
        self._most = 0
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self._thread.start()

    def end(self) -> float:
        """GB."""
        self._over.set()
        self._thread.join()
        return self._most / 1e9

    def _watch(self, pid: int) -> None:
        while not self._over.wait(memory.SAMPLE_SECONDS):
            try:
                root = psutil.Process(pid)
                self._most = max(self._most, memory.proportional([root, *root.children(recursive=True)]))
            except psutil.NoSuchProcess:
                return


@contextmanager
def server(home: Path) -> Iterator[str]:
    """A Prefect server of its own on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home.mkdir(parents=True)
    os.environ |= {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    api = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 120
            while not _healthy(api):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the Prefect server did not start:\n{(home / 'server.log').read_text()[-2000:]}")
                time.sleep(0.3)
            yield api
        finally:
            process.terminate()
            process.wait(30)


def _healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False
