"""Releases on disk: versions appear whole, one is current, and nothing half made is left."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from waiting import wait_until

from converters.contract.errors import BadInput
from converters.release import files, history, locking
from converters.release import publish as release
from converters.release.manifest import Manifest, SourceRecord
from converters.release.staging import require_writable, staging
from converters.targets.serving import layout


def manifest(version: int, status: Literal["passed", "failed"] = "passed", model: str = "m") -> Manifest:
    source = SourceRecord(kind="module", digest="sha256:0", signatures={})
    common = {"created": "2026-11-22T02:00:07Z", "seconds": 1.0, "environment": {}, "targets": []}
    return Manifest(model=model, version=version, status=status, source=source, **common)


def publish(
    releases: Path, status: Literal["passed", "failed"] = "passed", model: str = "m", *, served: bool = True
) -> int:
    """Publish the next version; returns it."""
    with staging(releases, model) as place:
        (place.release / "golden.npz").write_text(str(place.version))
        if served:
            (place.release / "serving" / str(place.version)).mkdir(parents=True)
            (place.release / "serving" / str(place.version) / "saved_model.pb").touch()
        made = manifest(place.version, status, model)
        place.publish(made.model_copy(update={"files": files.record_files(place.release)}))
    return place.version


def left(releases: Path, model: str = "m") -> set[str]:
    """The names in the model's directory."""
    return {path.name for path in (releases / model).iterdir()}


@contextmanager
def staged_elsewhere(releases: Path, ending: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has reserved a version, which it prints, and then runs `ending`."""
    code = (
        "import pathlib, sys, time\nfrom converters.release.staging import staging\n"
        f"with staging(pathlib.Path({str(releases)!r}), 'm') as place:\n"
        f"    (place.release / 'half').touch()\n    print(place.version, flush=True)\n    {ending}\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_publish_makes_the_version_appear_whole(tmp_path: Path) -> None:
    with staging(tmp_path, "m") as place:
        (place.release / "file").write_text("content")
        (place.root / "note").write_text("not released")
        inode = place.release.stat().st_ino
        assert left(tmp_path) == {".staging-1"}
        path = place.publish(manifest(1))
        assert path == tmp_path / "m" / "1"
    assert left(tmp_path) == {"1"}
    assert path.stat().st_ino == inode
    assert {file.name for file in path.iterdir()} == {"file", "manifest.json"}


def test_publish_is_never_seen_half_made_when_somebody_watches(tmp_path: Path) -> None:
    seen: list[set[str]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            try:
                seen.append({file.name for file in (tmp_path / "m" / "1").iterdir()})
            except FileNotFoundError:
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    with staging(tmp_path, "m") as place:
        for index in range(50):
            (place.release / str(index)).write_text("x")
        place.publish(manifest(1))
        wait_until(lambda: seen)
    done.set()
    watcher.join()
    assert {len(names) for names in seen} == {51}


def test_staging_leaves_nothing_when_the_deploy_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staging(tmp_path, "m") as place:
        (place.release / "absent").read_bytes()
    assert list(tmp_path.rglob("*")) == []


def test_staging_leaves_nothing_when_somebody_writes_there_for_a_moment_yet(tmp_path: Path) -> None:
    code = (
        "import itertools, pathlib, sys, time\nend = time.monotonic() + 1\n"
        "for number in itertools.takewhile(lambda _: time.monotonic() < end, itertools.count()):\n"
        "    pathlib.Path(sys.argv[1], str(number)).mkdir()\n"
        "    time.sleep(0.01)\n"  # as many as can be removed in time on a busy machine
    )
    with staging(tmp_path, "m") as place:
        writer = subprocess.Popen([sys.executable, "-c", code, str(place.release)], stderr=subprocess.DEVNULL)
        while not any(place.release.iterdir()):
            time.sleep(0.01)
    writer.wait()
    assert list(tmp_path.rglob("*")) == []


def test_staging_leaves_earlier_releases_alone_when_the_deploy_fails(tmp_path: Path) -> None:
    publish(tmp_path)
    with pytest.raises(ZeroDivisionError), staging(tmp_path, "m"):
        _ = 1 / 0
    assert left(tmp_path) == {"1"}


def test_staging_removes_what_was_abandoned_and_keeps_what_is_live(tmp_path: Path) -> None:
    with staged_elsewhere(tmp_path, "time.sleep(300)") as live, staged_elsewhere(tmp_path, "time.sleep(300)") as dead:
        for process in (live, dead):
            assert process.stdout is not None
            assert process.stdout.readline()
        dead.kill()
        dead.wait()
        assert left(tmp_path) == {".staging-1", ".staging-2"}
        with staging(tmp_path, "m") as place:
            names = left(tmp_path)
            assert len(names) == 2
            assert place.root.name in names
            assert any((tmp_path / "m" / name / "release" / "half").exists() for name in names)
        live.kill()
        live.wait()
        publish(tmp_path)
        assert not any(name.startswith(".staging") for name in left(tmp_path))


def test_staging_removes_what_is_left_when_its_maker_was_killed_while_removing_it(tmp_path: Path) -> None:
    many = "[(place.release / str(number)).touch() for number in range(4000)]; print('leaving', flush=True)"
    with staged_elsewhere(tmp_path, many) as dead:
        assert dead.stdout is not None
        wait_until(lambda: dead.stdout.readline() == "leaving\n")
        wait_until(lambda: len(list((tmp_path / "m").glob("*/release/*"))) < 4000)
        dead.kill()
        dead.wait()
    publish(tmp_path)
    assert not any(name.startswith(".staging") for name in left(tmp_path))


def test_staging_removes_one_without_lock_which_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "m" / ".staging-1" / "release" / "hdf5").mkdir(parents=True)
    (tmp_path / "m" / ".pruned-1-x" / "hdf5").mkdir(parents=True)
    with staging(tmp_path, "m"):
        assert left(tmp_path) == {".staging-1"}
        assert not any((tmp_path / "m" / ".staging-1" / "release").iterdir())


def test_staging_gives_different_versions_when_many_reserve_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def reserve(_: int) -> int:
        together.wait()
        return publish(tmp_path)

    with ThreadPoolExecutor(8) as threads:
        versions = list(threads.map(reserve, range(8)))
    assert sorted(set(versions)) == sorted(versions) == release.versions(tmp_path, "m")
    assert all((tmp_path / "m" / str(v) / "golden.npz").read_text() == str(v) for v in versions)


def test_staging_succeeds_when_many_fail_at_once(tmp_path: Path) -> None:
    def attempt(_: int) -> None:
        with staging(tmp_path, "m") as place:
            assert place.release.is_dir()
            (place.release / "file").touch()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(attempt, range(200)))
    assert not (tmp_path / "m").exists() or left(tmp_path) == set()


def test_staging_waits_its_turn_when_another_looks_at_its_lock(tmp_path: Path) -> None:
    with staging(tmp_path, "m") as place:
        lock = os.open(place.root / ".lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(lock)


@pytest.mark.parametrize("check", [publish, require_writable])
def test_staging_raises_bad_input_when_releases_cannot_be_written(
    tmp_path: Path, check: Callable[[Path], object]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"file/releases cannot be written: Not a directory; choose another with"):
        check(tmp_path / "file" / "releases")


def test_staging_raises_bad_input_when_the_models_directory_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "m").touch()
    with pytest.raises(BadInput, match="cannot be written"):
        publish(tmp_path)


def test_require_writable_leaves_nothing_when_it_is_writable(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "releases")
    assert list((tmp_path / "new" / "releases").iterdir()) == []


def test_versions_are_sorted_as_numbers(tmp_path: Path) -> None:
    for _ in range(11):
        publish(tmp_path)
    assert release.versions(tmp_path, "m") == list(range(1, 12))


def test_versions_names_the_known_models_when_there_is_none_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no release of 'n'; it has none at all"):
        release.versions(tmp_path, "n")
    publish(tmp_path)
    with pytest.raises(BadInput, match="has no release of 'n'; it has m"):
        release.versions(tmp_path, "n")


def test_promote_switches_current_when_the_version_passed(tmp_path: Path) -> None:
    for version in (1, 2):
        publish(tmp_path)
        release.promote(tmp_path, "m", version)
        assert release.current(tmp_path, "m") == version
        link = tmp_path / "m" / "current"
        assert link.is_symlink()
        assert os.readlink(link) == str(version)
        assert (link / "golden.npz").read_text() == str(version)
    assert left(tmp_path) == {"1", "2", "current", "history.jsonl"}


def test_promote_is_never_without_a_current_when_somebody_watches(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path)
    release.promote(tmp_path, "m", 1)
    missing: list[OSError] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            try:
                (tmp_path / "m" / "current" / "golden.npz").read_text()
            except OSError as error:
                missing.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for index in range(20):
        release.promote(tmp_path, "m", 1 + index % 2)
    done.set()
    watcher.join()
    assert missing == []


def test_promote_refuses_when_the_version_failed(tmp_path: Path) -> None:
    publish(tmp_path)
    release.promote(tmp_path, "m", 1)
    publish(tmp_path, "failed")
    with pytest.raises(BadInput, match="m 2 failed its checks and cannot be promoted"):
        release.promote(tmp_path, "m", 2)
    assert release.current(tmp_path, "m") == 1


def test_promote_names_the_versions_when_there_is_no_such_one(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path)
    with pytest.raises(BadInput, match="m has no version 7; it has 1, 2"):
        release.promote(tmp_path, "m", 7)
    assert release.current(tmp_path, "m") is None


def test_rollback_promotes_the_newest_passed_version_before_the_current(tmp_path: Path) -> None:
    for status in ("passed", "passed", "failed", "passed"):
        publish(tmp_path, status)  # type: ignore[arg-type]
    release.promote(tmp_path, "m", 4)
    assert release.rollback(tmp_path, "m") == 2
    assert release.current(tmp_path, "m") == 2
    assert release.rollback(tmp_path, "m") == 1
    with pytest.raises(BadInput, match="m 1 is the oldest passed release"):
        release.rollback(tmp_path, "m")
    assert release.current(tmp_path, "m") == 1


def test_rollback_goes_to_what_was_promoted_before_when_that_was_no_older_version(tmp_path: Path) -> None:
    for _ in range(4):
        publish(tmp_path)
    for version in (2, 4, 1):
        release.promote(tmp_path, "m", version)
    assert [release.rollback(tmp_path, "m") for _ in range(2)] == [4, 2]
    entries = release.past(tmp_path, "m")
    assert [(entry.version, entry.replaced, entry.how) for entry in entries] == [
        (2, None, "promoted"),
        (4, 2, "promoted"),
        (1, 4, "promoted"),
        (4, 1, "rolled back"),
        (2, 4, "rolled back"),
    ]


def test_history_says_who_promoted_and_why(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path)
    release.promote(tmp_path, "m", 1)
    release.promote(tmp_path, "m", 2, how="deployed", by="flow run x", reason="because")
    first, second = release.past(tmp_path, "m")
    assert first.by == history.somebody()
    assert (second.by, second.reason) == ("flow run x", "because")
    assert first.time <= second.time


def test_history_lacks_only_what_was_cut_off_and_is_continued(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path)
    release.promote(tmp_path, "m", 1)
    lines = tmp_path / "m" / "history.jsonl"
    lines.write_text(lines.read_text() + '{"at": "2026')
    release.promote(tmp_path, "m", 2)
    assert [entry.version for entry in release.past(tmp_path, "m")] == [1, 2]


def test_what_a_killed_promotion_left_undone_is_done_by_the_next_look(tmp_path: Path) -> None:
    publish(tmp_path)
    (tmp_path / "m" / "current").symlink_to("1")
    (tmp_path / "m" / ".current-abc").mkdir()
    (tmp_path / "m" / ".current-abc" / "link").symlink_to("1")
    (tmp_path / ".models.config-abc").touch()
    release.tidy(tmp_path, "m")
    assert left(tmp_path) == {"1", "current", "history.jsonl"}
    assert [(entry.version, entry.how) for entry in release.past(tmp_path, "m")] == [(1, "found")]
    assert list(layout.parse_models_config((tmp_path / "models.config").read_text())) == ["m"]
    assert not list(tmp_path.glob(".models*"))


def test_promote_takes_a_model_off_models_config_when_it_can_not_be_served_any_more(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path, served=False)
    for version, listed in ((1, ["m"]), (2, []), (1, ["m"])):
        release.promote(tmp_path, "m", version)
        assert list(layout.parse_models_config((tmp_path / "models.config").read_text())) == listed


@pytest.mark.parametrize("name", ["golden.npz", "added", "serving/2"])
def test_promote_refuses_when_the_version_is_not_what_was_published(tmp_path: Path, name: str) -> None:
    publish(tmp_path)
    (tmp_path / "m" / "1" / name).mkdir() if name == "serving/2" else (tmp_path / "m" / "1" / name).write_text("other")
    with pytest.raises(BadInput, match=f"m 1 cannot be promoted: {name} is"):
        release.promote(tmp_path, "m", 1)


@pytest.mark.parametrize("target", ["none", "../../elsewhere", ""])
def test_current_raises_bad_input_when_it_leads_to_no_version(tmp_path: Path, target: str) -> None:
    publish(tmp_path)
    (tmp_path / "m" / "current").symlink_to(target or "/")
    with pytest.raises(BadInput, match="which is no version"):
        release.current(tmp_path, "m")


@pytest.mark.parametrize("act", [partial(release.promote, version=1), release.rollback, partial(release.prune, keep=1)])
def test_changes_raise_bad_input_when_the_releases_cannot_be_changed(
    tmp_path: Path, act: Callable[..., object]
) -> None:
    publish(tmp_path)
    (tmp_path / ".lock").mkdir()
    with pytest.raises(BadInput, match="cannot be written: Is a directory; choose another with --releases"):
        act(tmp_path, "m")


def test_prune_leaves_a_version_while_it_is_read(tmp_path: Path) -> None:
    for _ in range(3):
        publish(tmp_path)
    with locking.reading(tmp_path / "m" / "1"):
        assert release.prune(tmp_path, "m", 1) == release.Pruned(removed=[2], read=[1])
    assert release.prune(tmp_path, "m", 1) == release.Pruned(removed=[1], read=[])


def test_prune_leaves_a_version_for_a_moment_after_it_was_current(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path)
    for version in (1, 2):
        release.promote(tmp_path, "m", version)
    switched = release.past(tmp_path, "m")[-1].time
    assert release.prune(tmp_path, "m", 1).removed == [1]
    assert (datetime.now(timezone.utc) - switched).total_seconds() >= release.GRACE_SECONDS


def test_rollback_raises_bad_input_when_nothing_was_promoted(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no release of 'm'"):
        release.rollback(tmp_path, "m")
    publish(tmp_path)
    with pytest.raises(BadInput, match="m has no promoted release to roll back from"):
        release.rollback(tmp_path, "m")


def test_prune_keeps_the_newest_and_the_current(tmp_path: Path) -> None:
    for _ in range(5):
        publish(tmp_path)
    release.promote(tmp_path, "m", 2)
    assert release.prune(tmp_path, "m", 2) == release.Pruned(removed=[1, 3], read=[])
    assert left(tmp_path) == {"2", "4", "5", "current", "history.jsonl"}
    assert release.prune(tmp_path, "m", 2) == release.Pruned(removed=[], read=[])
    assert publish(tmp_path) == 6


@pytest.mark.parametrize("keep", [0, -1])
def test_prune_refuses_when_it_would_keep_nothing(tmp_path: Path, keep: int) -> None:
    publish(tmp_path)
    with pytest.raises(BadInput, match=f"--keep must be at least 1, not {keep}"):
        release.prune(tmp_path, "m", keep)
    assert release.versions(tmp_path, "m") == [1]


def test_promote_lists_every_promoted_and_served_model_in_models_config(tmp_path: Path) -> None:
    for model, served in (("b", True), ("a", True), ("weights-only", False), ("unpromoted", True)):
        publish(tmp_path, model=model, served=served)
        if model != "unpromoted":
            release.promote(tmp_path, model, 1)
    text = (tmp_path / "models.config").read_text()
    assert layout.parse_models_config(text) == {
        "a": "/models/a/current/serving",
        "b": "/models/b/current/serving",
    }
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".models.config")]


def test_promote_keeps_every_model_in_models_config_when_several_promote_at_once(tmp_path: Path) -> None:
    names = [f"model-{index}" for index in range(6)]
    for name in names:
        publish(tmp_path, model=name)
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda name: release.promote(tmp_path, name, 1), names))
    assert sorted(layout.parse_models_config((tmp_path / "models.config").read_text())) == names


def test_promote_needs_no_tensorflow(tmp_path: Path) -> None:
    publish(tmp_path)
    code = (
        "import pathlib, sys\nfrom converters.release import publish as release\n"
        f"release.promote(pathlib.Path({str(tmp_path)!r}), 'm', 1)\nsys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
