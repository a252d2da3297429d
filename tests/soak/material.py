"""What the soak programs work on: small models, releases of them, and more versions of one release."""

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import psutil
import samples
import yaml

from converters.contract.errors import BadInput
from converters.release import files, sealing, staging
from converters.release import manifest as manifests

MARK = "FANOUT_SOAK"
"""Set for what a program starts, and so inherited by all that this starts: by it those are found again."""
MODELS = {"alpha": samples.KERAS, "beta": samples.MODULE}
TARGETS = {"tflite": {"variants": ["float32"]}, "serving": {}}


def configs(folder: Path) -> list[Path]:
    """A config for each of `MODELS`, whose checks need neither Node nor a browser."""
    for name, code in MODELS.items():
        (folder / f"{name}.py").write_text(code)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"model": f"{name}.py:build", "targets": TARGETS}))
    return [folder / f"{name}.yaml" for name in MODELS]


class Command:
    """`fanout` in a home, releases and temporary directory of its own, found by `MARK` with all that it starts."""

    def __init__(self, folder: Path) -> None:
        self.releases, self.temporary = folder / "releases", folder / "temporary"
        self.home = folder / "prefect"
        for path in (self.releases, self.temporary, self.home):
            path.mkdir(exist_ok=True)
        self.mark = uuid.uuid4().hex

    def start(self, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
        """Begin it; what it prints is in one pipe."""
        settings = {
            "PREFECT_HOME": self.home,
            "TMPDIR": self.temporary,
            "FANOUT_RELEASES": self.releases,
            MARK: self.mark,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "flows", *map(str, arguments)],
            env={**os.environ, **{name: str(value) for name, value in settings.items()}, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: object, **environment: str) -> tuple[int, str]:
        """Exit status, and what it printed."""
        process = self.start(*arguments, **environment)
        printed, _ = process.communicate()
        return process.returncode, printed

    def processes(self) -> list[psutil.Process]:
        """All that live of what it started."""
        return [process for process in psutil.process_iter() if _environment(process).get(MARK) == self.mark]

    def kill(self) -> None:
        """End all of them by SIGKILL, and those that they start meanwhile."""
        while found := self.processes():
            for process in found:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(found, timeout=10)

    def left(self) -> list[str]:
        """What no run should leave: processes, temporary directories, and what is half made among the releases."""
        half = [
            path.relative_to(self.releases)
            for path in (*self.releases.glob(".models*"), *self.releases.glob("*/.*"))
            if path.name != ".lock"
        ]
        temporary = [path.name for path in self.temporary.iterdir()]
        return [*map(str, half), *temporary, *(f"process {each.pid} {each.name()}" for each in self._ended_soon())]

    def _ended_soon(self) -> list[psutil.Process]:
        deadline = time.monotonic() + 10
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found


def _environment(process: psutil.Process) -> Mapping[str, str]:
    try:
        return {} if process.status() == psutil.STATUS_ZOMBIE else process.environ()
    except psutil.Error:
        return {}


def problems(release: Path) -> list[str]:
    """What is wrong with a release, by digests, modes and links, and the manifest's own digest; nothing is run."""
    try:
        found = files.changed_files(release, manifests.read(release))
    except BadInput as error:
        return [str(error)]
    said = [f"{name} {problem}" for name, problem in found.items()]
    return said if sealing.is_sealed(release) else [*said, "manifest.json is not what was written"]


def another(releases: Path, model: str, template: Path) -> int:
    """Publish a copy of a release as the next version; returns that."""
    written = manifests.read(template)
    with staging.staging(releases, model) as place:
        shutil.copytree(template, place.release, dirs_exist_ok=True)
        served = place.release / "serving"
        (served / str(written.version)).rename(served / str(place.version))
        copied = written.model_copy(
            update={
                "model": model,
                "version": place.version,
                "files": files.record_files(place.release),
            }
        )
        place.publish(copied.sealed())
    return place.version
