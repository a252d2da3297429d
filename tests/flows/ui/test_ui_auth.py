"""A password for the UI and the API, and the command line against such a server."""

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prefect_home import Home, at_home
from waiting import wait_until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

AUTH = "ann:correct horse"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with at_home(tmp_path_factory.mktemp("home"), auth=AUTH) as running:
        yield running


def _deploy(home: Home, auth: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home.folder / "client"),
        "PREFECT_API_URL": f"{home.address}/api",
        "FANOUT_AUTH": auth,
        "FANOUT_CONFIGS": str(home.folder / "configs"),
        "FANOUT_RELEASES": str(home.releases),
    }
    command = [sys.executable, "-m", "flows", "deploy", "module", "--json"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_api_and_reports_ask_for_the_password_when_one_is_set(home: Home) -> None:
    assert AUTH.partition(":")[2] not in home.said()
    started = home.start("deploy-model", model="module")  # the worker knows the password, too
    for headers in ({}, {"Authorization": "Basic bm9ib2R5Ondyb25n"}, {"Authorization": "Basic !"}):
        answer = httpx.post(f"{home.address}/api/flow_runs/filter", json={}, headers=headers)
        assert answer.status_code == 401
    run = home.wait(started)
    assert run["state"]["type"] == "COMPLETED", home.logs(started)
    version = (home.releases / "module" / "current").resolve().name
    report = f"{home.address}/releases/module/{version}/report.html"
    refused = httpx.get(report)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Basic realm="fanout", charset="UTF-8"')
    assert httpx.get(report, headers={"Authorization": "Basic !"}).status_code == 401
    assert httpx.get(report, headers=home.headers()).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *(
            "docs",
            "redoc",
            "openapi.json",
            "docs/oauth2-redirect",
            "api/docs",
            "api/openapi.json",
            "api/version",
            "api/none",
        ),
        *("api/collections/views/aggregate-worker-metadata", "releases/module/1/manifest.json", "releases/none"),
    ],
)
def test_everything_but_the_page_and_health_asks_for_the_password(home: Home, path: str) -> None:
    assert home.client.get(f"{home.address}/{path}").status_code == 401
    assert home.client.get(f"{home.address}/{path}", headers=home.headers()).status_code in (200, 404)


def test_page_and_health_need_no_password(home: Home) -> None:
    for path in ("", "ui-settings", "runs", "api/health"):
        assert home.client.get(f"{home.address}/{path}", headers={"Accept": "text/html"}).status_code == 200


@pytest.mark.parametrize("header", [b"Basic \xff\xfe", b"B\xe4sic x", b"basic", b"Bearer x"])
def test_server_answers_401_when_the_header_is_none(home: Home, header: bytes) -> None:
    for path in ("api/flow_runs/filter", "releases/module/1/report.html", "docs"):
        assert home.client.get(f"{home.address}/{path}", headers=[(b"Authorization", header)]).status_code == 401


def test_server_knows_the_scheme_in_any_case(home: Home) -> None:
    right = home.headers()["Authorization"].partition(" ")[2]
    for scheme in ("basic", "BASIC"):
        answer = home.client.get(f"{home.address}/api/version", headers={"Authorization": f"{scheme} {right}"})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *(f"/releases/{'m' * 300}/1/report.html", f"/releases/module/{'9' * 5000}/report.html"),
        *("/releases/module/1/key.json", "/releases/../releases/module/1/key.json"),
        *("/releases/module/1/../../../configs/module.py", "/releases/module/1/logs/..%2f..%2fkey.json"),
        *("/releases/%2e%2e/configs/module.py", "/releases/..%2f..%2fetc/passwd", "/releases/module%00/1/report.html"),
        *("/releases//etc/passwd", f"/releases/module/1/logs/{'l' * 300}.log"),
        *(
            f"/api/collections/views/{'v' * 300}",
            "/api/collections/views/..%2f..%2f..%2fversion",
            "/api/collections/views/%00",
        ),
        *("/api/static/../../../../../etc/passwd", "/api/static/..%2f..%2f..%2fserver.py", "/api/../../../etc/passwd"),
    ],
)
def test_server_answers_404_and_no_file_when_a_path_is_hostile(home: Home, path: str) -> None:
    assert raw(home, path).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("path", ["/../../../../etc/passwd", "/assets/..%2f..%2f..%2f..%2fetc/passwd", "//etc/passwd"])
def test_server_answers_with_its_page_alone_when_a_path_climbs_out_of_it(home: Home, path: str) -> None:
    answer = raw(home, path)
    assert b"root:" not in answer
    assert b"500 Internal" not in answer


def raw(home: Home, path: str) -> bytes:
    """The answer to a path as it is: httpx would take the dots out."""
    host, _, port = home.address.removeprefix("http://").partition(":")
    head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: {home.headers()['Authorization']}\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


@pytest.mark.parametrize("route", ["events/out", "logs/out", "events/in", "task_runs/subscriptions/scheduled"])
def test_websocket_is_closed_when_the_password_is_missing_or_wrong(home: Home, route: str) -> None:
    for token in (None, "", "ann:other", "\xff", "fanout:"):
        assert welcomed(home, route, token) is False
    assert welcomed(home, route, AUTH) is True


def welcomed(home: Home, route: str, token: str | None) -> bool:
    """Whether the server says that it takes what is given as password."""
    address = f"{home.address.replace('http', 'ws', 1)}/api/{route}"
    with connect(address, subprotocols=[Subprotocol("prefect")]) as connection:
        connection.send(json.dumps({"type": "auth", "token": token}))
        try:
            return bool(json.loads(connection.recv())["type"] == "auth_success")
        except ConnectionClosed as closed:
            return closed.rcvd is None or closed.rcvd.code != 1008


def test_runs_go_on_and_a_guesser_waits_when_somebody_guesses(home: Home) -> None:
    def guess(number: int) -> int:
        wrong = base64.b64encode(f"ann:{number}".encode()).decode()
        return home.client.get(f"{home.address}/api/version", headers={"Authorization": f"Basic {wrong}"}).status_code

    answers = [guess(number) for number in range(40)]
    assert answers[0] == 401
    assert answers[-1] == 429
    wait_until(lambda: home.client.get(f"{home.address}/api/version", headers=home.headers()).is_success)
    started = home.start("deploy-model", model="module")
    wait_until(lambda: guess(41) in (401, 429) and (home.releases / "module").is_dir())
    wait_until(lambda: home.client.get(f"{home.address}/api/version", headers=home.headers()).is_success)
    assert home.wait(started)["state"]["type"] == "COMPLETED"


def test_ui_asks_for_the_password_when_one_is_set(home: Home) -> None:
    done = home.browse("login", AUTH)
    assert "deploy-model" not in done["before"]
    assert "deploy-model" in done["after"]
    assert done["foreign"] == []


def test_deploy_uses_the_password_and_says_so_when_it_is_wrong(home: Home, tmp_path: Path) -> None:
    missing, wrong, right = _deploy(home, ""), _deploy(home, "ann:other"), _deploy(home, AUTH)
    assert (missing.returncode, wrong.returncode) == (2, 2)
    assert "wants a user and password, or a key; set FANOUT_AUTH=USER:PASSWORD" in missing.stderr
    assert "does not accept the user and password in FANOUT_AUTH" in wrong.stderr
    assert "Traceback" not in missing.stderr + wrong.stderr
    assert right.returncode == 0, right.stderr
    assert json.loads(right.stdout)["manifests"][0]["status"] == "passed"
