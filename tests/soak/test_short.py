"""The soak programs (`make soak`), for a moment."""

from pathlib import Path

import pytest

from tests.soak import corruptions, disk, kills, switching, uploads

pytestmark = pytest.mark.tensorflow


def test_every_corruption_is_found(tmp_path: Path) -> None:
    release = corruptions.made(tmp_path)
    found = corruptions.sweep(5 * len(corruptions.CHANGES), release, tmp_path)
    assert set(found.values()) == {5}
    forged = len(corruptions.FORGED) * len(corruptions.SIGNED)
    assert corruptions.forgery(forged, release, tmp_path) == forged


@pytest.fixture(name="served", scope="module")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return switching.made(tmp_path_factory.mktemp("served"))


def test_nobody_sees_less_than_a_version_while_others_switch(served: Path, tmp_path: Path) -> None:
    counts, faults = switching.sweep(30, tmp_path, served)
    assert faults == []
    assert counts["whole"]
    assert counts["loaded"]
    assert not counts["partial"] + counts["missing"] + counts["mixed"] + counts["not loaded"]


def test_a_killed_upload_leaves_what_is_there_whole(served: Path, tmp_path: Path) -> None:
    counts = uploads.sweep(3, served, tmp_path)
    assert counts["switched before"] + counts["killed before the switch"] == 3


@pytest.mark.server
def test_a_killed_run_leaves_the_release_and_nothing_else(tmp_path: Path) -> None:
    counts = kills.sweep(1, tmp_path)
    assert counts["kills"] == 1


@pytest.mark.server
@pytest.mark.skipif(not disk.can_mount(), reason="needs the right to mount a file system in memory")
def test_a_full_disk_leaves_the_release_and_nothing_else(tmp_path: Path) -> None:
    counts = disk.sweep([0.4], tmp_path)
    assert counts["releases: refused with 2"] == 1
    assert counts.total() == 2
