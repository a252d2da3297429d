"""What a child prints is in the log of the task that started it."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import wait_until

from flows.show import child_logs

Lines = list[str]


@pytest.fixture(name="lines")
def _lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """What the task's logger is told; nothing may end a thread."""
    told: Lines = []
    raised: list[object] = []
    logger = logging.Logger("task")
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: told.append(record.getMessage()))
    logger.addHandler(handler)
    monkeypatch.setattr(child_logs, "get_run_logger", lambda: logger)
    monkeypatch.setattr(child_logs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(threading, "excepthook", raised.append)
    yield told
    assert raised == []


def test_shown_tells_only_what_is_printed_meanwhile_in_whole_lines(tmp_path: Path, lines: Lines) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    with child_logs.shown(log), log.open("a", buffering=1) as file:
        file.write("first\n\nsec")
        wait_until(lambda: lines)
        assert lines == ["first"]
        file.write("ond\nrest")
    assert lines == ["first", "second", "rest"]


def test_shown_leaves_out_what_tensorflow_tells_its_developers(tmp_path: Path, lines: Lines) -> None:
    noise = [
        "2026-11-28 08:20:02.672922: E external/local_xla/xla/stream_executor/cuda/cuda_platform.cc:51] failed call to cuInit",
        "2026-11-28 08:20:02.672922: I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow binary is optimized",
        "I0000 00:00:1795854005.383444   32129 devices.cc:67] Number of eligible GPUs",
        "W0000 00:00:1795854014.382106     376 tf_tfl_flatbuffer_helpers.cc:365] Ignored output_format.",
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
        "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
    ]
    told = ["INFO: mine", "2026-11-28 08:20:02.672922: E tensorflow/core/framework/op.cc:1] a kernel failed", "Wait"]
    with child_logs.shown(tmp_path / "log"):
        (tmp_path / "log").write_text("\n".join([*noise, *told]))
    assert lines == told


@pytest.mark.parametrize("kept", [True, False])
def test_shown_goes_on_when_the_log_or_its_folder_is_taken_away(tmp_path: Path, lines: Lines, kept: bool) -> None:
    folder = tmp_path / "logs"
    with child_logs.shown(folder / "log"):
        folder.mkdir()
        (folder / "log").write_text("told\n")
        wait_until(lambda: lines)
        (folder / "log").unlink()
        if not kept:
            folder.rmdir()
            folder.write_text("a file in its place")
    assert lines == ["told"]
