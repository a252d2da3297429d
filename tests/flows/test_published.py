"""Releases that are signed, and published elsewhere, from the command line: a real server that speaks S3 on the loopback."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import s3
import samples
import yaml
from command import Fanout, Ran, Server

from converters.formats import digest
from converters.release.manifest import FileRecord, read
from converters.release.mirror import Mirror


@pytest.fixture(name="place", scope="module")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A bucket's URL, and the environment that leads there."""
    with s3.running(tmp_path_factory.mktemp("s3")) as server:
        yield f"s3://{server.bucket}/releases", server.environment


def edit_consistently(release: Path) -> None:
    page = release / "report.html"
    page.write_text("all is well")
    written = read(release)
    record = FileRecord(sha256=digest.of_file(page), bytes=page.stat().st_size)
    fresh = written.model_copy(update={"files": {**written.files, page.name: record}}).sealed()
    (release / "manifest.json").write_text(fresh.to_json())


def test_releases_are_signed_and_follow_what_is_current(
    tmp_path: Path, fanout: Fanout, server: Server, place: tuple[str, dict[str, str]]
) -> None:
    url, environment = place
    (tmp_path / "signed.py").write_text(samples.MODULE)
    (tmp_path / "signed.yaml").write_text(yaml.safe_dump({"model": "signed.py:build", "targets": {"hdf5": {}}}))
    releases = tmp_path / "releases"

    def run(*arguments: object, **more: str) -> Ran:
        return fanout(*arguments, releases=releases, environment={**environment, **more})

    made = run("keygen", tmp_path / "keys")
    assert made.status == 0
    keys = dict(line.partition(" ")[0].split("=") for line in made.out.splitlines())
    assert set(keys) == {"FANOUT_SIGNING_KEY", "FANOUT_VERIFY_KEYS"}
    told = {**keys, "FANOUT_PUBLISH": url}

    unable = run("deploy", tmp_path / "signed.yaml", FANOUT_VERIFY_KEYS=keys["FANOUT_VERIFY_KEYS"])
    assert unable.status == 2
    assert "set FANOUT_SIGNING_KEY" in unable.err
    assert not (releases / "signed").exists()

    first = run("deploy", tmp_path / "signed.yaml", **told)
    assert first.status == 0, first.err
    assert Mirror(url).current("signed") == 1
    unchanged = run("deploy", tmp_path / "signed.yaml", **told)
    assert unchanged.status == 0
    assert "unchanged: signed 1 is current" in unchanged.out + unchanged.err

    there = run("check", f"{url}/signed/current", **told)
    assert there.status == 0, there.out
    assert "verified" in there.out

    # The place is out of order: what is here is promoted all the same, and what is there stays.
    (tmp_path / "file").touch()
    elsewhere = run(
        "deploy", tmp_path / "signed.yaml", "--force", **{**told, "FANOUT_PUBLISH": f"{tmp_path}/file/below"}
    )
    assert elsewhere.status == 1
    assert "signed 2  passed" in elsewhere.out
    assert elsewhere.err.count("fanout: signed 2 is current here, and not there: the place") == 1
    assert "Traceback" not in elsewhere.err
    assert (releases / "signed" / "current").resolve().name == "2"
    assert Mirror(url).current("signed") == 1

    published = run("publish", "signed", **told)
    assert published.status == 0, published.err
    assert published.out.startswith(f"signed 2 is current at {url} (")
    back = run("rollback", "signed", **told)
    assert back.out.splitlines() == ["signed 1 is current", f"signed 1 is current at {url} (all of it was there)"]
    assert Mirror(url).current("signed") == 1

    edit_consistently(releases / "signed" / "2")
    refused = run("promote", "signed", "2", **told)
    assert refused.status == 2
    assert "it was changed afterwards" in refused.err
    assert Mirror(url).current("signed") == 1
    found = run("check", releases / "signed" / "2", **told)
    assert found.status == 1
    assert "it was changed afterwards" in found.out
    edited = run("deploy", tmp_path / "signed.yaml", **told)
    assert edited.status == 0  # the current one is as it was signed
    (releases / "signed" / "1" / "manifest.sig").unlink()
    redone = run("deploy", tmp_path / "signed.yaml", **told)
    assert redone.status == 0, redone.err
    assert "is not signed" in redone.err
    assert Mirror(url).current("signed") == 3

    pruned = run("prune", "signed", "--keep", "1", **told)
    assert pruned.status == 0, pruned.err
    assert pruned.out.splitlines() == ["removed signed 1, 2", f"removed signed 1, 2 at {url}"]
    listed = run("releases", "signed", **told)
    assert listed.out.splitlines()[-1] == f"at {url}: 3 is current"

    secret = Path(keys["FANOUT_SIGNING_KEY"]).read_text().splitlines()[1].encode()
    places = [path for root in (releases, server.home) for path in root.rglob("*") if path.is_file()]
    assert [path for path in places if secret in path.read_bytes()] == []
    provenance = json.loads((releases / "signed" / "3" / "provenance.json").read_text())
    assert UUID(provenance["predicate"]["runDetails"]["metadata"]["invocationId"])
    assert str(tmp_path) not in json.dumps(provenance)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["publish", "m"], "set FANOUT_PUBLISH or --publish"),
        (["publish", "m", "--publish", "nonsense://x"], "the place nonsense://x cannot be opened"),
        (["publish", "m", "--publish", "elsewhere"], "has no release of 'm'"),
        (["deploy", "digits", "--publish", "nonsense://x"], "the place nonsense://x cannot be opened"),
        (["check", "memory://x/m"], "names no release; give URL/NAME/VERSION"),
        (["check", "memory://x/m/current"], "no release of m is current there"),
        (["keygen", "file"], "no keys can be written to file"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(arguments: list[str], said: str, fanout: Fanout, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = fanout(*arguments, releases=tmp_path / "releases")
    assert ran.status == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_place_that_does_not_answer_ends_with_1(fanout: Fanout, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = fanout("check", f"file://{tmp_path}/file/m/1", releases=tmp_path / "releases")
    assert ran.status == 2
    ran = fanout("check", "ftp://127.0.0.1:1/x/m/1", releases=tmp_path / "releases")
    assert ran.status == 1
    assert "the place ftp://127.0.0.1:1/x cannot be opened: ConnectionRefusedError" in ran.err
