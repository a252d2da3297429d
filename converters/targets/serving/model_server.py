"""The ModelServer itself, where a machine has one: found, started on a release's layout, asked, stopped.

In order: one that runs at the addresses in FANOUT_MODEL_SERVER (`grpc=HOST:PORT,rest=HOST:PORT`), the program
tensorflow_model_server on PATH, an image of tensorflow/serving that Docker holds; nothing is ever pulled. An address is
the machine's and not the model's, so it is in the environment: a release that is checked elsewhere must not look for it.

A server that was started listens for as long as the check takes: the program on all interfaces, as it always does,
the container on loopback alone. It ends with the process that started it. The engine, which owns a container, does not
see that process end; so the container lives only as long as the standard input that `docker run` holds open for it.

Its flags: tensorflow_serving/model_servers/main.cc.
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
from importlib.metadata import version as package_version
from pathlib import Path

from converters.contract.errors import BadInput, MissingRuntime, ServerFailed
from converters.contract.target import Cases
from converters.contract.values import Artifact, Frozen, Prediction
from converters.processes import launch
from converters.targets.serving import NAME as SERVING
from converters.targets.serving.layout import CONFIG, RELEASES, Layout
from converters.targets.serving.running import ADDRESSES, Running, require_listening

NAME = "model_server"
PROGRAM = "tensorflow_model_server"
IMAGE = "tensorflow/serving"

_ADDRESSES = re.compile(r"grpc=(?P<grpc>[^\s,=]+:\d+),rest=(?P<rest>[^\s,=]+:\d+)")
_VERSION = re.compile(r"ModelServer:\s*([^\s+]+)")
_SHARE = 0.8
_PROBE_SECONDS = 20.0
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


def look() -> str:
    """The ModelServer of this machine, for a person. Raises MissingRuntime, BadInput."""
    return find().describe()


def predict(artifacts: Sequence[Artifact], cases: Cases, seconds: float) -> list[Prediction]:
    """Have the servable served and asked, in four fifths of the time, so that the server is stopped, and says why, first.

    Raises MissingRuntime, BadInput, ServerFailed, Damaged.
    """
    deadline = time.monotonic() + _SHARE * seconds
    with tempfile.TemporaryDirectory(prefix="fanout-") as work:
        return find().predict(artifacts, cases, Path(work), deadline)


def _container() -> "Container":
    """The image that Docker would run: of this TensorFlow's version, the latest, or another. Raises MissingRuntime."""
    version = package_version("tensorflow")
    docker = shutil.which("docker")
    if docker is None:
        raise _missing("", "Docker and its image")
    if _said([docker, "version", "--format", "{{.Server.Version}}"]) is None:
        raise _missing(", and Docker's engine does not answer", "start the engine and get its image")
    tags = (_said([docker, "image", "ls", "--format", "{{.Tag}}", IMAGE]) or "").split()
    usable = [tag for tag in tags if "devel" not in tag and tag != "<none>"]
    if not usable:
        raise _missing("", "get Docker's image")
    tag = next((tag for tag in (version, "latest") if tag in usable), usable[0])
    return Container(docker=Path(docker), image=f"{IMAGE}:{tag}")


def _missing(also: str, docker: str) -> MissingRuntime:
    return MissingRuntime(
        f"no ModelServer is on this machine{also}: install {PROGRAM}, or {docker} by "
        f"`docker pull {IMAGE}:{package_version('tensorflow')}`, or set {ADDRESSES} to one that runs"
    )


def _said(command: Sequence[str]) -> str | None:
    """What a program prints; None where it fails, hangs or cannot be started."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class _Server(Frozen):
    """What the three kinds share: how a server is asked."""

    def running(self, layout: Layout, work: Path) -> AbstractContextManager[Running]:
        """The server, started if need be and stopped at the end."""
        raise NotImplementedError

    def predict(self, artifacts: Sequence[Artifact], cases: Cases, work: Path, deadline: float) -> list[Prediction]:
        """Have the servable served and each of its signatures asked in every way. Raises ServerFailed, Damaged."""
        from converters.targets.serving import asking

        (servable,) = {artifact.path for artifact in artifacts}
        assert servable is not None
        layout = Layout.of(servable)
        with self.running(layout, work) as running:
            return asking.predict(running, layout, artifacts, cases, deadline)


class Remote(_Server):
    """A server that somebody else runs."""

    grpc: str
    rest: str

    def describe(self) -> str:
        """Where it is, for a person. Raises MissingRuntime where nothing listens there."""
        try:
            require_listening(self.grpc, self.rest)
        except ServerFailed as error:
            raise MissingRuntime(str(error)) from error
        return f"version unknown (at {self.grpc} and {self.rest}, by {ADDRESSES})"

    @contextmanager
    def running(self, layout: Layout, work: Path) -> Iterator[Running]:
        """It runs already."""
        how = f"the server at {self.grpc}" if self.grpc == self.rest else f"the server at {self.grpc} and {self.rest}"
        yield Running(f"ModelServer at {self.grpc}", self.grpc, self.rest, how)


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
    def running(self, layout: Layout, work: Path) -> Iterator[Running]:
        """Started on free ports, on RELEASES as the release would have it."""
        ports = free_ports()
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
        with launch.started(command, work / "log", environment, _STOP_SECONDS) as process:
            yield Running(runtime, *_loopback(ports), PROGRAM, process, work / "log")


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
    def running(self, layout: Layout, work: Path) -> Iterator[Running]:
        """Started with its ports on loopback and the release mounted, read-only."""
        ports = free_ports()
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
            with launch.started(command, work / "log", os.environ, _STOP_SECONDS) as process:
                yield Running(runtime, *_loopback(ports), f"{PROGRAM} of {self.image}", process, work / "log")
        finally:
            _said([str(self.docker), "rm", "--force", name])


def _loopback(ports: Mapping[str, int]) -> tuple[str, str]:
    return f"127.0.0.1:{ports['grpc']}", f"127.0.0.1:{ports['rest']}"


def free_ports() -> dict[str, int]:
    """Two ports of loopback that nobody listens on at this moment."""
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return {"grpc": one.getsockname()[1], "rest": other.getsockname()[1]}
