"""What a shell offers, as Typer's scripts ask for it; and what help says."""

import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer.main

from flows import cli, running

HEAVY = (
    "print(sorted({'tensorflow', 'prefect', 'keras', 'h5py', 'ai_edge_litert'} & set(sys.modules)), file=sys.stderr)"
)
CODE = f"import sys\nfrom flows.start import main\ntry:\n    main()\nfinally:\n    {HEAVY}\n"


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "configs").mkdir()
    for name in ("digits", "dogs", "cats", "nightly"):
        (tmp_path / "configs" / f"{name}.yaml").write_text("model: x.py:build\n")
    for release in ("digits/1", "digits/2", "digits/10", "old/3"):
        (tmp_path / "releases" / release).mkdir(parents=True)
        (tmp_path / "releases" / release / "manifest.json").touch()
    (tmp_path / "releases" / "dust").mkdir()
    return tmp_path


def _run(folder: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    places = {"FANOUT_CONFIGS": str(folder / "configs"), "FANOUT_RELEASES": str(folder / "releases")}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], env={**os.environ, **places, **environment}, cwd=folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    *told, loaded = done.stderr.splitlines()
    assert loaded == "[]", done.stderr
    return done.returncode, done.stdout, "\n".join(told)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fanout deploy d", ["digits", "dogs"]),
        ("fanout deploy digits ", ["cats", "digits", "dogs"]),
        ("fanout deploy digits --targets tfl", ["tflite"]),
        ("fanout deploy digits --targets tflite,", ["tflite,tfjs", "tflite,hdf5", "tflite,serving"]),
        ("fanout releases ", ["digits", "old"]),
        ("fanout promote digits ", ["10", "2", "1"]),
        ("fanout promote digits 1", ["10", "1"]),
        ("fanout promote nothing ", []),
        ("fanout promote --releases elsewhere digits ", []),
        ("fanout rollb", ["rollback"]),
    ],
)
def test_shell_is_offered_what_there_is(line: str, offered: list[str], folder: Path) -> None:
    words = line.split(" ")
    asked = {"_FANOUT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    status, out, told = _run(folder, **asked)
    assert (status, out.split(), told) == (0, offered, "")


def test_completion_says_nothing_when_the_environment_is_wrong(folder: Path) -> None:
    asked = {"_FANOUT_COMPLETE": "complete_bash", "COMP_WORDS": "fanout deploy d", "COMP_CWORD": "2"}
    assert _run(folder, **asked, FANOUT_KEEP_DAYS="many") == (0, "\n", "")


def test_version_and_help_are_there_without_prefect_and_tensorflow(folder: Path) -> None:
    assert _run(folder, "--version") == (0, f"tf-fanout {version('tf-fanout')}\n", "")
    status, out, _ = _run(folder, "--help", COLUMNS="200")
    assert status == 0
    for words in ("--install-completion", "Exit status: 0", "2 bad input", f"{running.INTERRUPTED} it was interrupted"):
        assert words in out


COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_has_examples_that_it_takes(name: str) -> None:
    command = COMMANDS[name]
    examples = re.findall(r"^  fanout (\S+) ?(.*)$", command.epilog or "", re.MULTILINE)
    assert examples
    for called, arguments in examples:
        assert called == name
        command.make_context(name, shlex.split(arguments))


def test_more_and_less_is_refused(folder: Path) -> None:
    status, out, told = _run(folder, "deploy", "digits", "--quiet", "--verbose")
    assert (status, out) == (2, "")
    assert "give one of them" in told
