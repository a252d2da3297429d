"""Which Prefect API is used, where that is said, and what is no Prefect API; one that is slow is one."""

import json
import os
import re
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest
from pydantic import SecretStr

from converters.contract.errors import BadInput, ServerFailed
from flows import api, connection
from flows.connection import CLIENT_AUTH, KEY, URL

PREFECT = {"/api/health": "true", "/api/admin/version": json.dumps(version("prefect"))}
"""What its API answers (prefect/server/api/server.py, admin.py)."""
AT_ONCE = threading.Event()
AT_ONCE.set()


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of Prefect's, nowhere; what `prepare` sets is gone with the test."""
    for name in (URL, CLIENT_AUTH, KEY, *api._DEFAULTS, *api._FORCED, *api._OWN):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.chdir(tmp_path)


@contextmanager
def answering(
    status: int, when: threading.Event = AT_ONCE, said: Mapping[str, str] = PREFECT, key: str | None = None
) -> Iterator[str]:
    """The address of a server that answers with that status and these bodies, as soon as the event has come.

    With a key, it answers 401 to all who do not bring it.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            when.wait()
            welcome = key is None or self.headers["Authorization"] == f"Bearer {key}"
            open_to_all = self.path == "/api/health"
            self.send_response(200 if open_to_all else status if welcome else 401)
            self.end_headers()
            self.wfile.write(said.get(self.path, "<html>hello</html>").encode())

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


@contextmanager
def mute() -> Iterator[str]:
    """The address of a program that accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/api"


def test_prepare_waits_when_a_server_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)  # what it once had to answer in, so to say
    ready = threading.Event()
    with answering(200, ready) as url:
        monkeypatch.setenv(URL, url)
        threading.Timer(2.0, ready.set).start()
        assert api.prepare(None) == url.replace("user:secret@", "")


def test_prepare_says_that_something_listens_when_it_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.2)
    with answering(200, threading.Event()) as url:
        monkeypatch.setenv(URL, url)
        with pytest.raises(BadInput, match=r"has not answered for 0\.2 s; if it is a Prefect server, wait") as refused:
            api.prepare(None)
    assert "secret" not in str(refused.value)


def test_prepare_says_that_nothing_answers_when_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, threading.Event()) as url:
        pass
    monkeypatch.setenv(URL, url)
    with pytest.raises(BadInput, match=r"no Prefect server answers at PREFECT_API_URL=http://127\."):
        api.prepare(None)


@pytest.mark.parametrize(
    ("status", "said"), [(401, "does not accept the user"), (429, "too many wrong passwords; wait")]
)
def test_prepare_says_what_is_wrong_with_the_password(status: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(status) as url:
        monkeypatch.setenv(URL, url)
        with pytest.raises(BadInput, match=said):
            api.prepare(SecretStr("ann:pw"))


@pytest.mark.parametrize(
    ("status", "said", "told"),
    [
        (200, {}, r"answers with what Prefect does not say; end it, or set PREFECT_API_URL"),
        (200, {"/api/health": "true", "/api/admin/version": '{"version": "3.8.8"}'}, "with what Prefect does not say"),
        (404, PREFECT, r"is no Prefect server: it answers with status 404"),
        (200, {**PREFECT, "/api/admin/version": '"2.20.1"'}, r"is of version 2\.20\.1, which a client of 3\."),
    ],
)
def test_prepare_says_what_is_there_when_the_address_is_another_programs(
    status: int, said: Mapping[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(status, said=said) as url:
        monkeypatch.setenv(URL, url)
        with pytest.raises(BadInput, match=told) as refused:
            api.prepare(None)
    assert "secret" not in str(refused.value)


def test_prepare_uses_what_runs_on_prefects_port_when_it_is_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200) as url:
        monkeypatch.setattr(api, "DEFAULT", url)
        assert api.prepare(None) == url.replace("user:secret@", "")
        assert api.server_runs()


@pytest.mark.parametrize("status", [200, 404])
def test_prepare_takes_a_server_of_its_own_when_another_program_is_on_prefects_port(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(status, said={"/api/health": "[]"}) as url:
        monkeypatch.setattr(api, "DEFAULT", url)
        said = api.prepare(None)
    assert re.fullmatch(
        r"a server of its own, .* \(what listens at http://127\.0\.0\.1:\d+ is no Prefect server\)", said
    )
    assert not api.server_runs()


def test_prepare_says_that_something_listens_when_the_program_on_prefects_port_is_mute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.2)
    with mute() as url:
        monkeypatch.setattr(api, "DEFAULT", url)
        with pytest.raises(BadInput, match="has not answered for"):
            api.prepare(None)


@pytest.mark.parametrize("file", ["profiles.toml", ".env", "prefect.toml", "pyproject.toml"])
def test_prepare_says_where_the_address_is_from_when_a_file_sets_it(file: str, tmp_path: Path) -> None:
    with answering(200) as url:
        texts = {
            "profiles.toml": f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{url}"\n',
            ".env": f"{URL}={url}\n",
            "prefect.toml": f'[api]\nurl = "{url}"\n',
            "pyproject.toml": f'[tool.prefect.api]\nurl = "{url}"\n',
        }
        path = tmp_path / ("prefect" if file == "profiles.toml" else "") / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(texts[file])
        assert api.prepare(None) == f"{url.replace('user:secret@', '')}, as {path} says"
        assert api.server_runs()


def test_prepare_names_the_file_when_nothing_answers_where_it_says(tmp_path: Path) -> None:
    (tmp_path / "prefect.toml").write_text('[api]\nurl = "http://127.0.0.1:9/api"\n')
    with pytest.raises(BadInput, match=r"at PREFECT_API_URL=http://127\.0\.0\.1:9/api in .*prefect\.toml: .* or set"):
        api.prepare(None)


def test_prepare_may_start_a_server_when_the_active_profile_says_nothing_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "profiles.toml").write_text(
        'active = "mine"\n[profiles.mine]\nPREFECT_LOGGING_LEVEL = "INFO"\n'
    )
    with answering(200) as url:
        pass
    monkeypatch.setattr(api, "DEFAULT", url)
    assert api.prepare(None) == "a server of its own, for this run"
    assert connection.read().own


def test_prepare_refuses_when_there_is_no_server_and_none_may_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200) as url:
        pass
    monkeypatch.setattr(api, "DEFAULT", url)
    monkeypatch.setenv(api._OWN[0], "false")
    with pytest.raises(BadInput, match="forbids one for this run; start one"):
        api.prepare(None)


@pytest.mark.parametrize(
    ("key", "said"), [("right", None), ("wrong", "does not accept the key in"), ("", "or a key; set")]
)
def test_prepare_brings_the_key_when_the_server_wants_one(
    key: str, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(200, key="right") as url:
        url = url.replace("user:secret@", "")
        monkeypatch.setenv(URL, url)
        monkeypatch.setenv(KEY, key)
        if said is None:
            assert api.prepare(None) == url
        else:
            with pytest.raises(BadInput, match=said) as refused:
                api.prepare(None)
            assert "wrong" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "said"),
    [("right", None), ("wrong", "does not accept the key in"), ("", "Prefect Cloud, which wants a key")],
)
def test_prepare_asks_prefect_cloud_by_its_own_path_when_the_address_is_there(
    key: str, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(200, said={"/api/me/workspaces": "[]"}, key="right") as cloud:
        cloud = cloud.replace("user:secret@", "")
        monkeypatch.setenv("PREFECT_CLOUD_API_URL", cloud)
        monkeypatch.setenv(URL, url := f"{cloud}/accounts/a/workspaces/b")
        monkeypatch.setenv(KEY, key)
        if said is None:
            assert api.prepare(None) == url
        else:
            with pytest.raises(BadInput, match=said):
                api.prepare(None)


@pytest.mark.parametrize("home", ["below a file", ""])
def test_prepare_finds_a_home_for_prefect_when_none_can_be_made(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(200) as url:
        pass
    (tmp_path / "file").touch()
    monkeypatch.setattr(api, "DEFAULT", url)
    monkeypatch.setenv("HOME", str(tmp_path / "file" / home))
    monkeypatch.delenv("PREFECT_HOME")
    monkeypatch.setenv("PREFECT_PROFILES_PATH", "")
    assert api.prepare(None) == "a server of its own, for this run"
    assert Path(os.environ["PREFECT_HOME"]).parent == Path(tempfile.gettempdir())


def test_prepare_refuses_when_the_home_that_is_named_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(200) as url:
        pass
    (tmp_path / "file").touch()
    monkeypatch.setattr(api, "DEFAULT", url)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file" / "prefect"))
    with pytest.raises(BadInput, match=r"file/prefect, which cannot be written; let PREFECT_HOME name"):
        api.prepare(None)


@pytest.mark.parametrize(
    ("database", "said"),
    [
        (
            "mysql://ann:secret@db/prefect",
            "=mysql://db/prefect is no database that a Prefect server can use; give it as",
        ),
        ("sqlite+aiosqlite:////dev/null/x.db", "in /dev/null, which cannot be written; let PREFECT_API_DATABASE"),
        ("sqlite+aiosqlite:///absent/x.db", "in absent, which cannot be written; let PREFECT_API_DATABASE"),
        ("sqlite+aiosqlite:///x.db", None),
        ("sqlite+aiosqlite:///:memory:", None),
        ("postgresql+asyncpg://ann:secret@db/prefect", None),
    ],
)
def test_prepare_refuses_a_database_that_no_server_can_keep(
    database: str, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(200) as url:
        pass
    monkeypatch.setattr(api, "DEFAULT", url)
    monkeypatch.setenv(connection.DATABASE, database)
    if said is None:
        assert api.prepare(None) == "a server of its own, for this run"
    else:
        with pytest.raises(BadInput, match=re.escape(said)) as refused:
            api.prepare(None)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PREFECT_LOGGING_LEVEL", "LOUD", "PREFECT_LOGGING_LEVEL"),
        ("PREFECT_CLIENT_MAX_RETRIES", "many", "PREFECT_CLIENT_MAX_RETRIES"),
        ("PREFECT_API_URL", "http://[bad/api", "setting PREFECT_API_URL: .*; correct the variable"),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", "X: y", "cannot be read: .*; correct PREFECT_CLIENT_CUSTOM_HEADERS"),
        ("PREFECT_API_SSL_CERT_FILE", "/nowhere.pem", "PREFECT_API_SSL_CERT_FILE=/nowhere.pem cannot be read"),
    ],
)
def test_prepare_names_the_setting_when_prefect_refuses_it(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=said):
        api.prepare(None)


def test_require_still_says_that_the_server_is_gone_once_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200) as url:
        monkeypatch.setenv(URL, url)
        api.prepare(None)
        api.require_still()
    with pytest.raises(
        ServerFailed, match=r"server at http://\S+, which answered when this began, is gone; start it"
    ) as told:
        api.require_still()
    assert "secret" not in str(told.value)
