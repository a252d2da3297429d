"""Children that stay: how long, for whom, and what happens to one that fails."""

import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from samples import Sample, converted
from waiting import PATIENCE_SECONDS, alive, wait_until

from converters.contract.errors import ChildDied, ChildTimedOut, ChildTooLarge
from converters.contract.settings import Limits
from converters.processes import resident

pytestmark = pytest.mark.tensorflow

LIMITS = Limits(seconds=PATIENCE_SECONDS)


def identity() -> int:
    """The process that runs this; pickled by name, so it lives in a module."""
    assert resident.own() == {}
    return os.getpid()


def write_file() -> str:
    """A temporary file that nobody removes."""
    descriptor, name = tempfile.mkstemp()
    os.close(descriptor)
    return name


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def eat(megabytes: int) -> int:
    held = b"x" * (megabytes << 20)
    time.sleep(3600)
    return len(held)


def busy(begun: Path, over: Path) -> None:
    """Work until the file `over` is there."""
    begun.touch()
    wait_until(over.exists)


def test_run_keeps_the_child_only_while_a_block_is_open() -> None:
    assert resident.own() is None
    alone = resident.run("one", identity, limits=LIMITS).value
    wait_until(lambda: not alive(alone))
    with resident.keeping():
        with resident.keeping():
            first = resident.run("one", identity, limits=LIMITS).value
        assert resident.run("one", identity, limits=LIMITS).value == first
        other = resident.run("two", identity, limits=LIMITS).value
        assert other != first
    wait_until(lambda: not alive(first))
    wait_until(lambda: not alive(other))


def test_run_gives_two_calls_at_a_time_two_children(tmp_path: Path) -> None:
    begun, over = tmp_path / "begun", tmp_path / "over"
    with resident.keeping():
        slow = threading.Thread(target=resident.run, args=("one", busy, begun, over), kwargs={"limits": LIMITS})
        slow.start()
        wait_until(begun.exists)
        first = resident.run("one", identity, limits=LIMITS).value
        over.touch()
        slow.join()
        seen = {resident.run("one", identity, limits=LIMITS).value for _ in range(2)}
    assert len({first, *seen}) <= 2
    wait_until(lambda: not alive(first))


@pytest.mark.parametrize(
    ("function", "arguments", "limits", "error"),
    [
        (die, (), LIMITS, ChildDied),
        (time.sleep, (3600,), Limits(seconds=0.5), ChildTimedOut),
        (eat, (1500,), Limits(memory_gb=1.2), ChildTooLarge),
    ],
)
def test_run_gives_the_next_call_a_new_child_when_one_fails(
    function: object, arguments: tuple[object, ...], limits: Limits, error: type[Exception]
) -> None:
    with resident.keeping():
        first = resident.run("one", identity, limits=LIMITS).value
        with pytest.raises(error):
            resident.run("one", function, *arguments, limits=limits)  # type: ignore[arg-type]
        wait_until(lambda: not alive(first))
        assert resident.run("one", identity, limits=LIMITS).value != first


def test_run_gives_a_new_child_when_the_idle_one_died() -> None:
    with resident.keeping():
        first = resident.run("one", identity, limits=LIMITS).value
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not alive(first))
        assert resident.run("one", identity, limits=LIMITS).value != first


def test_run_removes_what_the_child_left_in_its_temporary_directory() -> None:
    with resident.keeping():
        left = Path(resident.run("one", write_file, limits=LIMITS).value)
        assert left.exists()
        with pytest.raises(ChildDied):
            resident.run("one", die, limits=LIMITS)
        assert not left.parent.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the packed Chromium is not used, and has another name")
def test_check_starts_node_and_chromium_once_when_children_are_kept(keras_sample: Sample) -> None:
    graph, layers = (converted(keras_sample, "tfjs", variant) for variant in ("graph", "layers"))
    with resident.keeping():
        graph.check()
        first = programs()
        layers.check()
        assert programs() == first
    assert len(first) == 2, first
    wait_until(lambda: not any(alive(pid) for pid in first))


def programs() -> set[int]:
    """Ids of the Node processes that run main.mjs, and of the Chromiums they drive, below this process."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        browser = words and words[0].endswith("chromium") and not any(word.startswith("--type=") for word in words)
        if browser or any(word.endswith("main.mjs") for word in words):
            found.add(process.pid)
    return found
