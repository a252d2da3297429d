"""Running the example programs of a release, as whoever receives it would."""

import contextlib
import io
import json
import os
import runpy
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import model_server_double as double
import numpy as np
from waiting import wait_until

from converters.javascript import programs
from converters.processes import child, launch
from converters.reference.measure import measure
from converters.targets.serving.layout import config_of
from converters.targets.serving.model_server import free_ports

LOOK = Path(__file__).parent / "look.mjs"


def run_path(path: Path, arguments: Sequence[str]) -> str:
    """What a program in Python prints; for a child process, which has TensorFlow loaded."""
    printed = io.StringIO()
    with mock.patch.object(sys, "argv", [str(path), *arguments]), contextlib.redirect_stdout(printed):
        runpy.run_path(str(path), run_name="__main__")
    return printed.getvalue()


def lines(path: Path, *arguments: str) -> list[str]:
    """The lines that a program in Python prints."""
    return child.run(run_path, path, arguments).value.splitlines()


def python(path: Path, *arguments: str) -> list[Any]:
    """The documents that it prints, one a line."""
    return [json.loads(line) for line in lines(path, *arguments)]


def printed(command: Sequence[str | Path]) -> list[Any]:
    """The same of any program."""
    return [json.loads(line) for line in lines_of(command)]


def lines_of(command: Sequence[str | Path]) -> list[str]:
    """The lines that any program prints; its words on stderr are in the error where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def node(path: Path, *arguments: str) -> list[str]:
    """The same of a program for Node, which finds npm's packages beside the release as if they were installed there."""
    return lines_of([programs.find_node(), path, *arguments])


def look(url: str, *steps: Sequence[Any]) -> dict[str, Any]:
    """What a person sees of a page in a real Chromium: see look.mjs."""
    (found,) = printed([programs.find_node(), LOOK, url, json.dumps(steps)])
    assert isinstance(found, dict)
    return found


@contextmanager
def served_files(folder: Path) -> Iterator[str]:
    """A folder over HTTP; its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def model_server(model: str, servable: Path) -> Iterator[dict[str, str]]:
    """The ModelServer's double on a release's serving/: the addresses by "grpc" and "rest"."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        ports = free_ports()
        (work / "models.config").write_text(config_of({model: str(servable)}))
        program = double.write_program(work)
        command = [str(program), f"--port={ports['grpc']}", f"--rest_api_port={ports['rest']}"]
        command += [f"--model_config_file={work / 'models.config'}"]
        addresses = {how: f"127.0.0.1:{port}" for how, port in ports.items()}

        def listens() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"http://{addresses['rest']}/", trust_env=False).status_code == 200
            return False

        with launch.started(command, work / "log", os.environ, 5.0):
            wait_until(listens)
            yield addresses


def distance(answer: Any, expected: Any) -> float:
    """How far an answer is from the one in response.json, as golden is compared; infinite for other names, texts or shapes."""
    given, wanted = answer["outputs"], expected["outputs"]
    if isinstance(wanted, dict):
        if not isinstance(given, dict) or given.keys() != wanted.keys():
            return float("inf")
        return max(_apart(given[name], wanted[name]) for name in wanted)
    return _apart(given, wanted)


def _apart(given: Any, wanted: Any) -> float:
    have, want = np.array(given), np.array(wanted)
    if have.shape != want.shape or "f" not in want.dtype.kind:
        return 0.0 if np.array_equal(have, want) else float("inf")
    return measure(want.astype(np.float64), have.astype(np.float64))


def png(width: int, height: int) -> bytes:
    """A picture in three colours."""
    pixels = [
        bytes((7 * x * y + 50 * colour) % 256 for x in range(width) for colour in range(3)) for y in range(height)
    ]
    rows = b"".join(b"\0" + row for row in pixels)
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
