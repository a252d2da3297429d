"""Temporary files go with the run, however it ends."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def begun(place: Path, then: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has begun, left a temporary directory, and told of it, and then does that."""
    code = (
        "import sys, tempfile, time\nfrom converters.processes import scratch\n"
        f"scratch.begin()\nprint(tempfile.mkdtemp(), flush=True)\n{then}"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(place)}
    )
    try:
        assert process.stdout is not None
        assert Path(process.stdout.readline()).parent.name.startswith("fanout-run-")
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("then", ["", "sys.exit(3)", "raise SystemError"])
def test_begin_leaves_nothing_when_the_process_ends(tmp_path: Path, then: str) -> None:
    with begun(tmp_path, then) as process:
        process.wait(60)
        assert list(tmp_path.iterdir()) == []


def test_begin_removes_what_a_killed_process_left_and_nothing_of_a_living_one(tmp_path: Path) -> None:
    with begun(tmp_path, "time.sleep(300)") as living:
        with begun(tmp_path, "time.sleep(300)") as killed:
            killed.kill()
            killed.wait()
            assert len(list(tmp_path.iterdir())) == 2
        with begun(tmp_path, "") as next_one:
            next_one.wait(60)
        assert len(list(tmp_path.iterdir())) == 1
        assert living.poll() is None


def test_begin_is_beside_that_of_the_process_that_started_this_one(tmp_path: Path) -> None:
    outer = tmp_path / "fanout-run-outer"
    outer.mkdir()
    code = "import os\nfrom converters.processes import scratch\nscratch.begin()\nprint(os.path.realpath(os.environ['TMPDIR']))"
    told = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "TMPDIR": str(outer)},
    )
    assert Path(told.stdout.strip()).parent == tmp_path.resolve()


def test_begin_leaves_room_for_sockets_when_the_path_is_long(tmp_path: Path) -> None:
    place = tmp_path / ("long" * 30)
    place.mkdir()
    code = (
        "import multiprocessing, tempfile\nfrom converters.processes import scratch\nscratch.begin()\n"
        "from multiprocessing import forkserver\nforkserver.ensure_running()\nprint(tempfile.mkdtemp())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "TMPDIR": str(place)},
    )
    made = Path(told.stdout.strip())
    assert made.parent.name.startswith("fanout-run-")
    assert not os.path.lexists(made.parent)
    assert list(place.iterdir()) == []
