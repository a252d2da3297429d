"""Runs tensorflow.js models in Node and in headless Chromium, as they are run when shipped: over HTTP, by tfjs itself; and TF
Lite files in LiteRT.js, in Chromium.

A runtime is a program and a tfjs backend: `node-wasm`, `chromium-webgl`; or LiteRT.js and its: `litert-wasm`. One Node
process (`js/main.mjs`) answers one job after another. It serves the models' directories on a loopback port, and loads them
by URL in its own tfjs, or in that of a page in the Chromium that it drives. Tensors travel in the files `request-N` and
`answer-N` (`messages`).

tfjs's webgl backend keeps int32 in float32 textures: integers beyond 2**24 are not exact there.
"""

import json
import os
import re
import select
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from converters.contract.errors import ChildDied, ChildTimedOut, MissingRuntime
from converters.contract.values import Prediction
from converters.javascript import messages, programs
from converters.javascript.messages import Request
from converters.processes import launch, resident

Tfjs = Literal["node-cpu", "node-wasm", "chromium-webgl", "chromium-wasm", "chromium-cpu"]
LiteRT = Literal["litert-wasm", "litert-webgpu"]
Runtime = Tfjs | LiteRT
RUNTIMES: tuple[Tfjs, ...] = get_args(Tfjs)
PROGRAMS = ("node", "chromium")
_SOFTWARE = re.compile("swiftshader|llvmpipe|softpipe|software|basic render", re.IGNORECASE)
"""Renderers of WebGL that are no GPU: ANGLE's and Mesa's, and Windows's Basic Render Driver."""


class Runner:
    """Runs requests in one Node, and one Chromium, that start when first needed and end with `close`.

    Where a job fails as a whole both end with it, and the next job starts them anew; where a model left tensors or
    much memory behind in Node, too.
    """

    def __init__(self, js: Path = programs.JS) -> None:
        """`js` holds the scripts and their packages."""
        self._js = js
        self._node: _Node | None = None
        self._renderer: str | None = None

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End Node and Chromium, and remove what they wrote."""
        node, self._node = self._node, None
        if node is not None:
            node.close()

    def run(self, runtime: Runtime, requests: Sequence[Request], seconds: float | None = 300) -> list[Prediction]:
        """Run every request in `runtime`; one Prediction each, in order.

        What is wrong with one request (a truncated shard, an op that fails, an int64 beyond int32) is the `error` of
        its own. `seconds` limits the wall time of all; None leaves that to the caller.

        Raises MissingRuntime; ChildTimedOut; ChildDied when Node or Chromium ended early; Damaged when an answer of
        theirs cannot be read.
        """
        refused: dict[int, str] = {}
        with tempfile.TemporaryDirectory(prefix="fanout-js-") as name:
            work = Path(name)
            for index, request in enumerate(requests):
                try:
                    messages.write_request(work / f"request-{index}", request)
                except (ValueError, TypeError) as error:
                    refused[index] = str(error)
            models = {index: request.model for index, request in enumerate(requests) if index not in refused}
            described = self._answer(runtime, work, models, seconds)["runtime"]
            answers = {index: messages.read_answer(work / f"answer-{index}", described) for index in models}
        answers |= {index: Prediction(runtime=described, error=text) for index, text in refused.items()}
        return [answers[index] for index in range(len(requests))]

    def renderer(self, seconds: float | None = 60) -> str:
        """What Chromium's WebGL renders with, in its own words; '' where it does not say. Raises as `run` does."""
        if self._renderer is None:
            with tempfile.TemporaryDirectory(prefix="fanout-js-") as work:
                self._renderer = str(self._answer("chromium-webgl", Path(work), {}, seconds)["renderer"] or "")
        return self._renderer

    def _answer(self, runtime: Runtime, work: Path, models: dict[int, Path], seconds: float | None) -> dict[str, Any]:
        """Have the requests in `work` answered: the `runtime` that ran them, described, its program's `path`, and `renderer`."""
        first, _, backend = runtime.partition("-")
        library, program = ("litert", "chromium") if first == "litert" else ("tfjs", first)
        version = programs.tfjs_version(self._js) if library == "tfjs" else programs.litert_js_version(self._js)
        browser = programs.find_chromium(self._js) if program == "chromium" else None
        job = {
            "work": str(work),
            "program": program,
            "library": library,
            "version": version,
            "backend": backend,
            "executable": None if browser is None or browser.is_dir() else str(browser),
            "models": {index: str(model.absolute()) for index, model in models.items()},
        }
        if self._node is None or not self._node.alive():
            self.close()
            self._node = _Node(self._js)
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
            names = {"tfjs": "tensorflow.js", "litert": "LiteRT.js"}
            raise MissingRuntime(f"{program} cannot start {names[library]}'s backend {backend} on this machine.")
        return done


def run(runtime: Runtime, requests: Sequence[Request], seconds: float | None = 300) -> list[Prediction]:
    """`Runner.run` in a runner of its own; in a kept child, in the one that this child keeps."""
    with _own() as runner:
        return runner.run(runtime, requests, seconds)


def software_webgl() -> str | None:
    """Says that Chromium's WebGL has no GPU on this machine; None where it has one, or does not say. Raises as `run` does."""
    with _own() as runner:
        return "software WebGL" if _SOFTWARE.search(runner.renderer()) else None


@contextmanager
def _own() -> Iterator[Runner]:
    """A runner for the block; in a kept child, the one that this child keeps."""
    kept = resident.own()
    if kept is not None:  # ends with this process: Node's standard input closes then, and Linux ends it in any case
        yield kept.setdefault("javascript", Runner())
        return
    with Runner() as runner:
        yield runner


def node_version() -> str:
    """Node's and tensorflow.js's, and where Node is. Raises MissingRuntime."""
    node = programs.find_node()
    return f"{programs.node_version(node)}, tfjs {programs.tfjs_version()} ({node})"


def litert_js_version() -> str:
    """LiteRT.js's, and where the Chromium is that runs it. Raises MissingRuntime."""
    programs.find_node()
    return f"{programs.litert_js_version()}, in {programs.find_chromium()}"


def chromium_version() -> str:
    """Chromium's, which is started to tell, with its path. Raises MissingRuntime, ChildDied, ChildTimedOut."""
    with Runner() as runner, tempfile.TemporaryDirectory(prefix="fanout-js-") as work:
        started = runner._answer("chromium-webgl", Path(work), {}, 60)
    return f"{started['runtime'].removeprefix('chromium ')} ({started['path']})"


class _Ended(Exception):
    """Node ended where it should have replied: how, and what it printed last."""

    def __init__(self, how: str, said: str) -> None:
        super().__init__(how)
        self.how = how
        self.said = said


class _Node:
    """The process of main.mjs, with a directory of its own for its log and Chromium's profile."""

    def __init__(self, js: Path) -> None:
        command = [str(programs.find_node()), str(js / "main.mjs")]
        self._home = tempfile.TemporaryDirectory(prefix="fanout-js-", ignore_cleanup_errors=True)
        self._log = Path(self._home.name) / "log"
        self._replies, theirs = os.pipe()
        try:
            self._process = launch.start([*command, self._home.name, str(theirs)], self._log, pass_fds=[theirs])
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
        launch.end(self._process, 1)
        os.close(self._replies)
        self._home.cleanup()
