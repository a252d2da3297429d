"""`fanout open`: digits' files in a real Chromium agree with the manifest, what is damaged does not, and nobody else is served."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import programs_run as run
import pytest
import releases
from staying import staying
from waiting import wait_until

from converters.config import read
from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput
from converters.contract.layout import CONFIG
from converters.processes.child import run as in_child
from converters.release.manifest import read as read_manifest
from converters.release.signing import NO_KEYS
from converters.steps.visiting import Visits
from flows.visitor import opening
from flows.visitor.server import Server

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # from TensorFlow's import
]

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
NAMES = ["zero", "one", "two", HOSTILE, "four", "five", "six", "seven", "eight", "nine"]
LINES = """
[...document.querySelectorAll('#visits > li:not([hidden])')].map((line) => ({state: line.dataset.state, text: line.innerText}))
"""
DONE = ["wait", "body[data-done]"]

Make = Callable[..., ModelSpec]


@pytest.fixture(scope="module", name="digits")
def _digits(make_spec: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of configs/digits.py for browsers."""
    golden = {"data": "digits.py:golden", "samples": 360}
    targets = {
        "tflite": {"variants": ["float32"], "shapes": {"batch": 1}},
        "tfjs": {"runtimes": ["node-wasm", "chromium-wasm"]},
    }
    code = (read.CONFIGS / "digits.py").read_text()
    spec = make_spec(
        code, name="digits", description=HOSTILE, golden=golden, labels={"digit": NAMES}, targets=targets
    )  # fmt: skip
    with staying() as pool:
        return releases.publish(spec, tmp_path_factory.mktemp("releases"), pool).path


@contextmanager
def served(release: Path, work: Path) -> Iterator[Server]:
    """The release, at `url` of what is given."""
    with Server(Visits(release, work)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def lines(found: dict[str, Any]) -> dict[tuple[str, str], tuple[str, str]]:
    """State and text by variant and runtime."""
    told = {}
    for line in found["lines"]:
        title, _, runtime, *_ = line["text"].split("\n")
        told[title, runtime] = (line["state"], line["text"])
    return told


def test_every_file_agrees_with_the_manifest_in_every_runtime(digits: Path, tmp_path: Path) -> None:
    wide, narrow = (["evaluate", name, "document.documentElement.scrollWidth"] for name in ("wide", "narrow"))
    looks = ["dark", True], ["axe"], ["size", 390, 844], narrow, ["axe"], ["dark", False], ["axe"]
    with served(digits, tmp_path) as server:
        steps = DONE, ["evaluate", "lines", LINES], ["evaluate", "title", "document.title"], wide, ["axe"], *looks
        found = run.look(server.url, *steps)
    titles, backends = ("tfjs graph", "tfjs layers"), ("webgl", "wasm", "cpu")
    agreeing = {(title, f"tensorflow.js {backend}") for title in titles for backend in backends}
    agreeing.add(("tflite float32-batch1", "LiteRT.js wasm"))
    shown = lines(found)
    assert {name for name, (state, _) in shown.items() if state == "agrees"} >= agreeing
    assert {state for state, _ in shown.values()} == {"agrees"}
    recorded = {row.unit.title: row.worst() for row in read_manifest(digits).targets}
    for title, runtime in agreeing:
        check, text = recorded[title], shown[title, runtime][1]
        assert check is not None
        measured, limit = map(float, text.split("error ")[1].split("\n")[0].split(" of "))
        assert measured <= limit == check.limit
        assert "361 samples" in text  # golden's 360, and the first of them alone
    assert found["title"] == "✓ digits 1"
    assert (found["wide"], found["narrow"]) == (1400, 390)
    assert (found["thrown"], found["foreign"], found["violations"]) == ([], [], [])
    assert [message for message in found["console"] if message.startswith("error")] == []


def damaged(digits: Path, folder: Path, name: str) -> Path:
    """A copy whose file has one weight changed: the bias that is known from the model's own file."""
    copy = folder / "copy"
    shutil.copytree(digits, copy)
    bias = in_child(_bias, digits / "source" / "source.h5").value
    other = bias.copy()
    other[0] += 3
    content = (copy / name).read_bytes()
    assert content.count(bias.tobytes()) == 1
    (copy / name).write_bytes(content.replace(bias.tobytes(), other.tobytes()))
    return copy


def _bias(path: Path) -> Any:
    import h5py

    with h5py.File(path) as file:
        return np.asarray(file["model_weights/digit/digit/bias:0"], "<f4")


@pytest.mark.parametrize(
    ("file", "title"),
    [
        ("tfjs/graph/serving_default/group1-shard1of1.bin", "tfjs graph"),
        ("tflite/float32-batch1.tflite", "tflite float32-batch1"),
    ],
)
def test_a_corrupted_file_turns_its_lines_red_and_no_others(
    digits: Path, tmp_path: Path, file: str, title: str
) -> None:
    copy = damaged(digits, tmp_path, file)
    (copy / "tfjs/layers/model.json").write_text("{}")  # which cannot be loaded at all
    with served(copy, tmp_path) as server:
        told = ["text", "changed", "#changed"], ["text", "summary", "#summary"]
        found = run.look(server.url, DONE, ["evaluate", "lines", LINES], *told)
    for (of, _), (state, text) in lines(found).items():
        assert state == ("differs" if of in (title, "tfjs layers") else "agrees"), text
    for name in (file, "tfjs/layers/model.json"):
        assert f"{name} is not what the manifest's digest says" in found["changed"]
    assert "differ" in found["summary"]


def test_a_picture_of_ones_own_is_named_and_keys_reach_everything(digits: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(run.png(32, 32))
    keys = [step for number in range(3) for step in (["press", "Tab"], ["focused", f"focus{number}"])]
    with served(digits, tmp_path) as server:
        steps = (
            DONE,
            *keys,
            ["upload", "#file", str(picture)],
            ["wait", "#answer .answers"],
            ["text", "answer", "#answer"],
        )
        found = run.look(
            server.url,
            *steps,
            ["text", "becomes", "#becomes"],
            ["evaluate", "images", "document.images.length"],
            ["axe"],
        )
    assert [
        part in found[f"focus{number}"] for number, part in enumerate(('id="again"', 'id="runtime"', 'id="file"'))
    ] == [True] * 3
    named = [line for line in found["answer"].splitlines() if line in NAMES]
    assert len(named) == 5
    assert "/ 255; a guess" in found["becomes"]
    assert (found["images"], found["violations"], found["thrown"]) == (0, [], [])


def asked(server: Server, method: str, path: str, *, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Status and body of a request as it is, whose path no client makes shorter."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    with closing(connection):
        return answer.status, answer.read()


@pytest.fixture(name="server")
def _server(digits: Path, tmp_path: Path) -> Iterator[Server]:
    copy = tmp_path / "copy"
    shutil.copytree(digits, copy)
    (copy / "tfjs/layers/secret").symlink_to("/etc/passwd")
    (copy / "tfjs/layers/unlisted.bin").write_bytes(b"x")
    with served(copy, tmp_path) as server:
        yield server


PATHS = (
    "/", "/release.json", "//release.json", "/word/release.json", "/{word}", "/{word}/models/0/../../../config.json",
    "/{word}/models/0/%2e%2e/%2e%2e/%2e%2e/config.json", "/{word}/models/0//etc/passwd", "/{word}/models/0/..%2f..%2fconfig.json",
    "/{word}/models/99/model.json", "/{word}/models/-1/model.json", "/{word}/models/" + "9" * 5000 + "/model.json",
    "/{word}/models/0/", "/{word}/models/0/unlisted.bin", "/{word}/models/0/secret", "/{word}/config.json", "/{word}/page.mjs/",
    "/{word}/../page.mjs", "/{word}/requests/", "/{word}/node_modules/@tensorflow/tfjs/package.json", "/{word}/%00",
)  # fmt: skip


def test_nothing_else_is_served(server: Server) -> None:
    assert asked(server, "GET", f"/{server.site.word}/models/0/model.json")[0] == 200
    for path in PATHS:
        assert asked(server, "GET", path.format(word=server.site.word))[0] == 404, path


def test_a_request_by_another_name_is_refused(server: Server) -> None:
    for host in ("example.com", "127.0.0.1.example.com", "", "127.0.0.1:1"):
        assert asked(server, "GET", f"/{server.site.word}/release.json", Host=host)[0] == 400, host


def test_only_its_own_page_may_answer(server: Server) -> None:
    path = f"/{server.site.word}/answers/0"
    own = f"http://127.0.0.1:{server.server_port}"
    assert asked(server, "POST", path, body=b"x")[0] == 403
    assert asked(server, "POST", path, body=b"x", Origin="http://example.com")[0] == 403
    assert asked(server, "POST", path, body=b"x", Origin=own)[0] == 204
    assert asked(server, "GET", f"/{server.site.word}/results/0")[0] == 422  # it was no answer
    assert asked(server, "POST", f"/{server.site.word}/answers/99", body=b"x", Origin=own)[0] == 404
    assert asked(server, "PUT", path, body=b"x", Origin=own)[0] == 501
    assert asked(server, "POST", path, Origin=own)[0] == 413


def test_the_page_is_let_ask_nobody_else(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("GET", f"/{server.site.word}/")
    answer = connection.getresponse()
    policy = answer.headers["Content-Security-Policy"]
    assert answer.read().startswith(b"<!doctype html>")
    connection.close()
    assert "default-src 'none'" in policy
    assert not {"http:", "https:", "*", "'unsafe-inline'", "'unsafe-eval'"} & set(policy.replace(";", " ").split())


def test_open_refuses_what_it_cannot_show(digits: Path, tmp_path: Path) -> None:
    root = digits.parent.parent
    assert opening.chosen(root, "digits", None) == root / "digits" / "1"
    with pytest.raises(BadInput, match="digits has no release 7; it has 1"):
        opening.chosen(root, "digits", 7)
    copy = tmp_path / "copy"
    shutil.copytree(digits, copy)
    written = json.loads((copy / "manifest.json").read_text())
    written["targets"] = [row for row in written["targets"] if row["target"] == "saved_model"]
    (copy / "manifest.json").write_text(json.dumps(written))
    with pytest.raises(BadInput, match=r"digits 1 has nothing that runs in a browser; deploy it with the target tfjs"):
        opening.serve(copy, NO_KEYS, 0, lambda url: None)
    with (
        served(digits, tmp_path) as server,
        pytest.raises(BadInput, match=f"port {server.server_port} cannot be listened on"),
    ):
        opening.serve(digits, NO_KEYS, server.server_port, lambda url: None)
    (copy / CONFIG).unlink()
    with pytest.raises(BadInput, match=r"config\.json cannot be read"):
        opening.serve(copy, NO_KEYS, 0, lambda url: None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_interrupted(digits: Path, tmp_path: Path, number: signal.Signals) -> None:
    releases_dir = digits.parent.parent
    command = [sys.executable, "-m", "flows", "open", "digits", "--no-browser", "--releases", str(releases_dir)]
    with (tmp_path / "out").open("wb") as printed:
        command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]  # as a shell starts what is in the background
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[3])
    try:
        wait_until(lambda: (tmp_path / "out").read_text().endswith("/\n"))
        url = (tmp_path / "out").read_text().strip()
        port, word = url.removeprefix("http://127.0.0.1:").strip("/").split("/")
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
        connection.request("GET", f"/{word}/release.json")
        assert json.loads(connection.getresponse().read())["model"] == "digits"
        connection.close()
        process.send_signal(number)
        assert process.wait(120) == 0
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
