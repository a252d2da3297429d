"""Children that return, raise, crash, hang and grow; what they run is named from the standard library or given as text."""

import ctypes
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from waiting import PATIENCE_SECONDS, alive, wait_until

from converters.config import read
from converters.contract.errors import BadInput, ChildDied, ChildFailed, ChildRaised, ChildTimedOut, ChildTooLarge
from converters.contract.settings import Limits
from converters.processes.child import POLL_SECONDS, Child, run

pytestmark = pytest.mark.tensorflow

ROOT = Path(__file__).parents[2]
KINDS = pytest.mark.parametrize("fresh", [False, True], ids=["forked", "fresh"])
HAS_TENSORFLOW = "'tensorflow' in __import__('sys').modules"
SLEEPER = "import subprocess\nsleeper = subprocess.Popen(['sleep', '300'])\nprint(sleeper.pid, flush=True)\n"
"""Starts a process below the child and prints its id."""


@KINDS
def test_run_returns_value_and_seconds_when_the_function_returns(fresh: bool) -> None:
    assert run(operator.concat, b"one", b"two", fresh=fresh).value == b"onetwo"
    started = time.monotonic()
    assert 0.1 <= run(time.sleep, 0.1, fresh=fresh).seconds < time.monotonic() - started


def test_run_returns_everything_when_the_value_is_large() -> None:
    assert len(run(operator.mul, b"x", 50_000_000).value) == 50_000_000


@pytest.mark.parametrize(
    ("function", "args", "words"),
    [
        (ctypes.string_at, (0,), "SIGSEGV"),
        (os.abort, (), "SIGABRT"),
        (os.kill, (0, signal.SIGKILL), "memory runs out"),
        (os._exit, (0,), "exit status 0"),
        (os._exit, (3,), "exit status 3"),
        (sys.exit, (4,), "exit status 4"),
    ],
    ids=["segfault", "abort", "killed", "exit-0", "exit-3", "sys-exit"],
)
def test_run_raises_child_died_when_the_child_ends_itself(
    function: Callable[..., object], args: tuple[object, ...], words: str
) -> None:
    if function is os.kill:
        function, args = exec, ("import os; os.kill(os.getpid(), 9)",)
    with pytest.raises(ChildDied, match=words):
        run(function, *args)


def test_run_raises_child_died_when_its_log_is_taken_away(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "log"
    with pytest.raises(ChildDied, match=r"exit status 3 before it returned a result$"):
        run(exec, f"import os, shutil; shutil.rmtree({str(log.parent)!r}); os._exit(3)", log=log)


def test_run_raises_child_died_when_a_fresh_child_crashes() -> None:
    with pytest.raises(ChildDied, match="SIGSEGV"):
        run(ctypes.string_at, 0, fresh=True)


def test_run_names_the_crashing_line_when_the_child_crashes() -> None:
    with pytest.raises(
        ChildDied, match=r"was ended by SIGSEGV in string_at \(ctypes/__init__\.py, line \d+\)$"
    ) as raised:
        run(ctypes.string_at, 0)
    assert "\n" not in str(raised.value)


def test_run_shows_what_was_printed_when_the_child_dies() -> None:
    with pytest.raises(ChildDied, match=r"before it returned a result; it printed last: almost there$"):
        run(exec, "print('almost there')\nimport os\nos._exit(1)")


def test_run_raises_child_died_when_the_result_cannot_be_pickled() -> None:
    with pytest.raises(ChildDied, match="cannot pickle"):
        run(threading.Lock)


def test_run_raises_child_timed_out_when_the_function_hangs() -> None:
    with pytest.raises(ChildTimedOut, match=r"did not finish in 0\.5 s"):
        run(time.sleep, 3600, limits=Limits(seconds=0.5))


def test_run_raises_child_timed_out_when_the_function_ignores_signals() -> None:
    stubborn = (
        "import signal, time\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\nwhile True:\n"
        "    try: time.sleep(1)\n    except BaseException: pass\n"
    )
    with pytest.raises(ChildTimedOut):
        run(exec, stubborn, limits=Limits(seconds=0.5))


GROW = "import time\nheld = []\nwhile True:\n    held.append(b'x' * 2**24)\n    time.sleep(0.005)\n"


@pytest.mark.parametrize(
    "code",
    [GROW, f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {GROW!r}])"],
    ids=["child", "grandchild"],
)
def test_run_raises_child_too_large_when_memory_grows(code: str) -> None:
    with pytest.raises(ChildTooLarge, match=r"limit of 0\.9 GiB"):
        run(exec, code, limits=Limits(memory_gb=0.9, seconds=PATIENCE_SECONDS))


def test_run_raises_child_raised_when_the_function_raises() -> None:
    with pytest.raises(ChildRaised, match=r"^ValueError: invalid literal.*'nine'$") as caught:
        run(int, "nine")
    assert caught.value.kind == "ValueError"
    assert caught.value.details.startswith("Traceback")
    assert "invalid literal" in caught.value.details


def test_run_raises_child_raised_when_the_exception_cannot_be_pickled() -> None:
    code = "class Odd(Exception):\n    def __init__(self, a, b): super().__init__('odd')\nraise Odd(1, lambda: 2)"
    with pytest.raises(ChildRaised, match=r"^Odd: odd$"):
        run(exec, code, {})


def test_run_raises_the_same_error_when_it_is_one_of_ours(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"absent\.yaml: cannot be read") as caught:
        run(read.read, tmp_path / "absent.yaml")
    assert type(caught.value) is BadInput


def test_run_keeps_kind_and_details_when_a_child_raised_in_a_child() -> None:
    code = "from converters.contract.errors import ChildRaised\nraise ChildRaised('text', 'KeyError', 'the traceback')"
    with pytest.raises(ChildRaised) as caught:
        run(exec, code)
    assert (str(caught.value), caught.value.kind, caught.value.details) == ("text", "KeyError", "the traceback")


@KINDS
def test_run_logs_what_is_printed_when_it_comes_from_any_level(fresh: bool, tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys\nprint('by python')\nprint('by stderr', file=sys.stderr)\n"
        "os.write(1, b'by c, 1\\n')\nos.write(2, b'by c, 2\\n')\nsubprocess.run(['echo', 'by a program'])\n"
    )
    log = tmp_path / "logs" / "child.log"
    run(exec, code, log=log, fresh=fresh)
    run(print, "by the next child", log=log, fresh=fresh)
    assert set(log.read_text().splitlines()) >= {
        *("by python", "by stderr", "by c, 1", "by c, 2", "by a program", "by the next child")
    }


def test_run_prints_nothing_here_when_the_child_prints(capfd: pytest.CaptureFixture[str]) -> None:
    run(exec, "import os; print('loud'); os.write(2, b'louder')")
    assert capfd.readouterr() == ("", "")


def test_run_leaves_no_file_when_no_log_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run(print, "said")
    with pytest.raises(ChildRaised):
        run(int, "nine")
    assert list(tmp_path.iterdir()) == []


@KINDS
def test_run_removes_temporary_files_however_the_child_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    write = "import os, subprocess, tempfile; tempfile.mkdtemp(); subprocess.run(['mktemp'], check=True)"
    with Child(fresh=fresh) as child:
        child.call(exec, write)
        assert len(list(tmp_path.glob("*/*"))) == 3  # the log is one of them
    with pytest.raises(ChildDied):
        run(exec, f"{write}; os.kill(os.getpid(), 9)", fresh=fresh)
    assert list(tmp_path.iterdir()) == []


@KINDS
def test_run_has_tensorflow_loaded_only_when_forked(fresh: bool) -> None:
    assert run(eval, HAS_TENSORFLOW, fresh=fresh).value is not fresh


def test_child_can_import_what_was_hidden_while_tensorflow_loaded() -> None:
    with Child() as child:
        assert child.call(eval, "'tensorflow_hub' in __import__('sys').modules").value is False
        child.call(exec, "import matplotlib, sklearn; matplotlib.use, sklearn.base")


def test_child_keeps_state_when_called_again() -> None:
    with Child() as child:
        child.call(exec, "import sys; sys.kept = [1]")
        child.call(exec, "import sys; sys.kept.append(2)")
        assert child.call(eval, "__import__('sys').kept").value == [1, 2]
        assert child.call(os.getpid).value == child.call(os.getpid).value
    assert not run(eval, "hasattr(__import__('sys'), 'kept')").value


def test_child_asks_the_object_that_it_holds_when_it_was_given_one() -> None:
    with Child() as child:
        child.hold(Counter, "abbc")
        child.ask(Counter.update, "b")
        assert child.ask(Counter.most_common, 1).value == [("b", 3)]
        assert child.call(int, "9").value == 9
        with pytest.raises(ChildRaised, match="TypeError"):
            child.hold(Counter, 3)
        assert child.ask(Counter.total).value == 5
        child.hold(Counter)
        assert child.ask(Counter.total).value == 0


def test_child_answers_when_an_earlier_call_raised() -> None:
    with Child() as child:
        with pytest.raises(ChildRaised):
            child.call(int, "nine")
        assert child.call(int, "9").value == 9


def test_child_raises_child_died_when_called_after_its_death() -> None:
    with Child() as child:
        with pytest.raises(ChildDied):
            child.call(os.abort)
        with pytest.raises(ChildDied, match="SIGABRT"):
            child.call(int, "9")


def test_close_ends_the_child_when_it_is_idle() -> None:
    with Child() as child:
        pid = child.call(os.getpid).value
        assert alive(pid)
    assert not alive(pid)


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "raise ValueError",
        "import time; time.sleep(3600)",
        f"import os, time; time.sleep({10 * POLL_SECONDS}); os.abort()",
    ],
    ids=["returned", "raised", "timed-out", "crashed"],
)
def test_run_ends_grandchildren_when_the_child_ends(ending: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Child(log=log) as child, ThreadPoolExecutor(1) as caller:
        called = caller.submit(child.call, exec, SLEEPER + ending, {})
        wait_until(lambda: log.read_text().endswith("\n"))
        if "3600" in ending:
            child.limits = Limits(seconds=0.1)
        error = called.exception(PATIENCE_SECONDS)
    assert isinstance(error, ChildFailed) if ending else error is None
    wait_until(lambda: not alive(int(log.read_text().split()[0])))


@KINDS
def test_child_ends_when_its_parent_is_killed(fresh: bool, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = (
        "import pathlib\nfrom converters.processes.child import run\n"
        "code = 'import os, time; print(os.getpid()); time.sleep(300)'\n"
        f"run(exec, code, log=pathlib.Path({str(log)!r}), fresh={fresh})"
    )
    caller = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    try:
        wait_until(lambda: log.is_file() and log.read_text().endswith("\n"))
        family = [process.pid for process in psutil.Process(caller.pid).children(recursive=True)]
        assert int(log.read_text()) in family
    finally:
        caller.kill()
        caller.wait()
    wait_until(lambda: not any(alive(pid) for pid in family))


def test_run_leaves_the_main_module_alone_when_it_has_effects(tmp_path: Path) -> None:
    script, effects = tmp_path / "main.py", tmp_path / "effects"
    script.write_text(
        f"open({str(effects)!r}, 'a').write('imported\\n')\nimport operator\nfrom converters.processes.child import run\n"
        "print(run(operator.add, 1, 2, fresh=True).value, run(operator.add, 3, 4).value, __name__)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.stdout == "3 7 __main__\n", done.stderr
    assert effects.read_text() == "imported\n"


SLOW_TENSORFLOW = """
import time
from pathlib import Path

Path(__file__).with_name("begun").touch()
while not Path(__file__).with_name("go").exists():
    time.sleep(0.01)
raise ImportError("no TensorFlow here")
"""
"""In TensorFlow's place: its import goes on until the file `go` is there."""


def test_fresh_child_answers_while_tensorflow_is_loaded_for_another(tmp_path: Path) -> None:
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text(SLOW_TENSORFLOW)
    script = tmp_path / "main.py"
    script.write_text(
        "import pathlib, sys, threading, time\nfrom converters.processes import child as isolate\n"
        "main = sys.modules['__main__']\n"
        "ask = lambda fresh: print(isolate.run(bool, fresh, fresh=fresh).value, flush=True)\n"
        "loading = threading.Thread(target=ask, args=[False])\nloading.start()\n"
        f"while not pathlib.Path({str(package / 'begun')!r}).exists(): time.sleep(0.01)\n"
        f"ask(True)\npathlib.Path({str(package / 'go')!r}).touch()\nloading.join()\n"
        "print(sys.modules['__main__'] is main)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "False", "True"], done.stderr


def test_run_answers_each_thread_when_several_run_at_once() -> None:
    def ask(number: int) -> object:
        try:
            return run([abs, os._exit][number % 2], number, fresh=number % 3 == 0).value
        except ChildDied as error:
            return str(error).partition(" before")[0].rpartition(" ")[2]

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(ask, range(8))) == [0, "1", 2, "3", 4, "5", 6, "7"]


def _backend() -> str:
    import keras

    name: str = keras.backend.backend()
    return name


@KINDS
def test_run_computes_by_tensorflow_when_keras_is_told_otherwise(fresh: bool, tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    code = f"from test_child import _backend, run\nprint(run(_backend, fresh={fresh}).value)"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "support", Path(__file__).parent))),
        "KERAS_HOME": str(tmp_path),
        "KERAS_BACKEND": "jax",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "tensorflow\n", done.stderr
