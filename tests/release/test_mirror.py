"""Releases in another place: whole or not there at all, whatever ends the one who brings them."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import s3
from fsspec.core import url_to_fs
from waiting import wait_until

from converters.contract.errors import BadInput, Damaged, FanoutError, SignatureFailed, StoreFailed
from converters.release import signing
from converters.release.files import changed_files, record_files
from converters.release.manifest import Manifest, SourceRecord, read
from converters.release.mirror import Mirror, Sent, fetched
from converters.release.signing import NO_KEYS, Keys
from converters.release.staging import staging
from converters.targets.serving import layout

FILES = 12


def released(releases: Path, keys: Keys = NO_KEYS, model: str = "m", files: int = FILES) -> Path:
    """The next version of a model, with so many files and a servable."""
    with staging(releases, model) as place:
        serving = place.release / "serving" / str(place.version)
        serving.mkdir(parents=True)
        (serving / "saved_model.pb").write_bytes(b"graph")
        for number in range(files):
            (place.release / f"{number:03}.bin").write_bytes(f"{model} {place.version} {number}".encode() * 50)
        written = Manifest(
            model=model, version=place.version, status="passed", created="2026-11-22T02:00:07Z", seconds=1.0,
            source=SourceRecord(kind="module", digest="sha256:0", signatures={}), environment={}, targets=[],
            files=record_files(place.release),
        )  # fmt: skip
        return place.publish(written.sealed(), keys)


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.S3]:
    with s3.running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(name="bucket")
def _bucket(server: s3.S3, tmp_path: Path) -> str:
    return f"s3://{server.bucket}/{tmp_path.name}"


@pytest.fixture(name="url", params=["{}/elsewhere", "file://{}/elsewhere", "memory://{}", "s3://"])
def _url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.getfixturevalue("bucket")) if request.param == "s3://" else request.param.format(tmp_path)


def whole(mirror: Mirror, model: str, version: int) -> bool:
    """Whether what is there is what its manifest says."""
    with mirror.fetch(model, version) as copy:
        return not changed_files(copy, read(copy))


def there(url: str) -> tuple[Any, str]:
    """What others who read and write there use: fsspec's own file system, and the path in it."""
    fs, root = url_to_fs(url)
    fs.invalidate_cache()
    return fs, root.rstrip("/")


def names(url: str) -> set[str]:
    """All files there."""
    fs, root = there(url)
    return {found[len(root) + 1 :] for found in fs.find(root)}


def served(url: str) -> dict[str, str]:
    fs, root = there(url)
    return layout.parse_models_config(fs.cat_file(f"{root}/models.config").decode())


def test_publish_brings_a_release_and_makes_it_current(url: str, tmp_path: Path) -> None:
    mirror = Mirror(url)
    first, second = released(tmp_path / "releases"), released(tmp_path / "releases")
    assert mirror.current("m") is None
    assert mirror.publish(first).files == FILES + 2
    assert (mirror.current("m"), whole(mirror, "m", 1)) == (1, True)
    assert mirror.publish(second).files == FILES + 2
    assert (mirror.current("m"), whole(mirror, "m", 1), whole(mirror, "m", 2)) == (2, True, True)
    assert served(url) == {"m": f"{url}/m/2/serving"}
    assert mirror.publish(first) == Sent(0, 0)
    assert mirror.current("m") == 1
    files = {f"m/{release.name}/{name}" for release in (first, second) for name in record_files(release, ())}
    assert names(url) == {*files, "m/current", "models.config"}


def test_models_config_lists_what_is_current_of_every_model(url: str, tmp_path: Path) -> None:
    mirror = Mirror(url)
    for model in ("b", "a"):
        mirror.publish(released(tmp_path / "releases", model=model, files=1))
    assert served(url) == {"a": f"{url}/a/1/serving", "b": f"{url}/b/1/serving"}


@pytest.mark.parametrize("harm", ["missing", "shorter", "same size", "foreign", "part"])
def test_publish_sends_only_what_is_missing_or_wrong_when_it_was_interrupted(
    harm: str, url: str, tmp_path: Path
) -> None:
    mirror, release = Mirror(url), released(tmp_path / "releases")
    fs, root = there(url)
    mirror.publish(release)
    path = f"{root}/m/1/007.bin"
    content = (release / "007.bin").read_bytes()
    fs.rm_file(f"{root}/m/1/manifest.json")
    if harm == "missing":
        fs.rm_file(path)
    elif harm in ("shorter", "same size"):
        fs.pipe_file(path, content[:-1] + (b"?" if harm == "same size" else b""))
    else:
        fs.pipe_file(f"{root}/m/1/{'evil' if harm == 'foreign' else '.manifest.json.0.part'}", b"x")
    assert mirror.publish(release).files == (1 if harm in ("foreign", "part") else 2)
    assert whole(mirror, "m", 1)
    assert names(url) == {*(f"m/1/{name}" for name in record_files(release, ())), "m/current", "models.config"}


def test_publish_refuses_another_release_of_that_version(url: str, tmp_path: Path) -> None:
    mirror = Mirror(url)
    mirror.publish(released(tmp_path / "one"))
    with pytest.raises(BadInput, match="m/1 is another release, and none is ever changed"):
        mirror.publish(released(tmp_path / "two", files=3))
    assert whole(mirror, "m", 1)


def test_publish_refuses_a_release_whose_files_are_not_what_the_manifest_says(url: str, tmp_path: Path) -> None:
    mirror = Mirror(url)
    mirror.publish(released(tmp_path / "releases"))
    release = released(tmp_path / "releases")
    (release / "007.bin").write_bytes((release / "007.bin").read_bytes()[:-1] + b"?")
    with pytest.raises(Damaged, match=r"007\.bin is not what the manifest says; it was not published"):
        mirror.publish(release)
    assert mirror.current("m") == 1
    assert "m/2/manifest.json" not in names(url)


def test_publish_refuses_what_is_not_signed_by_a_trusted_key(url: str, tmp_path: Path) -> None:
    keys, other = (Keys.read(*signing.generate(tmp_path / name)) for name in ("keys", "other"))
    mirror = Mirror(url)
    mirror.publish(released(tmp_path / "releases", keys), keys)
    for some in (NO_KEYS, other):
        with pytest.raises(SignatureFailed):
            mirror.publish(released(tmp_path / "releases", some), keys)
    assert mirror.current("m") == 1
    with mirror.fetch("m", 1, keys) as copy:
        assert keys.verify(copy) is not None
        assert changed_files(copy, read(copy)) == {}
    with mirror.fetch("m", 1, other) as copy:
        assert {path.name for path in copy.iterdir()} == {"manifest.json", "manifest.sig"}


@pytest.mark.parametrize("name", ["000.bin", "serving/1/saved_model.pb", "evil/new", "manifest.json"])
@pytest.mark.parametrize("change", ["other", "longer", "gone"])
def test_fetch_shows_what_is_wrong_there(name: str, change: str, bucket: str, tmp_path: Path) -> None:
    mirror, release = Mirror(bucket), released(tmp_path / "releases", files=3)
    fs, root = there(bucket)
    mirror.publish(release)
    path = f"{root}/m/1/{name}"
    before = (release / name).read_bytes() if (release / name).is_file() else b"new"
    if change == "gone":
        if name == "evil/new":
            fs.pipe_file(path, b"")
        else:
            fs.rm_file(path)
    else:
        fs.pipe_file(path, before[:-3] + b"?! " if change == "other" else before + b" " * 10**6 + b"x")
    if name == "manifest.json":
        said = "it has no manifest.json" if change == "gone" else "is no manifest of schema 1"
        with pytest.raises(BadInput, match=said), mirror.fetch("m", 1):
            pass
        return
    with mirror.fetch("m", 1) as copy:
        assert set(changed_files(copy, read(copy))) - {"evil"} == {name}
        assert sum(path.stat().st_size for path in copy.rglob("*")) < 10**6


def test_fetch_says_what_is_not_there(bucket: str) -> None:
    with pytest.raises(BadInput, match=r"m/1 is no release: it has no manifest\.json"), Mirror(bucket).fetch("m", 1):
        pass


@pytest.mark.parametrize("which", ["2", "current"])
def test_fetched_reads_a_release_by_its_url(which: str, url: str, tmp_path: Path) -> None:
    for _ in range(2):
        Mirror(url).publish(released(tmp_path / "releases", files=3))
    with fetched(f"{url if '://' in url else f'file://{url}'}/m/{which}") as copy:
        assert (read(copy).version, changed_files(copy, read(copy))) == (2, {})
    assert not copy.exists()


@pytest.mark.parametrize("below", ["", "/m", "/m/x", "/m/1x", "/-m/1", "/../1", "/m/current/", "/m/" + "9" * 30])
def test_fetched_says_what_to_give_when_a_url_names_no_release(below: str, bucket: str) -> None:
    said = "no release of m is current there" if "current" in below else "names no release; give URL/NAME/VERSION"
    with pytest.raises(BadInput, match=said), fetched(f"{bucket}{below}"):
        pass


@pytest.mark.parametrize("name", ["/{}/outside", "../../../outside", "a/../../../../outside"])
def test_fetch_refuses_names_that_lead_out(name: str, server: s3.S3, bucket: str, tmp_path: Path) -> None:
    mirror = Mirror(bucket)
    mirror.publish(released(tmp_path / "releases", files=1))
    fs, root = there(bucket)
    key = f"{root}/m/1/{name.format(tmp_path)}".partition("/")[2]
    fs.call_s3("put_object", Bucket=server.bucket, Key=key, Body=b"evil")
    with pytest.raises(Damaged, match="whose name leads out of it"), mirror.fetch("m", 1):
        pass
    assert not list(tmp_path.rglob("outside"))


def test_prune_removes_what_is_here_no_more_but_never_what_is_current_or_newer(url: str, tmp_path: Path) -> None:
    mirror, made = Mirror(url), [released(tmp_path / "releases", files=2) for _ in range(5)]
    assert mirror.prune("m", [1]) == []
    for release in (*made, made[1]):
        mirror.publish(release)
    assert mirror.current("m") == 2
    assert mirror.prune("m", [3, 4]) == [1]
    assert {name.split("/")[1] for name in names(url) if name.startswith("m/")} == {"2", "3", "4", "5", "current"}
    assert whole(mirror, "m", 2)
    assert not there(url)[0].exists(f"{there(url)[1]}/m/1")


def test_current_says_when_it_names_no_version(url: str) -> None:
    mirror = Mirror(url)
    fs, root = there(url)
    fs.makedirs(f"{root}/m", exist_ok=True)
    fs.pipe_file(f"{root}/m/current", b"../../x")
    with pytest.raises(Damaged, match="holds no version but"):
        mirror.current("m")


def test_publish_says_when_the_place_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFailed, match="file/below cannot be written: "):
        Mirror(f"{tmp_path}/file/below").publish(released(tmp_path / "releases", files=1))


def test_mirror_says_what_to_give_when_the_url_is_none() -> None:
    with pytest.raises(BadInput, match=r"the place nonsense://x cannot be opened: .*; give a directory or a URL"):
        Mirror("nonsense://x")


def test_what_is_said_of_a_place_holds_no_password(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as found:
        Mirror("nonsense://user:s3cret@host/x")
    assert "nonsense://host/x cannot be opened" in str(found.value)
    assert "s3cret" not in str(found.value)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"ftp://user:s3cret@127.0.0.1:{nobody.getsockname()[1]}/x"
        with pytest.raises(FanoutError) as found_too:
            Mirror(url).publish(released(tmp_path / "releases", files=1))
    assert "s3cret" not in str(found_too.value)
    assert "127.0.0.1" in str(found_too.value)


PUBLISHER = """
import sys
from pathlib import Path
from converters.release.mirror import Mirror
print(Mirror(sys.argv[1]).publish(Path(sys.argv[2])))
"""


def killed(url: str, release: Path, when: Callable[[], bool]) -> None:
    """Publish in another process, and end that by SIGKILL as soon as `when`, unless it was faster."""
    process = subprocess.Popen([sys.executable, "-c", PUBLISHER, url, str(release)], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or when())
    finally:
        process.kill()
        process.wait()


def test_a_killed_upload_shows_nobody_anything_and_the_next_sends_what_is_missing(
    server: s3.S3, bucket: str, tmp_path: Path
) -> None:
    mirror = Mirror(bucket)
    mirror.publish(released(tmp_path / "releases"))
    release = released(tmp_path / "releases")
    aside = tmp_path / "aside"
    shutil.copytree(release, aside)
    (aside / "007.bin").unlink()
    subprocess.run(["mkfifo", str(aside / "007.bin")], check=True)  # who opens it to read waits until it is killed
    before = len(server.puts())
    killed(bucket, aside, lambda: len(server.puts()) - before == 7)
    assert len(server.puts()) - before == 7
    assert "m/2/manifest.json" not in names(bucket)
    assert (mirror.current("m"), whole(mirror, "m", 1)) == (1, True)
    assert served(bucket) == {"m": f"{bucket}/m/1/serving"}
    with pytest.raises(BadInput, match=r"it has no manifest\.json"), mirror.fetch("m", 2):
        pass
    sent = mirror.publish(release)
    puts = [key.partition("/m/2/")[2] for key in server.puts()[before + 7 :]]
    files = [name for name in puts if name and "manifest" not in name]
    assert files == sorted(set(record_files(release)) - {f"{n:03}.bin" for n in range(7)})
    assert sent.files == len(files) + 1 == FILES - 7 + 2
    assert (mirror.current("m"), whole(mirror, "m", 2)) == (2, True)
    print(f"killed after 7 of {FILES + 2} files; the next call sent {sent.files} files")
