"""How Node and Chromium start, end and are ended."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from javascript_models import Models, assert_same, mixed_case
from waiting import PATIENCE_SECONDS, wait_until

from converters.contract.errors import ChildDied, ChildTimedOut, MissingRuntime
from converters.javascript import programs
from converters.javascript.messages import Request
from converters.javascript.runner import RUNTIMES, Runner, Runtime, run

pytestmark = [pytest.mark.tensorflow, pytest.mark.browser]


def test_run_fails_when_tfjs_used_another_backend(models: Models, tmp_path: Path) -> None:
    # A tfjs whose wasm falls back to cpu without a word.
    real = programs.JS
    for path in (*real.glob("*.mjs"), real / "package.json"):
        shutil.copy(path, tmp_path)
    (tmp_path / "node_modules").symlink_to(real / "node_modules")
    core = tmp_path / "core.mjs"
    text = core.read_text()
    assert "await tf.ready();" in text
    core.write_text(text.replace("await tf.ready();", "await tf.setBackend('cpu');"))
    with Runner(tmp_path) as runner, pytest.raises(ChildDied, match="used backend cpu in place of wasm"):
        runner.run("node-wasm", [Request(models.path("mixed"), "graph", [mixed_case(1, 1)])])


def test_run_raises_missing_runtime_when_the_backend_does_not_start() -> None:
    with pytest.raises(MissingRuntime, match="abacus"):
        run("node-abacus", [])  # type: ignore[arg-type]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("runtime", ["node-wasm", "chromium-wasm"])
def test_runner_starts_its_programs_once_when_requests_are_sound(models: Models, runtime: Runtime) -> None:
    request = Request(models.path("mixed"), "graph", [mixed_case(2, 1)])
    seen = []
    with Runner() as runner:
        for _ in range(3):
            (answer,) = runner.run(runtime, [request])
            assert answer.error is None
            seen.append({pid for pid in descendants(os.getpid()) if started(pid)})
    assert seen[0]
    assert seen[0] == seen[1] == seen[2]
    assert not any(started(pid) for pid in descendants(os.getpid()))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_runner_starts_node_again_when_a_model_went_wrong(models: Models, tmp_path: Path) -> None:
    good = Request(models.path("mixed"), "graph", [mixed_case(2, 1)])
    with Runner() as runner:
        runner.run("node-wasm", [good, Request(tmp_path / "absent" / "model.json", "graph", good.cases)])
        assert not any(started(pid) for pid in descendants(os.getpid()))
        (answer,) = runner.run("node-wasm", [good])
    assert_same(answer.outputs[0], models.live["mixed"](good.cases[0]))


@pytest.mark.parametrize("runtime", ["node-wasm", "chromium-webgl"])
def test_runner_answers_again_after_time_was_up(models: Models, runtime: Runtime) -> None:
    endless = {"n": np.array(2**31 - 1, np.int32), "x": np.zeros(2, np.float32)}
    good = Request(models.path("mixed"), "graph", [mixed_case(2, 1)])
    with Runner() as runner:
        runner.run(runtime, [good])
        with pytest.raises(ChildTimedOut):
            runner.run(runtime, [Request(models.path("loop"), "graph", [endless])], seconds=1)
        (answer,) = runner.run(runtime, [good])
    assert_same(answer.outputs[0], models.live["mixed"](good.cases[0]))


def test_run_raises_missing_runtime_when_packages_are_not_of_one_version(tmp_path: Path) -> None:
    with Runner(tmp_path) as runner:
        for name, version in (("tfjs", "4.22.0"), ("tfjs-backend-wasm", "4.20.0")):
            with pytest.raises(MissingRuntime, match=rf"package {name} is missing.*npm ci"):
                runner.run("node-cpu", [])
            package = tmp_path / "node_modules/@tensorflow" / name
            package.mkdir(parents=True)
            (package / "package.json").write_text(json.dumps({"version": version}))
        with pytest.raises(MissingRuntime, match=r"4\.20\.0.*npm ci"):
            runner.run("node-cpu", [])


def test_run_raises_when_the_browser_ends_early(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n")
    browser.chmod(0o755)
    monkeypatch.setenv("FANOUT_CHROMIUM", str(browser))
    with pytest.raises(ChildDied, match="out of order"):
        run("chromium-webgl", [])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_run_raises_and_leaves_nothing_when_time_is_up(
    models: Models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runtime: Runtime
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    endless = {"n": np.array(2**31 - 1, np.int32), "x": np.zeros(2, np.float32)}
    with pytest.raises(ChildTimedOut):
        run(runtime, [Request(models.path("loop"), "graph", [endless])], seconds=3)
    assert list(tmp_path.iterdir()) == []
    assert not any("main.mjs" in command(pid) for pid in descendants(os.getpid()))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_run_raises_when_the_page_dies(models: Models) -> None:
    def renderers() -> list[int]:
        return [pid for pid in descendants(os.getpid()) if "--type=renderer" in command(pid)]

    def works(pid: int) -> bool:
        """Whether it has computed for longer than it takes to load the page."""
        return psutil.pid_exists(pid) and psutil.Process(pid).cpu_times().user > 1.5

    def kill() -> None:
        wait_until(lambda: any(works(pid) for pid in renderers()))
        for pid in renderers():
            os.kill(pid, signal.SIGKILL)

    endless = {"n": np.array(2**31 - 1, np.int32), "x": np.zeros(2, np.float32)}
    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ChildDied, match=r"crashed|closed"):
        run("chromium-webgl", [Request(models.path("loop"), "graph", [endless])], seconds=PATIENCE_SECONDS)
    killer.join()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_run_ends_node_and_chromium_when_the_caller_is_killed(models: Models, tmp_path: Path) -> None:
    script = (
        "import numpy as np; from pathlib import Path; from converters.javascript.runner import run\n"
        "from converters.javascript.messages import Request\n"
        "case = {'n': np.array(2**31 - 1, np.int32), 'x': np.zeros(2, np.float32)}\n"
        f"run('chromium-webgl', [Request(Path({str(models.path('loop'))!r}), 'graph', [case])])"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    caller = subprocess.Popen([sys.executable, "-c", script], env=environment, cwd=Path(__file__).parents[3])
    try:
        wait_until(lambda: any("--type=renderer" in command(pid) for pid in descendants(caller.pid)))
        family = descendants(caller.pid)
    finally:
        caller.kill()
        caller.wait()
    wait_until(lambda: not any(command(pid) for pid in family))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_kept_node_and_chromium_end_when_the_caller_is_killed(models: Models) -> None:
    script = (
        "import numpy as np, time; from pathlib import Path; from converters.javascript import messages, runner\n"
        "from converters.processes import resident as kept\n"
        "from converters.contract.settings import Limits\n"
        "case = {'n': np.array(3, np.int32), 'x': np.zeros(2, np.float32)}\n"
        f"request = messages.Request(Path({str(models.path('loop'))!r}), 'graph', [case])\n"
        "with kept.keeping():\n"
        "    (answer,) = kept.run('js', runner.run, 'chromium-wasm', [request], limits=Limits(), fresh=True).value\n"
        "    print(answer.error, flush=True)\n"
        "    time.sleep(600)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    try:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"None\n"
        family = descendants(caller.pid)
        assert sum(started(pid) for pid in family) == 2
    finally:
        caller.kill()
        caller.communicate()
    wait_until(lambda: not any(command(pid) for pid in family))


def descendants(pid: int) -> list[int]:
    """Ids of the processes below `pid`, whichever of its threads started them."""
    try:
        children = [
            int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()
        ]
    except OSError:
        return []
    return [*children, *(found for child in children for found in descendants(child))]


def started(pid: int) -> bool:
    """Whether the process is Node running main.mjs, or the Chromium it drives."""
    # Chromium's children rewrite theirs, with blanks between the words.
    line = command(pid)
    return "/main.mjs" in line or ("chromium" in line.split("\0")[0] and "--type=" not in line)


def command(pid: int) -> str:
    """The command line of process `pid`; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
