"""Somebody who follows a page: every command is called and every file written, in a folder that stands for the checkout.

What cannot be followed here is in `LEFT`, with the reason; its names are checked all the same.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pages
import typer.main
from command import Fanout, Ran
from pages import ROOT, Snippet

from converters.config import read
from flows.cli import app

LEFT = {
    r"make ": "it would set up or start what this environment has already; the target and its variables must exist",
    r"source ": "commands find what is in the environment's bin",
    r"docker ": "there is no Docker here",
    r"fanout (ui|worker|open)\b": "it runs until it is ended: tests/flows/ui, tests/flows/cluster",
    r"dask scheduler": "likewise",
    r"fanout deploy .*--dask": "tests/flows/cluster/test_dask.py",
    r"fanout .*://": "there is no such place: tests/flows/test_published.py",
    r"python -m pip ": "it asks another host",
    r"export PREFECT_": "there is no such workspace",
    r"FANOUT_MODEL_SERVER=": "tests/targets/serving/test_model_server.py",
    r"curl ": "tests/flows/ui/test_ui.py",
    r"xxd ": "a program that a machine may lack",
    r"0 2 \* \* \*": "a line of a crontab",
}
"""The beginning of a command (behind a path of .venv/bin/) -> why it is not called."""


class Reader:
    """Follows pages in `place`; what is exported stays for the page."""

    def __init__(self, place: Path, fanout: Fanout) -> None:
        self.place = place
        self.fanout = fanout
        self.exported: dict[str, str] = {}
        self.said = ""

    def follow(self, snippet: Snippet) -> None:
        """Do what a snippet says. Raises AssertionError where that does not work."""
        name = re.match(r"# ([\w./-]+\.\w+)", snippet.text)
        if snippet.language == "sh":
            for line in snippet.text.replace("\\\n", " ").splitlines():
                if line.split("#")[0].strip():
                    self._call(line.strip(), snippet)
        elif snippet.language == "yaml":
            assert name is not None, f"{snippet.place}: the first line names the file"
            self._write(name[1], snippet)
        elif snippet.language == "python" and name is not None:
            self._write(name[1], snippet)
        elif snippet.language == "python":
            self._run([sys.executable, "-c", snippet.text], snippet)

    def _write(self, name: str, snippet: Snippet) -> None:
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(snippet.text)
        if path.name == "nightly.yaml":
            read.nightly(path.parent)
        elif path.suffix == ".yaml":
            read.find(str(path))

    def _call(self, line: str, snippet: Snippet) -> None:
        line = line.removeprefix(".venv/bin/")
        if any(re.match(pattern, line) for pattern in LEFT):
            require_names(line, snippet.place)
            return
        words = shlex.split(line, comments=True)
        if words[0] == "export":
            for assignment in words[1:]:
                name, _, value = assignment.partition("=")
                self.exported[name] = os.path.expandvars(
                    value.replace("$PWD", str(self.place)).replace("~", str(self.place))
                )
        elif words[0] == "fanout" and not {"|", "||", "&&", ";"} & set(words):
            given, into = (words[1:-2], words[-1]) if words[-2:-1] == [">"] else (words[1:], None)
            given = [word.replace("~", str(self.place)) if word.startswith("~") else word for word in given]
            ran = self.fanout(*given, releases=self.place / "releases", environment=self._environment())
            if into is not None:
                (self.place / into).write_text(ran.out)
            self._note(ran, line, snippet)
        else:
            self._run(["bash", "-euo", "pipefail", "-c", line], snippet)

    def _run(self, command: list[str], snippet: Snippet) -> None:
        found = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {
            **os.environ,
            "FANOUT_RELEASES": str(self.place / "releases"),
            **self._environment(),
            "PATH": found,
        }
        done = subprocess.run(command, cwd=self.place, env=environment, capture_output=True, text=True, check=False)
        self._note(Ran(done.returncode, done.stdout, done.stderr), command[-1], snippet)

    def _note(self, ran: Ran, line: str, snippet: Snippet) -> None:
        assert ran.status == 0, f"{snippet.place}: {line}\nexit status {ran.status}\n{ran.out}\n{ran.err}"
        self.said += ran.out

    def _environment(self) -> dict[str, str]:
        return {"FANOUT_CONFIGS": str(self.place / "configs"), "HOME": str(self.place), **self.exported}


def require_names(line: str, place: str) -> None:
    """Raises AssertionError where a command, option, target or image of a line does not exist."""
    words = shlex.split(line, comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    if not words or words[0] not in ("make", "fanout", "docker"):
        return
    if words[0] == "make":
        make = shutil.which("make")
        assert make is not None
        done = subprocess.run([make, "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{place}: {line}\n{done.stderr}"
        for name in re.findall(r"^([A-Z]+)=", "\n".join(words), re.MULTILINE):
            assert f"$({name})" in (ROOT / "Makefile").read_text(), f"{place}: {line}: nothing reads {name}"
    elif words[0] == "fanout":
        group = typer.main.get_command(app)
        with group.make_context("fanout", words[1:2], resilient_parsing=True) as context:
            assert isinstance(group, typer.core.TyperGroup)
            command = group.get_command(context, words[1])
            assert command is not None, f"{place}: {line}"
            command.make_context(words[1], words[2:], parent=context).close()
    else:
        assert "tensorflow/serving" in words, f"{place}: {line}"


def commands() -> list[tuple[str, str]]:
    """(place, line) of every command of every page."""
    return [
        (snippet.place, line.strip())
        for page in pages.pages()
        for snippet in pages.snippets(page)
        if snippet.language == "sh"
        for line in snippet.text.replace("\\\n", " ").splitlines()
        if line.split("#")[0].strip()
    ]
