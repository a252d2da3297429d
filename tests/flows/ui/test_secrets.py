"""No secret that was given to `fanout ui` is in a release, a log, a page, a list of processes or Prefect's database."""

import base64
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
import samples
import yaml
from prefect_home import Home, at_home, free_port, launch, listening
from waiting import PATIENCE_SECONDS, wait_until

from converters.config.read import NIGHTLY
from flows.settings import Settings

pytestmark = pytest.mark.server

PASSWORD, LITERAL = "p4ss-in-the-file", "literal-in-the-webhook"
GIVEN = {
    "FANOUT_WEBHOOK": "s3cret-of-the-webhook",
    "FANOUT_PAGER": "s3cret-of-the-pager",
    "FANOUT_STORE": "s3://k3y-of-the-store:s3cret-of-the-store@bucket/folder",
    "FANOUT_PUBLISH": "memory://k3y-of-the-place:s3cret-of-the-place@place/folder",
    "FANOUT_ANY": "s3cret-of-anything",
    "TF_ANY": "s3cret-of-tensorflow",
    "KERAS_ANY": "s3cret-of-keras",
    "AWS_SECRET_ACCESS_KEY": "s3cret-of-the-cloud",
    "PLAIN": "s3cret-of-a-plain-name",
}
AUTH = f"ann:{PASSWORD}"
SECRETS = [
    *GIVEN.values(),
    *("k3y-of-the-store", "s3cret-of-the-store", "k3y-of-the-place", "s3cret-of-the-place", PASSWORD, LITERAL),
    base64.b64encode(AUTH.encode()).decode(),
]
ROOT = Path(__file__).parents[3]


def write_configs(folder: Path, webhook: str) -> None:
    """A model that can be deployed, and a webhook and a command that do not work and say so."""
    (folder / "configs").mkdir()
    samples.write_spec(folder / "configs", samples.MODULE, name="module", targets={"serving": {}})
    told = {
        "webhook": f"{webhook}/{LITERAL}/${{FANOUT_WEBHOOK}}",
        "command": f': {LITERAL}; echo "pages with $FANOUT_PAGER and ${{PLAIN}}" >&2; exit 3',
    }
    (folder / "configs" / f"{NIGHTLY}.yaml").write_text(yaml.safe_dump({"schedule": "never", "on_failure": told}))


def in_files(folder: Path) -> list[str]:
    """The secrets that files below the folder hold, and rows of the databases among them, which may span pages."""
    found = []
    for path in (each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()):
        content = path.read_bytes()
        if content.startswith(b"SQLite format 3"):
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
                content += "\n".join(database.iterdump()).encode()
            database.close()
        found += [f"{secret} in {path}" for secret in SECRETS if secret.encode() in content]
    return found


@contextmanager
def arguments_seen() -> Iterator[list[str]]:
    """The processes whose arguments held a secret at some moment of the block; a command's text is its shell's argument."""
    seen: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    line = " ".join(process.cmdline())
                    seen.extend(f"{secret} in {line}" for secret in SECRETS if secret in line and secret != LITERAL)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        done.set()
        looking.join()


def deploy(home: Home, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """`fanout deploy` with the same secrets, from another terminal."""
    variables = {
        **os.environ,
        **environment,
        "PREFECT_HOME": str(home.folder / "client"),
        "PREFECT_API_URL": f"{home.address}/api",
        "FANOUT_CONFIGS": str(home.folder / "configs"),
        "FANOUT_RELEASES": str(home.releases),
    }
    command = [sys.executable, "-m", "flows", "deploy", "module", "--force"]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def test_no_secret_is_anywhere_when_runs_pass_and_fail(tmp_path: Path) -> None:
    hidden = tmp_path.parent / f"{tmp_path.name}-auth"
    hidden.touch(mode=0o600)
    hidden.write_text(f"{AUTH}\n")
    given = {**GIVEN, "FANOUT_AUTH_FILE": str(hidden)}
    with ExitStack() as running:
        seen, (webhook, _) = running.enter_context(arguments_seen()), running.enter_context(listening())
        write_configs(tmp_path, webhook)
        home = running.enter_context(at_home(tmp_path, **given))
        home.auth = AUTH
        passed = home.start("deploy-model", model="module")
        assert home.wait(passed)["state"]["type"] == "COMPLETED", home.logs(passed)
        path = f"deployments/{home.deployment('deploy-model')['id']}/create_flow_run"
        failed = home.ask(path, parameters={"model": "absent"}, enforce_parameter_schema=False)["id"]
        assert home.wait(failed)["state"]["type"] == "FAILED"
        wait_until(lambda: sum("did not work" in line for line in home.logs(failed)) == 2)
        told = [line for line in home.logs(failed) if "did not work" in line]
        assert [line for line in told if "pages with $FANOUT_PAGER and $PLAIN" in line]
        assert [line for line in told if "it was answered with status 404" in line]
        again = deploy(home, given)
        assert again.returncode == 0, again.stderr
        pages = [
            httpx.get(f"{home.address}/{page}", headers=home.headers()).text
            for page in (*(f"releases/module/1/{name}" for name in ("report.html", "manifest.json")), "", "ui-settings")
        ]
        home.client.post(f"{home.address}/api/flow_runs/filter", json={}, headers=home.headers()).raise_for_status()
    assert [secret for secret in SECRETS for page in pages if secret in page] == []
    assert seen == []
    (tmp_path / "configs" / f"{NIGHTLY}.yaml").unlink()  # where the literal was given
    assert in_files(tmp_path) == []
    key = json.loads((tmp_path / "releases/module/1/key.json").read_text())["source"]
    assert not [name for name in key if name.removeprefix("$") in GIVEN]


def test_in_files_finds_a_secret_when_a_file_or_a_database_holds_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_text(f"a {PASSWORD} b")
    with sqlite3.connect(tmp_path / "database") as database:
        database.execute("create table t (a text)")
        database.execute("insert into t values (?)", ("x" * 4000 + LITERAL + "x" * 4000,))
    database.close()
    assert sorted(found.partition(" ")[0] for found in in_files(tmp_path)) == [LITERAL, PASSWORD]


def test_arguments_seen_names_a_process_when_a_secret_is_among_its_arguments() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(300)", PASSWORD]
    with arguments_seen() as seen, subprocess.Popen(command) as sleeping:
        try:
            wait_until(lambda: seen)
        finally:
            sleeping.kill()


@pytest.mark.parametrize("name", ["AUTH", "FANOUT_AUTH"])
def test_make_says_how_to_give_a_password_when_it_is_an_argument(name: str) -> None:
    command = ["make", "--dry-run", "ui", f"{name}={AUTH}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "FANOUT_AUTH_FILE=PATH, a file that only you may read" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def test_make_hands_on_the_file_of_the_password_and_refuses_auth_of_the_environment() -> None:
    def dry(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["make", "--dry-run", *arguments],
            cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert dry("ui", "FANOUT_AUTH_FILE=/a/file", FANOUT_AUTH=AUTH).returncode == 0
    assert "AUTH is not read" in dry("ui", AUTH=AUTH).stderr
    assert dry("help", AUTH=AUTH).returncode == 0
    assert "FANOUT_AUTH_FILE=file" in subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("mode", "content", "said"),
    [
        (0o644, AUTH, "other users may read or change"),
        (0o600, "nocolon", "must be USER:PASSWORD"),
        (None, "", "No such file"),
    ],
)
def test_ui_exits_with_2_and_one_sentence_when_the_file_of_the_password_is_wrong(
    mode: int | None, content: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "auth"
    if mode is not None:
        file.touch(mode=mode)
        file.chmod(mode)
        file.write_text(content)
    process = launch(tmp_path, free_port(), FANOUT_AUTH_FILE=str(file))
    assert process.wait(PATIENCE_SECONDS) == 2
    printed = (tmp_path / "ui.log").read_text()
    assert said in printed
    assert len(printed.strip().splitlines()) == 1


def test_settings_show_no_password_when_they_are_printed(tmp_path: Path) -> None:
    settings = Settings.read(auth=AUTH)
    assert PASSWORD not in f"{settings!r} {settings}"
    assert settings.environment()["FANOUT_AUTH"] == AUTH
