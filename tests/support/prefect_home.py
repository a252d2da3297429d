"""`fanout ui` for tests: server, worker and deployments of tiny models, a browser, and somebody who is told of failures."""

import base64
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import machines
import psutil
import samples
import yaml
from command import Server
from waiting import PATIENCE_SECONDS, alive, http_client, wait_until

from converters.config.read import NIGHTLY
from converters.javascript import programs

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
DRIVER = Path(__file__).with_name("prefect_ui.mjs")

HOLDING = """
import subprocess
import tf_keras

@tf_keras.saving.register_keras_serializable("holding")
class Holding(tf_keras.layers.Layer):
    @classmethod
    def from_config(cls, config):
        # The conversion to HDF5 loads the model again; while HOLD exists it sits here, with a process of its own.
        subprocess.run(["sh", "-c", "while [ -e 'HOLD' ]; do sleep 0.2; done"], check=True)
        return cls(**config)

def build():
    return tf_keras.Sequential(
        [tf_keras.Input((4,), name="x"), tf_keras.layers.Dense(2, "tanh", name="y"), Holding(name="z")]
    )
"""
"""A model whose conversion to HDF5 waits while the file HOLD exists."""


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Home:
    """A running `fanout ui`."""

    address: str
    folder: Path
    process: "subprocess.Popen[str]"
    auth: str | None = None
    posted: list[dict[str, Any]] = field(default_factory=list)
    client: httpx.Client = field(default_factory=http_client)

    @property
    def releases(self) -> Path:
        return self.folder / "releases"

    @property
    def hold(self) -> Path:
        """While this file exists, the conversion of the model `holding` waits."""
        return self.folder / "hold"

    def said(self) -> str:
        """What it has printed so far."""
        return (self.folder / "ui.log").read_text()

    def ask(self, path: str, **document: Any) -> Any:
        """POST to the API."""
        return self._answer("POST", path, json=document)

    def get(self, path: str) -> Any:
        """GET from the API."""
        return self._answer("GET", path)

    def _answer(self, method: str, path: str, **content: Any) -> Any:
        answer = self.client.request(method, f"{self.address}/api/{path}", headers=self.headers(), **content)
        return answer.raise_for_status().json()

    def headers(self) -> dict[str, str]:
        """What the API wants of a client."""
        if self.auth is None:
            return {}
        return {"Authorization": f"Basic {base64.b64encode(self.auth.encode()).decode()}"}

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"deployments/name/{name}/{name}")
        return found

    def pause(self, deployment: str) -> None:
        """No schedule starts it from now on."""
        path = f"{self.address}/api/deployments/{self.deployment(deployment)['id']}"
        self.client.patch(path, json={"paused": True}, headers=self.headers()).raise_for_status()

    def start(self, deployment: str, **parameters: Any) -> str:
        """Start a run as any program would; its id."""
        path = f"deployments/{self.deployment(deployment)['id']}/create_flow_run"
        return str(self.ask(path, parameters=parameters)["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"flow_runs/{run_id}")
        return found

    def wait(self, run_id: str) -> dict[str, Any]:
        """The run, as soon as it has ended."""
        wait_until(lambda: self.run(run_id)["state"]["type"] in FINAL, lambda: (self.run(run_id)["state"], self.said()))
        return self.run(run_id)

    def artifacts(self, run_id: str) -> dict[str, Any]:
        """Key -> data, of a flow run's artifacts."""
        found = self.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [run_id]}}, limit=100)
        return {a["key"]: json.loads(a["data"]) if a["type"] == "table" else a["data"] for a in found}

    def tasks(self, run_id: str, *names: str) -> dict[str, str]:
        """Task run name -> state name, of a run that has ended, once those of these names are recorded."""
        return Server(f"{self.address}/api", self.folder).task_runs(run_id, *names)

    def logs(self, run_id: str) -> list[str]:
        found = self.ask("logs/filter", logs={"flow_run_id": {"any_": [run_id]}}, limit=200, sort="TIMESTAMP_DESC")
        return [entry["message"] for entry in found]

    def browse(self, action: str, *given: str) -> dict[str, Any]:
        """Do something in a real browser; see tests/support/prefect_ui.mjs."""
        command = [str(programs.find_node()), str(DRIVER), self.address, action, *given]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def worker(self) -> psutil.Process:
        """The worker's process."""
        (worker,) = [p for p in psutil.Process(self.process.pid).children() if "worker" in p.cmdline()]
        return worker

    def working(self) -> list[psutil.Process]:
        """What runs below the worker: runs, their fork servers, converters, and what those started."""
        return self.worker().children(recursive=True)

    def holding(self) -> list[psutil.Process]:
        """Of these, the processes of the run whose conversion waits: all but the run's own."""
        below = [_below(run) for run in self.worker().children()]
        return next((found for found in below if any(str(self.hold) in " ".join(_cmdline(p)) for p in found)), [])

    def hold_a_conversion(self) -> str:
        """Start a run of `holding` and wait until its conversion sits there; the run's id."""
        self.hold.touch()
        run_id = self.start("deploy-model", model="holding", force=True)
        wait_until(self.holding, self.said)
        return run_id


def _below(process: psutil.Process) -> list[psutil.Process]:
    """All that it started; nothing of one that has ended meanwhile."""
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def write_configs(folder: Path, webhook: str) -> None:
    """Tiny models, and somebody to tell when they fail."""
    configs = folder / "configs"
    configs.mkdir()
    samples.write_spec(
        configs, samples.KERAS, name="tiny", targets={"tflite": {"variants": ["float32"]}, "hdf5": {}, "serving": {}}
    )
    samples.write_spec(configs, samples.MODULE, name="module", targets={"serving": {}})
    # Two minutes leave time to start, whatever minute it is.
    nightly = {"cron": "*/2 * * * *", "timezone": "Europe/Berlin"}
    samples.write_spec(configs, samples.KERAS, name="clock", targets={"hdf5": {}}, schedule=nightly)
    # HDF5 cannot hold a layer of one's own, which only shows after its conversion has loaded the model.
    targets = {"hdf5": {"optional": True}, "serving": {}}
    samples.write_spec(configs, HOLDING.replace("HOLD", str(folder / "hold")), name="holding", targets=targets)
    exactly = {"int8": {"error": 0.0, "reason": "eight bits cannot be exact"}}
    targets = {"tflite": {"variants": ["float32", "int8"], "tolerance": exactly}}
    samples.write_spec(configs, samples.KERAS, name="inexact", targets=targets)
    told = {"webhook": f"{webhook}/${{FANOUT_TEST_PATH}}", "command": f"cat > '{folder}/told.json'"}
    (configs / f"{NIGHTLY}.yaml").write_text(yaml.safe_dump({"schedule": "never", "on_failure": told}))


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that keeps what is posted to /hook; its address and the documents."""
    posted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/hook":
                posted.append(json.loads(body))
            self.send_response(204 if self.path == "/hook" else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", posted
    finally:
        server.shutdown()
        server.server_close()


def launch(
    folder: Path, port: int, *arguments: str, checkout: Path | None = None, **environment: str
) -> "subprocess.Popen[str]":
    """`fanout ui` as a person starts it, in this checkout or another, with a Prefect home and configs below `folder`."""
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "FANOUT_"))},
        "PREFECT_HOME": str(folder / "prefect"),
        "FANOUT_CONFIGS": str(folder / "configs"),
        "FANOUT_RELEASES": str(folder / "releases"),
        "FANOUT_TEST_PATH": "hook",
        **environment,
    }
    with (folder / "ui.log").open("a") as log:
        return subprocess.Popen(
            [checkout / ".venv/bin/python" if checkout else sys.executable, "-m", "flows", "ui", "--port", str(port), *arguments],
            env=variables, stdout=log, stderr=subprocess.STDOUT, text=True, cwd=checkout,
            preexec_fn=machines.unprivileged if checkout else None,
        )  # fmt: skip


@contextmanager
def at_home(
    folder: Path, *arguments: str, auth: str | None = None, checkout: Path | None = None, **environment: str
) -> Iterator[Home]:
    """Run it until the context is left, then end it as Ctrl-C does; nothing of it may be left.

    In another checkout than this one, by a user to whom permissions apply.
    """
    with listening() as (webhook, posted):
        if not (folder / "configs").exists():
            write_configs(folder, webhook)
        port = free_port()
        if auth is not None:
            environment["FANOUT_AUTH"] = auth
        process = launch(folder, port, *arguments, checkout=checkout, **environment)
        home = Home(f"http://127.0.0.1:{port}", folder, process, auth, posted)
        try:
            wait_until(lambda: "Ctrl-C ends it" in home.said() or process.poll() is not None, home.said)
            assert process.poll() is None, home.said()
            yield home
        finally:
            home.client.close()
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.terminate()
            process.wait(PATIENCE_SECONDS)
            wait_until(lambda: not any(alive(each.pid) for each in family))
