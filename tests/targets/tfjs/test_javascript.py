"""Real models, converted by tensorflowjs and run in the real Node and the real Chromium."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from waiting import PATIENCE_SECONDS, wait_until

from converters.contract.errors import ChildDied, ChildTimedOut, MissingRuntime
from converters.contract.values import Tensors
from converters.processes.imports import without_unused
from converters.targets.tfjs import programs
from converters.targets.tfjs.javascript import RUNTIMES, Runner, Runtime, run
from converters.targets.tfjs.messages import Request

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]  # tf_keras, tensorflowjs


@dataclass(frozen=True)
class Models:
    """Paths of model.json files, and the live models by the same names: inputs -> outputs."""

    root: Path
    live: dict[str, Callable[[Tensors], Tensors]]

    def path(self, name: str) -> Path:
        """The converted model `name`."""
        return self.root / name / "model.json"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """A graph of mixed dtypes, one with a while loop, one with a constant output, and two layers models."""
    with without_unused():
        import tensorflow as tf
        import tf_keras
        from tensorflowjs import converters as tfjs

    root = tmp_path_factory.mktemp("tfjs")
    live: dict[str, Callable[[Tensors], Tensors]] = {}

    class Mixed(tf.Module):
        def __init__(self) -> None:
            self.weight = tf.Variable(np.random.default_rng(1).normal(size=(3, 40)), dtype=tf.float32)

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 3], tf.float32, "features"),
                tf.TensorSpec([None], tf.int32, "count"),
                tf.TensorSpec([None], tf.bool, "flag"),
                tf.TensorSpec([None], tf.float32, "unused"),
            ]
        )
        def __call__(self, features: Any, count: Any, flag: Any, unused: Any) -> dict[str, Any]:
            return {
                "scores": tf.tanh(features @ self.weight),
                "doubled": count * 2,
                "inverted": tf.logical_not(flag),
            }

    class Loop(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([], tf.int32, "n"), tf.TensorSpec([2], tf.float32, "x")])
        def __call__(self, n: Any, x: Any) -> dict[str, Any]:
            for _ in tf.range(n):
                x = x * 1.5 + 1.0
            return {"x": x}

    class Constant(tf.Module):
        def __init__(self) -> None:
            self.table = tf.Variable([1.0, 2.0, 3.0])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def __call__(self, x: Any) -> dict[str, Any]:
            return {"table": self.table, "same": x}

    def graph(name: str, module: Any) -> None:
        saved = str(root / f"{name}-saved")
        tf.saved_model.save(module, saved, signatures=module.__call__.get_concrete_function())
        tfjs.convert_tf_saved_model(saved, str(root / name), signature_def="serving_default", control_flow_v2=True)
        served = tf.saved_model.load(saved).signatures["serving_default"]
        live[name] = lambda inputs: {
            k: v.numpy() for k, v in served(**{n: tf.constant(a) for n, a in inputs.items()}).items()
        }

    graph("mixed", Mixed())
    graph("loop", Loop())
    graph("constant", Constant())

    tf_keras.utils.set_random_seed(1)
    left = tf_keras.Input((4,), name="left")
    right = tf_keras.Input((2,), name="right")
    joined = tf_keras.layers.Concatenate()([left, right])
    layers = tf_keras.Model(
        [left, right],
        [tf_keras.layers.Dense(3, "softmax", name="kind")(joined), tf_keras.layers.Dense(1, name="size")(joined)],
    )
    tfjs.save_keras_model(layers, str(root / "layers"))
    live["layers"] = lambda inputs: dict(
        zip(("kind", "size"), layers.predict([inputs["left"], inputs["right"]], verbose=0), strict=True)
    )
    sequential = tf_keras.Sequential([tf_keras.Input((4,), name="left"), tf_keras.layers.Dense(3, name="kind")])
    tfjs.save_keras_model(sequential, str(root / "sequential"))
    live["sequential"] = lambda inputs: {"kind": sequential.predict(inputs["left"], verbose=0)}
    return Models(root, live)


def mixed_case(batch: int, seed: int) -> Tensors:
    """Inputs of the graph `mixed`."""
    rng = np.random.default_rng(seed)
    return {
        "features": rng.normal(size=(batch, 3)).astype(np.float32),
        "count": rng.integers(-1000, 1000, batch, dtype=np.int32),
        "flag": rng.integers(0, 2, batch).astype(bool),
        "unused": np.zeros(batch, np.float32),
    }


def layers_case(batch: int, seed: int) -> Tensors:
    """Inputs of the model `layers`."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(batch, size)).astype(np.float32) for name, size in (("left", 4), ("right", 2))}


def assert_same(actual: Tensors, expected: Tensors) -> None:
    """Names, dtypes, shapes and values agree; floats to a few units in the last place of float32."""
    assert actual.keys() == expected.keys()
    for name, wanted in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (wanted.dtype, wanted.shape), name
        np.testing.assert_allclose(actual[name], wanted, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_run_returns_what_tensorflow_returns_when_models_are_sound(models: Models, runtime: Runtime) -> None:
    cases = {"mixed": [mixed_case(4, 1), mixed_case(1, 2)], "layers": [layers_case(40, 1), layers_case(3, 2)]}
    answers = run(
        runtime,
        [
            Request(models.path("mixed"), "graph", cases["mixed"]),
            Request(models.path("layers"), "layers", cases["layers"]),
        ],
    )
    program, _, backend = runtime.partition("-")
    for name, answer in zip(cases, answers, strict=True):
        assert answer.error is None
        assert answer.runtime.startswith(f"{program} ")
        assert answer.runtime.endswith(f"tfjs 4.22.0 {backend}")
        assert answer.latency_ms is not None
        assert answer.latency_ms >= 0
        for inputs, outputs in zip(cases[name], answer.outputs, strict=True):
            assert_same(outputs, models.live[name](inputs))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_run_names_inputs_when_the_layers_model_is_sequential(models: Models, runtime: Runtime) -> None:
    case = {"left": layers_case(5, 3)["left"]}
    (answer,) = run(runtime, [Request(models.path("sequential"), "layers", [case])])
    assert answer.error is None
    assert_same(answer.outputs[0], models.live["sequential"](case))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_run_reports_one_request_when_its_shard_is_truncated(models: Models, runtime: Runtime, tmp_path: Path) -> None:
    for name in ("mixed", "layers"):
        shutil.copytree(models.root / name, tmp_path / name)
        (shard,) = (tmp_path / name).glob("*.bin")
        os.truncate(shard, shard.stat().st_size - 8)
    (tmp_path / "nonsense").mkdir()
    (tmp_path / "nonsense" / "model.json").write_text("{")
    good = Request(models.path("mixed"), "graph", [mixed_case(2, 3)])
    damaged = [
        Request(tmp_path / "mixed" / "model.json", "graph", good.cases),
        Request(tmp_path / "layers" / "model.json", "layers", [layers_case(2, 3)]),
        Request(tmp_path / "nonsense" / "model.json", "graph", good.cases),
        Request(tmp_path / "absent" / "model.json", "graph", good.cases),
    ]
    layers = Request(models.path("layers"), "layers", [layers_case(2, 4)])
    first, *broken, other, last = run(runtime, [good, *damaged, layers, good])
    assert [bool(answer.error) for answer in broken] == [True] * 4
    assert all(answer.outputs == [] for answer in broken)
    assert_same(other.outputs[0], models.live["layers"](layers.cases[0]))
    for answer in (first, last):
        assert answer.error is None
        assert_same(answer.outputs[0], models.live["mixed"](good.cases[0]))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_run_answers_when_the_graph_has_a_while_loop(models: Models, runtime: Runtime) -> None:
    cases: list[Tensors] = [{"n": np.int32(n), "x": np.array([1, -2], np.float32)} for n in (0, 7)]  # type: ignore[dict-item]
    (answer,) = run(runtime, [Request(models.path("loop"), "graph", cases)])
    assert answer.error is None
    for inputs, outputs in zip(cases, answer.outputs, strict=True):
        assert_same(outputs, models.live["loop"](inputs))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_run_passes_every_float_when_not_finite(models: Models, runtime: Runtime) -> None:
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-30, 3.4e38], np.float32)
    (answer,) = run(runtime, [Request(models.path("constant"), "graph", [{"x": odd}, {"x": odd[::-1]}])])
    assert answer.error is None
    for outputs, sent in zip(answer.outputs, (odd, odd[::-1]), strict=True):
        np.testing.assert_array_equal(outputs["same"], sent)
        np.testing.assert_array_equal(np.signbit(outputs["same"]), np.signbit(sent))
        np.testing.assert_array_equal(outputs["table"], np.array([1, 2, 3], np.float32))


def test_run_converts_inputs_when_tfjs_lacks_their_dtype(models: Models) -> None:
    narrow = mixed_case(2, 5)
    wide = {**narrow, "features": narrow["features"].astype(np.float64), "count": narrow["count"].astype(np.int64)}
    (answer,) = run("node-cpu", [Request(models.path("mixed"), "graph", [wide])])
    assert answer.error is None
    assert_same(answer.outputs[0], models.live["mixed"](narrow))


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("count", np.array([2**31]), "2147483648"),
        ("count", np.array([0, -(2**31) - 1]), "-2147483649"),
        ("features", np.full((1, 3), 1e39), "1e+39"),
        ("count", np.array([2**31], np.uint32), "2147483648"),
        ("count", np.array([2**63], np.uint64), "9223372036854775808"),
        ("features", np.zeros((1, 3), np.complex128), "complex128"),
        ("features", np.array([1, None], object), "bytes"),
    ],
)
def test_run_reports_the_request_when_an_input_is_beyond_tfjs(
    models: Models, name: str, array: np.ndarray[Any, Any], words: str
) -> None:
    good = Request(models.path("mixed"), "graph", [mixed_case(1, 6)])
    bad = Request(models.path("mixed"), "graph", [{**mixed_case(1, 6), name: array}])
    refused, answered = run("node-cpu", [bad, good])
    assert refused.error is not None
    assert words in refused.error
    assert_same(answered.outputs[0], models.live["mixed"](good.cases[0]))


@pytest.mark.parametrize("kind", ["graph", "layers"])
def test_run_reports_the_request_when_input_names_differ(models: Models, kind: Any) -> None:
    name = {"graph": "mixed", "layers": "layers"}[kind]
    (answer,) = run("node-cpu", [Request(models.path(name), kind, [{"other": np.zeros((1, 3), np.float32)}])])
    assert answer.error is not None
    assert "given were [other]" in answer.error


def test_run_passes_strings_when_the_graph_returns_them(tmp_path: Path) -> None:
    signature = {kind: {"s": {"name": "s:0", "dtype": "DT_STRING"}} for kind in ("inputs", "outputs")}
    node = {
        "name": "s",
        "op": "Placeholder",
        "attr": {"dtype": {"type": "DT_STRING"}, "shape": {"shape": {"unknownRank": True}}},
    }
    model = {
        "format": "graph-model",
        "modelTopology": {"node": [node], "versions": {"producer": 1}},
        "weightsManifest": [],
        "signature": signature,
    }
    (tmp_path / "model.json").write_text(json.dumps(model))
    sent = np.array([[b"", b"\xff\x00"], ["h\u00e9".encode(), b"abc"]], dtype=object)
    (answer,) = run("node-cpu", [Request(tmp_path / "model.json", "graph", [{"s": sent}])])
    assert answer.error is None
    assert answer.outputs[0]["s"].dtype == object
    np.testing.assert_array_equal(answer.outputs[0]["s"], sent)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Graph models of one op whose kernel the wasm backend lacks, or has for other dtypes, by the name of what it lacks."""
    root = tmp_path_factory.mktemp("narrow")

    def model(name: str, dtype: str, nodes: list[dict[str, Any]], output: str, output_dtype: str) -> None:
        place = {"name": "x", "op": "Placeholder", "attr": {"dtype": {"type": dtype}}}
        signature = {
            "inputs": {"x": {"name": "x:0", "dtype": dtype}},
            "outputs": {"y": {"name": f"{output}:0", "dtype": output_dtype}},
        }
        content = {
            "format": "graph-model",
            "modelTopology": {"node": [place, *nodes], "versions": {"producer": 1}},
            "weightsManifest": [],
            "signature": signature,
        }
        (root / name).mkdir()
        (root / name / "model.json").write_text(json.dumps(content))

    floating = {"T": {"type": "DT_FLOAT"}}
    magnitude = [
        {"name": "c", "op": "Complex", "input": ["x", "x"], "attr": floating},
        {"name": "y", "op": "ComplexAbs", "input": ["c"], "attr": floating},
    ]
    model("Complex", "DT_FLOAT", magnitude, "y", "DT_FLOAT")
    product = {"name": "y", "op": "MatMul", "input": ["x", "x"], "attr": {"T": {"type": "DT_INT32"}}}
    model("int32", "DT_INT32", [product], "y", "DT_INT32")
    model("dtype", "DT_BOOL", [{"name": "y", "op": "Neg", "input": ["x"], "attr": {}}], "y", "DT_BOOL")
    return root


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_run_says_what_the_backend_lacks(narrow: Path, runtime: Runtime) -> None:
    three = np.array([[3.0]], np.float32)
    case = {"Complex": three, "int32": three.astype(np.int32), "dtype": np.array([[True]])}
    requests = {name: Request(narrow / name / "model.json", "graph", [{"x": x}]) for name, x in case.items()}
    answers = dict(zip(requests, run(runtime, list(requests.values())), strict=True))
    expected = {"Complex": np.sqrt(18), "int32": 9}
    for name, value in expected.items():
        answer = answers[name]
        if runtime.endswith("wasm"):
            assert answer.lacks
            assert str(answer.error)
        else:
            assert answer.error is None
            assert not answer.lacks
            np.testing.assert_allclose(answer.outputs[0]["y"], [[value]], rtol=1e-6)
    if runtime.endswith("wasm"):  # Its kernel prints that it has no such dtype, and returns what was in memory.
        assert answers["dtype"].lacks
        assert "Unknown dtype" in str(answers["dtype"].error)


def test_run_tells_damage_from_a_lack(models: Models, tmp_path: Path) -> None:
    shutil.copytree(models.root / "mixed", tmp_path / "mixed")
    (shard,) = (tmp_path / "mixed").glob("*.bin")
    os.truncate(shard, 8)
    (answer,) = run("node-wasm", [Request(tmp_path / "mixed" / "model.json", "graph", [mixed_case(1, 1)])])
    assert answer.error
    assert not answer.lacks


def test_run_fails_when_tfjs_used_another_backend(models: Models, tmp_path: Path) -> None:
    # A tfjs whose wasm falls back to cpu without a word.
    real = programs.JS
    for name in ("main.mjs", "core.mjs", "server.mjs", "package.json", "node_modules"):
        (tmp_path / name).symlink_to(real / name) if name == "node_modules" else shutil.copy(real / name, tmp_path)
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
        "import numpy as np; from pathlib import Path; from converters.targets.tfjs.javascript import run\n"
        "from converters.targets.tfjs.messages import Request\n"
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
        "import numpy as np, time; from pathlib import Path; from converters.targets.tfjs import javascript, messages\n"
        "from converters.processes import resident as kept\n"
        "from converters.contract.settings import Limits\n"
        "case = {'n': np.array(3, np.int32), 'x': np.zeros(2, np.float32)}\n"
        f"request = messages.Request(Path({str(models.path('loop'))!r}), 'graph', [case])\n"
        "with kept.keeping():\n"
        "    (answer,) = kept.run('js', javascript.run, 'chromium-wasm', [request], limits=Limits()).value\n"
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
