"""The ModelServer itself, where a machine has one: found, started on a release's layout, asked, stopped.

In order: one that runs at the addresses in FANOUT_MODEL_SERVER (`grpc=HOST:PORT,rest=HOST:PORT`), the program
tensorflow_model_server on PATH, an image of tensorflow/serving that Docker holds; nothing is ever pulled. An address is
the machine's and not the model's, so it is in the environment: a release that is checked elsewhere must not look for it.

A server that was started listens for as long as the check takes: the program on all interfaces, as it always does,
the container on loopback alone. It ends with the process that started it. The engine, which owns a container, does not
see that process end; so the container lives only as long as the standard input that `docker run` holds open for it.

Flags and words of its log: tensorflow_serving/model_servers/main.cc, servables/tensorflow/saved_model_warmup_util.cc.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING

from converters.contract.errors import BadInput, Damaged, MissingRuntime, ServerFailed, said
from converters.contract.target import Cases
from converters.contract.values import Artifact, Frozen, Prediction, Tensors
from converters.processes import launch
from converters.targets.serving import NAME as SERVING
from converters.targets.serving import layout, warmup
from converters.targets.serving.layout import CONFIG, RELEASES, models_config

if TYPE_CHECKING:
    from converters.targets.serving.client import Client, Servable

NAME = "model_server"
PROGRAM = "tensorflow_model_server"
ADDRESSES = "FANOUT_MODEL_SERVER"
IMAGE = "tensorflow/serving"

_ADDRESSES = re.compile(r"grpc=(?P<grpc>[^\s,=]+:\d+),rest=(?P<rest>[^\s,=]+:\d+)")
_VERSION = re.compile(r"ModelServer:\s*([^\s+]+)")
_WARMED_UP = re.compile(r"Number of warmup records read: (\d+)")
_SHARE = 0.8
_PROBE_SECONDS = 20.0
_CONNECT_SECONDS = 5.0
_STOP_SECONDS = 5.0
_PORTS = {"grpc": 8500, "rest": 8501}
"""Where the server listens inside its container."""
# `sh` is told on file descriptor 3 that nobody holds its standard input any more; background jobs have none of their own.
_WHILE_HELD = 'exec 3<&0; "$@" & server=$!; (cat <&3 >/dev/null; kill $server) & wait $server'


def find() -> "Remote | Program | Container":
    """The one to ask. Raises MissingRuntime; BadInput where FANOUT_MODEL_SERVER is not as it must be."""
    if given := os.environ.get(ADDRESSES):
        found = _ADDRESSES.fullmatch(given.strip())
        if found is None:
            raise BadInput(f"{ADDRESSES} is {given!r}; it must be grpc=HOST:PORT,rest=HOST:PORT")
        return Remote(grpc=found["grpc"], rest=found["rest"])
    if path := shutil.which(PROGRAM):
        return Program(path=Path(path))
    return _container()


def predict(artifacts: Sequence[Artifact], cases: Cases, seconds: float) -> list[Prediction]:
    """Have the servable served and asked, in four fifths of the time, so that the server is stopped, and says why, first.

    Raises MissingRuntime, BadInput, ServerFailed, Damaged.
    """
    deadline = time.monotonic() + _SHARE * seconds
    with tempfile.TemporaryDirectory(prefix="fanout-") as work:
        return find().predict(artifacts, cases, Path(work), deadline)


def _container() -> "Container":
    """The image that Docker would run: of this TensorFlow's version, the latest, or another. Raises MissingRuntime."""
    wanted = package_version("tensorflow")
    pull = f"`docker pull {IMAGE}:{wanted}`"
    elsewhere = f"or set {ADDRESSES} to one that runs"
    docker = shutil.which("docker")
    if docker is None:
        raise MissingRuntime(
            f"no ModelServer is on this machine: install {PROGRAM}, or Docker and its image by {pull}, {elsewhere}"
        )
    engine = _said([docker, "version", "--format", "{{.Server.Version}}"])
    if engine is None:
        raise MissingRuntime(
            f"no ModelServer is on this machine, and Docker's engine does not answer: install {PROGRAM}, "
            f"or start the engine and get its image by {pull}, {elsewhere}"
        )
    tags = (_said([docker, "image", "ls", "--format", "{{.Tag}}", IMAGE]) or "").split()
    usable = [tag for tag in tags if "devel" not in tag and tag != "<none>"]
    if not usable:
        raise MissingRuntime(
            f"no ModelServer is on this machine: install {PROGRAM}, or get Docker's image by {pull}, {elsewhere}"
        )
    tag = next((tag for tag in (wanted, "latest") if tag in usable), usable[0])
    return Container(docker=Path(docker), image=f"{IMAGE}:{tag}")


def _said(command: Sequence[str]) -> str | None:
    """What a program prints; None where it fails, hangs or cannot be started."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@dataclass(frozen=True)
class _Layout:
    """What is to be served: SERVING/VERSION of a release, the model's name, and how many warmup requests it holds."""

    servable: Path
    model: str
    warmups: int

    @property
    def version(self) -> int:
        return int(self.servable.name)

    def write(self, root: Path, releases: str, link: bool) -> Path:
        """RELEASES as the server is to see it, by the path `releases`; returns its models.config.

        `serving` is a link to the release's, or a directory over which it can be mounted.
        """
        release = root / self.model / str(self.version)
        release.mkdir(parents=True)
        if link:
            (release / SERVING).symlink_to(self.servable.parent.absolute())
        else:
            (release / SERVING).mkdir()
        (root / self.model / "current").symlink_to(str(self.version))
        (root / CONFIG).write_text(models_config([self.model], releases))
        return root / CONFIG


def _layout(servable: Path) -> _Layout:
    """Model name and number of requests are read from the warmup file. Raises Damaged."""
    try:
        logs = warmup.logs(servable / layout.WARMUP)
    except Damaged as error:
        raise Damaged(f"the model's name is not to be had: {error}") from error
    names = [log.predict_log.request.model_spec.name for log in logs]
    if len(set(names)) != 1 or not names[0]:
        raise Damaged(f"the model's name is not to be had: {layout.WARMUP.name} names {sorted(set(names))}")
    return _Layout(servable, names[0], len(names))


@dataclass(frozen=True)
class _Running:
    """A server to be asked; `process` and `log` are those of one that was started for it."""

    runtime: str
    grpc: str
    rest: str
    how: str
    process: "subprocess.Popen[bytes] | None" = None
    log: Path | None = None

    def require_alive(self, when: str) -> None:
        """Raises ServerFailed where the server was started and has ended."""
        status = self.process.poll() if self.process is not None else None
        if status is not None:
            ended = f"signal {-status}" if status < 0 else f"exit status {status}"
            raise ServerFailed(f"{self.how} ended with {ended} {when}{self._last_words()}")

    def wait_available(self, client: "Client", deadline: float) -> None:
        """Wait until the server says AVAILABLE of the version. Raises ServerFailed."""
        started, state = time.monotonic(), "unknown to it"
        wanted = f"{client.model} {client.version}"
        if self.process is None:
            _require_listening(self.grpc, self.rest)
        while time.monotonic() < deadline:
            self.require_alive("before it served the model")
            known = client.versions(deadline, starting=self.process is not None)
            found = next((version for version in known if version.number == client.version), None)
            if found is not None and found.state == "AVAILABLE":
                return
            if found is not None and found.error:
                raise ServerFailed(f"{self.how} could not load {wanted}: {said(found.error)}")
            if self.process is None and found is None:
                has = f"has version {', '.join(str(v.number) for v in known)} of it" if known else "knows no such model"
                raise ServerFailed(f"{self.how} does not serve {wanted}: it {has}")
            state = found.state if found is not None else state
            time.sleep(0.1)
        raise ServerFailed(
            f"{wanted} was not AVAILABLE in {self.how} after {time.monotonic() - started:.1f} s: {state}"
        )

    def warmup(self, layout: _Layout) -> str:
        """What is known of the warmup requests. Raises ServerFailed where its log says that they were not replayed."""
        if self.log is None:
            return "whether it replayed the warmup requests is not to be seen from here"
        said = self.log.read_text(errors="replace")
        if "No warmup data file found" in said:
            raise ServerFailed(f"{self.how} found no warmup requests, says its log")
        replayed = _WARMED_UP.findall(said)
        if not replayed:
            return "its log says nothing of warmup requests, which it replays before it is AVAILABLE"
        if int(replayed[-1]) != layout.warmups:
            raise ServerFailed(f"{self.how} replayed {replayed[-1]} of {layout.warmups} warmup requests, says its log")
        return f"{replayed[-1]} warmup request{'s' if layout.warmups > 1 else ''} replayed, says its log"

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log is not None else []
        blaming = [line for line in lines if "error" in line.lower()] or lines
        return f": {said(blaming[-1])}" if blaming else ""


class _Server(Frozen):
    """What the three kinds share: how a server is asked."""

    def running(self, layout: _Layout, work: Path) -> AbstractContextManager[_Running]:
        """The server, started if need be and stopped at the end."""
        raise NotImplementedError

    def predict(self, artifacts: Sequence[Artifact], cases: Cases, work: Path, deadline: float) -> list[Prediction]:
        """Predict over gRPC and REST for each signature; classify or regress too where its method name says so.

        Each call has its share of the time that is left, so that one that hangs leaves some to the others.
        Raises ServerFailed, Damaged.
        """
        from converters.targets.serving import client as serving_client

        (servable,) = {artifact.path for artifact in artifacts}
        assert servable is not None
        layout = _layout(servable)
        known = serving_client.servables(servable)
        started = time.monotonic()
        with (
            self.running(layout, work) as running,
            serving_client.Client(running.grpc, running.rest, layout.model, layout.version) as client,
        ):
            running.wait_available(client, deadline)
            available = time.monotonic() - started
            replayed = running.warmup(layout)
            plans = [_Plan.of(artifact, known) for artifact in artifacts]
            left = sum(len(plan.calls) for plan in plans)
            answers = []
            for plan in plans:
                predictions = []
                for how, method in plan.calls:
                    now = time.monotonic()
                    until = now + max(deadline - now, 0) / left
                    predictions.append(plan.ask(running, client, how, method, cases[plan.key], until))
                    left -= 1
                since = f"AVAILABLE after {available:.1f} s" if running.process is not None else "AVAILABLE"
                detail = "; ".join([f"{running.how}: {since}", replayed, *plan.notes])
                answers.append(Prediction(runtime=running.runtime, ran=detail, also=predictions))
            return answers


@dataclass(frozen=True)
class _Plan:
    """How one signature is asked: (grpc or rest, method) of each call, and what cannot be asked."""

    key: str
    servable: "Servable"
    calls: list[tuple[str, str]]
    notes: list[str]

    @staticmethod
    def of(artifact: Artifact, known: Mapping[str, "Servable"]) -> "_Plan":
        from converters.targets.serving import client as serving_client
        from converters.targets.serving import wire as tensor_wire

        key = artifact.signature or ""
        if key not in known:
            raise Damaged(f"saved_model.pb has no signature {key!r} that can be asked")
        servable = known[key]
        unfit = tensor_wire.not_in_json(servable.signature)
        calls = [("grpc", "predict")] + ([("rest", "predict")] if unfit is None else [])
        if servable.method != serving_client.PREDICT:
            calls += [("grpc", servable.method), ("rest", servable.method)]
        return _Plan(
            key, servable, calls, [f"not asked over REST, whose JSON has no such type: {unfit}"] if unfit else []
        )

    def ask(
        self, running: _Running, client: "Client", how: str, method: str, cases: Sequence[Tensors], deadline: float
    ) -> Prediction:
        """What it returns for every case, or the error that ended it."""
        from converters.processes.timing import median_ms

        runtime = f"{running.runtime} {how}" + (f" {method}" if method != "predict" else "")

        def call(inputs: Tensors) -> Tensors:
            return client.ask(how, self.key, self.servable, inputs, method, deadline)

        try:
            running.require_alive("before it was asked")
            outputs = [call(inputs) for inputs in cases]
            latency = median_ms(lambda: call(cases[-1]))
        except ServerFailed as error:
            return Prediction(runtime=runtime, error=_blame(running, error))
        return Prediction(runtime=runtime, outputs=outputs, latency_ms=latency)


def _blame(running: _Running, error: ServerFailed) -> str:
    """The error, or that the server has ended, which a connection notices before the parent does."""
    if running.process is not None:
        try:
            running.process.wait(0.5)
            running.require_alive("while it was asked")
        except subprocess.TimeoutExpired:
            return str(error)
        except ServerFailed as ended:
            return str(ended)
    return str(error)


def _require_listening(*addresses: str) -> None:
    """Raises ServerFailed where nobody takes a connection at one of the addresses."""
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise ServerFailed(f"nothing listens at {address}: {error}; correct or unset {ADDRESSES}") from error


class Remote(_Server):
    """A server that somebody else runs."""

    grpc: str
    rest: str

    def describe(self) -> str:
        """Where it is, for a person. Raises MissingRuntime where nothing listens there."""
        try:
            _require_listening(self.grpc, self.rest)
        except ServerFailed as error:
            raise MissingRuntime(str(error)) from error
        return f"version unknown (at {self.grpc} and {self.rest}, by {ADDRESSES})"

    @contextmanager
    def running(self, layout: _Layout, work: Path) -> Iterator[_Running]:
        """It runs already."""
        how = f"the server at {self.grpc}" if self.grpc == self.rest else f"the server at {self.grpc} and {self.rest}"
        yield _Running(f"ModelServer at {self.grpc}", self.grpc, self.rest, how)


class Program(_Server):
    """The program on this machine."""

    path: Path

    def describe(self) -> str:
        """Version and path."""
        return f"{self._version() or 'version unknown'} ({self.path})"

    def _version(self) -> str:
        found = _VERSION.search(_said([str(self.path), "--version"]) or "")
        return found[1] if found else ""

    @contextmanager
    def running(self, layout: _Layout, work: Path) -> Iterator[_Running]:
        """Started on free ports, on RELEASES as the release would have it."""
        ports = _free_ports()
        root = work / "models"
        config = layout.write(root, str(root), link=True)
        command = [
            str(self.path),
            *(f"--port={ports['grpc']}", f"--rest_api_port={ports['rest']}"),
            *(f"--model_config_file={config}", "--max_num_load_retries=0"),
        ]
        # Its log must say what became of the warmup, and a check neither claims a GPU nor lets one change the numbers.
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0", "CUDA_VISIBLE_DEVICES": "-1"}
        runtime = f"{PROGRAM} {self._version()}".strip()
        with _started(command, environment, work / "log") as process:
            yield _Running(runtime, *_loopback(ports), PROGRAM, process, work / "log")


class Container(_Server):
    """An image that Docker holds."""

    docker: Path
    image: str

    def describe(self) -> str:
        """Version and image."""
        return f"{self._version() or 'version unknown'} (Docker's image {self.image})"

    def _version(self) -> str:
        run = [str(self.docker), "run", "--rm", "--pull", "never", "--entrypoint", PROGRAM, self.image, "--version"]
        found = _VERSION.search(_said(run) or "")
        return found[1] if found else ""

    @contextmanager
    def running(self, layout: _Layout, work: Path) -> Iterator[_Running]:
        """Started with its ports on loopback and the release mounted, read-only."""
        ports = _free_ports()
        root = work / "models"
        layout.write(root, RELEASES, link=False)
        name = f"fanout-{uuid.uuid4().hex[:12]}"
        mounts = {
            RELEASES: root,
            f"{RELEASES}/{layout.model}/{layout.version}/{SERVING}": layout.servable.parent.absolute(),
        }
        command = [
            *(str(self.docker), "run", "--interactive", "--rm", "--init", "--pull", "never", "--name", name),
            *(part for how, port in ports.items() for part in ("--publish", f"127.0.0.1:{port}:{_PORTS[how]}")),
            *(
                part
                for target, source in mounts.items()
                for part in ("--mount", f"type=bind,source={source},target={target},readonly")
            ),
            *("--env", "TF_CPP_MIN_LOG_LEVEL=0", "--entrypoint", "/bin/sh", self.image, "-c", _WHILE_HELD, "sh"),
            *(PROGRAM, f"--port={_PORTS['grpc']}", f"--rest_api_port={_PORTS['rest']}"),
            *(f"--model_config_file={RELEASES}/{CONFIG}", "--max_num_load_retries=0"),
        ]
        runtime = f"{PROGRAM} {self._version()}".strip()
        try:
            with _started(command, dict(os.environ), work / "log") as process:
                yield _Running(runtime, *_loopback(ports), f"{PROGRAM} of {self.image}", process, work / "log")
        finally:
            _said([str(self.docker), "rm", "--force", name])


def _loopback(ports: Mapping[str, int]) -> tuple[str, str]:
    return f"127.0.0.1:{ports['grpc']}", f"127.0.0.1:{ports['rest']}"


def _free_ports() -> dict[str, int]:
    """Two ports of loopback that nobody listens on at this moment."""
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return {"grpc": one.getsockname()[1], "rest": other.getsockname()[1]}


@contextmanager
def _started(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The program, told to end on leaving and killed if it does not. Raises ServerFailed."""
    with log.open("wb") as stream:
        try:
            process = subprocess.Popen(
                launch.bound(command), env=environment, stdin=subprocess.PIPE, stdout=stream, stderr=stream
            )
        except OSError as error:
            raise ServerFailed(f"{command[0]} cannot be started: {error.strerror}") from error
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def look() -> str:
    """The ModelServer of this machine, for a person. Raises MissingRuntime, BadInput."""
    return find().describe()
