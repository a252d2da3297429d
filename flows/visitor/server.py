"""Serves one release to browsers of this machine, read-only: the page, what runs the files, the files, golden's calls.

Other users of the machine can reach a loopback port, and pages of other sites a browser here: addresses begin with a random
word, requests must be for this server's own name (DNS rebinding), and what is posted must come from its own page.
"""

import base64
import hashlib
import json
import re
import secrets
import socket
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from converters.contract.errors import BadInput
from converters.javascript import programs
from converters.steps.visiting import Visits

HERE = Path(__file__).parent
_TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".mjs": "text/javascript", ".js": "text/javascript",
    ".json": "application/json", ".wasm": "application/wasm",
}  # fmt: skip
_MODULES = programs.JS / "node_modules"
_WASM = "tfjs-backend-wasm"
STATIC = {
    **{name: HERE / name for name in ("page.html", "page.mjs", "page.css")},
    **{name: programs.JS / name for name in ("tfjs.html", "core.mjs", "litert.html", "litert.mjs", "messages.mjs")},
    # Those for ES 2017 make no code of texts, which the page's policy forbids.
    "tf.min.js": _MODULES / "@tensorflow/tfjs/dist/tf.es2017.min.js",
    "tf-backend-wasm.min.js": _MODULES / "@tensorflow" / _WASM / "dist/tf-backend-wasm.es2017.min.js",
    **{name: _MODULES / "@tensorflow" / _WASM / "dist" / name for name in (f"{_WASM}.wasm", f"{_WASM}-simd.wasm")},
    "litertjs-core.js": _MODULES / "@litertjs/core/dist/index.js",
    "litertjs-wasm-utils.js": _MODULES / "@litertjs/wasm-utils/dist/index.js",
    **{
        name: _MODULES / "@litertjs/core/wasm" / name
        for kind in ("", "_compat", "_jspi")
        for name in (f"litert_wasm{kind}_internal.js", f"litert_wasm{kind}_internal.wasm")
    },
}
"""What is the same for every release, by its name in the page's folder."""
MOST_POSTED = 2**28
"""Bytes of an answer."""
_INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


class Answer(NamedTuple):
    """What a request is answered with."""

    content: bytes
    kind: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    policy: str | None = None


NOT_FOUND = Answer(b"there is no such page\n", status=HTTPStatus.NOT_FOUND)


class Site:
    """What is served of one release; `word` begins every path."""

    def __init__(self, visits: Visits, word: str) -> None:
        self.visits, self.word = visits, word

    def get(self, target: str) -> Answer:
        """The answer to a GET of a path with its query."""
        parts = urlsplit(target)
        first, *path = [unquote(part) for part in parts.path.removeprefix("/").split("/")]
        if not secrets.compare_digest(first.encode(), self.word.encode()) or not path:
            return NOT_FOUND
        match path:
            case [""]:
                return _file(STATIC["page.html"])
            case ["release.json"]:
                return _json(self.visits.described())
            case [name] if name in STATIC:
                return _file(STATIC[name])
            case ["requests", number] if (index := self._number(number)) is not None:
                return _file(self.visits.request(index))
            case ["results", number] if (index := self._number(number)) is not None:
                runtime = parse_qs(parts.query).get("runtime", ["a browser"])[0]
                return _json(self.visits.result(index, runtime))
            case ["models", number, *rest] if (index := self._number(number)) is not None:
                return self._of_release(PurePosixPath(self.visits.visits[index].row.path or "").parent, rest)
            case _:
                return NOT_FOUND

    def post(self, target: str, body: bytes) -> Answer:
        """Takes the answer of a visit."""
        match [unquote(part) for part in urlsplit(target).path.removeprefix("/").split("/")]:
            case [self.word, "answers", number] if (index := self._number(number)) is not None:
                self.visits.take(index, body)
                return Answer(b"", status=HTTPStatus.NO_CONTENT)
            case _:
                return NOT_FOUND

    def _number(self, text: str) -> int | None:
        return int(text) if re.fullmatch("[0-9]{1,6}", text) and int(text) < len(self.visits.visits) else None

    def _of_release(self, folder: PurePosixPath, rest: list[str]) -> Answer:
        """A file that the manifest lists, where it is: a link that leads elsewhere is none of the release."""
        name = (folder / "/".join(rest)).as_posix()
        root = self.visits.root.resolve()
        if name not in self.visits.manifest.files or (root / name).resolve() != root / name:
            return NOT_FOUND
        return _file(root / name)


def _file(path: Path) -> Answer:
    try:
        content = path.read_bytes()
    except OSError:
        return NOT_FOUND
    policy = _policy(content.decode()) if path.suffix == ".html" else None
    return Answer(content, _TYPES.get(path.suffix, "application/octet-stream"), policy=policy)


def _json(document: object) -> Answer:
    return Answer(json.dumps(document, allow_nan=False).encode(), _TYPES[".json"])


@cache
def _policy(page: str) -> str:
    """A page's Content-Security-Policy: nothing of any other origin, and of scripts within it those that it has."""
    digests = [hashlib.sha256(script.encode()).digest() for script in _INLINE.findall(page)]
    own = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src 'self' 'wasm-unsafe-eval' {own}; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self' blob:; frame-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    )


class Server(ThreadingHTTPServer):
    """Listens on loopback alone, at a port that is free unless one is named. Raises BadInput where that is taken."""

    daemon_threads = True

    def __init__(self, visits: Visits, port: int = 0) -> None:
        self.site = Site(visits, secrets.token_urlsafe(16))
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except OSError as error:
            raise BadInput(f"port {port} cannot be listened on: {error.strerror}; name another by --port") from error
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    def server_bind(self) -> None:
        """As HTTPServer does, without looking for the machine's name, which may take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://127.0.0.1:{self.server_port}/{self.site.word}/"


class Handler(BaseHTTPRequestHandler):
    """GET of what the site has, POST of answers; nothing else."""

    server: Server
    server_version = "fanout"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(lambda: self.server.site.get(self.path))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MOST_POSTED:
            self._send(Answer(b"too much\n", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE))
        elif self.headers.get("Origin") not in {f"http://{host}" for host in self.server.hosts}:
            self._send(Answer(b"pages of other sites may change nothing here\n", status=HTTPStatus.FORBIDDEN))
        else:
            body = self.rfile.read(int(length))
            self._answer(lambda: self.server.site.post(self.path, body))

    def _answer(self, make: Callable[[], Answer]) -> None:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            self._send(Answer(b"this server has no such name\n", status=HTTPStatus.BAD_REQUEST))
            return
        try:
            self._send(make())
        except BadInput as error:
            self._send(Answer(f"{error}\n".encode(), status=HTTPStatus.UNPROCESSABLE_ENTITY))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Content-Security-Policy", answer.policy or "default-src 'none'; frame-ancestors 'none'")
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *words: object) -> None:
        """Nothing: the terminal is for what a person should read."""
