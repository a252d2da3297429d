"""Which Prefect API is used: one that is slow is there."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from converters.contract.errors import BadInput
from flows import api


@contextmanager
def answering(status: int, when: threading.Event) -> Iterator[str]:
    """The address of a server that answers everything with that status, as soon as the event has come."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            when.wait()
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://user:secret@127.0.0.1:{server.server_port}/api"
    finally:
        when.set()
        server.shutdown()
        server.server_close()


def test_prepare_waits_when_a_server_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "CONNECT_SECONDS", 0.5)  # what it once had to answer in, so to say
    ready = threading.Event()
    with answering(200, ready) as url:
        monkeypatch.setenv(api.URL, url)
        threading.Timer(2.0, ready.set).start()
        assert api.prepare(None) == url.replace("user:secret@", "")


def test_prepare_says_that_something_listens_when_it_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "ANSWER_SECONDS", 0.2)
    with answering(200, threading.Event()) as url:
        monkeypatch.setenv(api.URL, url)
        with pytest.raises(BadInput, match=r"has not answered for 0\.2 s; if it is a Prefect server, wait") as refused:
            api.prepare(None)
    assert "secret" not in str(refused.value)


def test_prepare_says_that_nothing_answers_when_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, threading.Event()) as url:
        pass
    monkeypatch.setenv(api.URL, url)
    with pytest.raises(BadInput, match=r"no Prefect server answers at PREFECT_API_URL=http://127\."):
        api.prepare(None)


@pytest.mark.parametrize(
    ("status", "said"), [(401, "does not accept the user"), (429, "too many wrong passwords; wait")]
)
def test_prepare_says_what_is_wrong_with_the_password(status: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = threading.Event()
    ready.set()
    with answering(status, ready) as url:
        monkeypatch.setenv(api.URL, url)
        monkeypatch.delenv(api.CLIENT_AUTH, raising=False)
        with pytest.raises(BadInput, match=said):
            api.prepare(SecretStr("ann:pw"))
