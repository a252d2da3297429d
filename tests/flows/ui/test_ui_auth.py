"""A password for the UI and the API, and the command line against such a server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prefect_home import Home, at_home

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
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Basic realm="releases"')
    assert httpx.get(report, headers={"Authorization": "Basic !"}).status_code == 401
    assert httpx.get(report, headers=home.headers()).status_code == 200


def test_ui_asks_for_the_password_when_one_is_set(home: Home) -> None:
    done = home.browse("login", AUTH)
    assert "deploy-model" not in done["before"]
    assert "deploy-model" in done["after"]
    assert done["foreign"] == []


def test_deploy_uses_the_password_and_says_so_when_it_is_wrong(home: Home, tmp_path: Path) -> None:
    missing, wrong, right = _deploy(home, ""), _deploy(home, "ann:other"), _deploy(home, AUTH)
    assert (missing.returncode, wrong.returncode) == (2, 2)
    assert "wants a user and password; set FANOUT_AUTH=USER:PASSWORD" in missing.stderr
    assert "does not accept the user and password in FANOUT_AUTH" in wrong.stderr
    assert "Traceback" not in missing.stderr + wrong.stderr
    assert right.returncode == 0, right.stderr
    assert json.loads(right.stdout)["manifests"][0]["status"] == "passed"
