"""What is fetched of releases beside Prefect's UI."""

import asyncio
import io
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from converters.release import files, publish
from converters.release.manifest import Manifest, SourceRecord
from converters.release.staging import staging
from flows.ui import outputs

CONTENT = {
    "report.html": "<p>report</p>", "key.json": "{}", "golden.npz": "golden", "tflite/int8.tflite": "TFL3", "logs/a.log": "said",
    "tfjs/graph/f/model.json": "{}", "tfjs/graph/f/shard1": "weights", "examples/page.html": "<script>alert(1)</script>",
}  # fmt: skip


class Client:
    """Asks an application without a socket."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        async def asked() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://here") as client:
                return await client.get(path)

        return asyncio.run(asked())


@pytest.fixture(name="client")
def _client(tmp_path: Path) -> Client:
    """A server of one release of these files, promoted, and of one that its manifest does not list."""
    with staging(tmp_path / "releases", "m") as place:
        for name, text in CONTENT.items():
            (place.release / name).parent.mkdir(parents=True, exist_ok=True)
            (place.release / name).write_text(text)
        told: dict[str, Any] = {
            "model": "m",
            "version": 1,
            "status": "passed",
            "created": "2026-11-22T02:00:07Z",
            "seconds": 1.0,
        }
        source = SourceRecord(kind="module", digest="sha256:0", signatures={})
        listed = files.record_files(place.release)
        place.publish(Manifest(**told, source=source, environment={}, targets=[], files=listed))
    publish.promote(tmp_path / "releases", "m", 1)
    (tmp_path / "releases" / "m" / "1" / "foreign.txt").write_text("foreign")
    (tmp_path / "releases" / "secret.txt").write_text("secret")
    app = Starlette(routes=[Route("/releases/{path:path}", outputs.fetched)])
    app.state.settings = SimpleNamespace(releases=tmp_path / "releases")
    return Client(app)


def test_what_the_manifest_lists_is_fetched_and_nothing_of_it_is_a_page_of_this_origin(client: Client) -> None:
    for name, text in CONTENT.items():
        answer = client.get(f"/releases/m/1/{name}")
        assert (answer.status_code, answer.text) == ((404, "no such file") if name == "key.json" else (200, text))
        if answer.status_code == 200:
            assert answer.headers["content-security-policy"].startswith("sandbox")
    assert client.get("/releases/m/1/report.html").headers["content-type"].startswith("text/html")
    saved = client.get("/releases/m/1/examples/page.html")
    assert saved.headers["content-disposition"].startswith("attachment")
    assert client.get("/releases/m/1/manifest.json").json()["model"] == "m"


def test_a_folder_is_fetched_as_an_archive_that_leaves_nothing_behind(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    answer = client.get("/releases/m/1/tfjs/graph/f")
    assert 'filename="m-1-tfjs-graph-f.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == {
            "f/model.json": "{}",
            "f/shard1": "weights",
        }
    assert set(tmp_path.iterdir()) == before


def test_the_list_of_all_models_is_served(client: Client) -> None:
    for path in ("/releases/", "/releases/index.html"):
        assert 'href="m/1/report.html"' in client.get(path).text


@pytest.mark.parametrize(
    "path",
    [
        *("m/1/foreign.txt", "secret.txt", "m/1/../../secret.txt", "m/1/%2e%2e/%2e%2e/secret.txt", "m/2/report.html", "m/1/", "m"),
        *("m/1/tfjs/../../../secret.txt", f"m/1/{'x' * 5000}", f"{'x' * 300}/1/report.html", "m/1/a%00b", "../m/1/golden.npz"),
        *("m/current/report.html", "m/1//etc/passwd", "m/1/C:%5Cx", "m/1/lo"),
    ],
)  # fmt: skip
def test_nothing_else_is_served(client: Client, path: str) -> None:
    assert client.get(f"/releases/{path}").status_code == 404


def test_a_file_that_is_only_linked_from_a_release_is_not_served(client: Client, tmp_path: Path) -> None:
    log = tmp_path / "releases" / "m" / "1" / "logs" / "a.log"
    log.unlink()
    log.symlink_to(tmp_path / "releases" / "secret.txt")
    assert client.get("/releases/m/1/logs/a.log").status_code == 404
    assert client.get("/releases/m/1/logs").status_code == 404
