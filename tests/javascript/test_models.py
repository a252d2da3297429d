"""Real models, converted by tensorflowjs and run in the real Node and the real Chromium."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from javascript_models import Models, assert_same, layers_case, mixed_case

from converters.contract.values import Prediction, Tensors
from converters.javascript.messages import Request
from converters.javascript.runner import RUNTIMES, Runner, Runtime

pytestmark = [pytest.mark.tensorflow, pytest.mark.browser]

Run = Callable[..., list[Prediction]]


@pytest.fixture(scope="module", name="run")
def _run() -> Iterator[Run]:
    """Runs requests in one Node and one Chromium, for all tests of this module; test_runner.py tests how they end."""
    with Runner() as runner:
        yield runner.run


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_run_returns_what_the_models_compute_when_they_are_sound(run: Run, models: Models, runtime: Runtime) -> None:
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
        assert answer.times_ms
        assert min(answer.times_ms) >= 0
        for inputs, outputs in zip(cases[name], answer.outputs, strict=True):
            assert_same(outputs, models.live[name](inputs))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_run_names_inputs_when_the_layers_model_is_sequential(run: Run, models: Models, runtime: Runtime) -> None:
    case = {"left": layers_case(5, 3)["left"]}
    (answer,) = run(runtime, [Request(models.path("sequential"), "layers", [case])])
    assert answer.error is None
    assert_same(answer.outputs[0], models.live["sequential"](case))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_run_reports_one_request_when_its_shard_is_truncated(
    run: Run, models: Models, runtime: Runtime, tmp_path: Path
) -> None:
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
def test_run_answers_when_the_graph_has_a_while_loop(run: Run, models: Models, runtime: Runtime) -> None:
    cases: list[Tensors] = [{"n": np.int32(n), "x": np.array([1, -2], np.float32)} for n in (0, 7)]  # type: ignore[dict-item]
    (answer,) = run(runtime, [Request(models.path("loop"), "graph", cases)])
    assert answer.error is None
    for inputs, outputs in zip(cases, answer.outputs, strict=True):
        assert_same(outputs, models.live["loop"](inputs))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_run_passes_every_float_when_not_finite(run: Run, models: Models, runtime: Runtime) -> None:
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-30, 3.4e38], np.float32)
    (answer,) = run(runtime, [Request(models.path("constant"), "graph", [{"x": odd}, {"x": odd[::-1]}])])
    assert answer.error is None
    for outputs, sent in zip(answer.outputs, (odd, odd[::-1]), strict=True):
        np.testing.assert_array_equal(outputs["same"], sent)
        np.testing.assert_array_equal(np.signbit(outputs["same"]), np.signbit(sent))
        np.testing.assert_array_equal(outputs["table"], np.array([1, 2, 3], np.float32))


def test_run_converts_inputs_when_tfjs_lacks_their_dtype(run: Run, models: Models) -> None:
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
    run: Run, models: Models, name: str, array: np.ndarray[Any, Any], words: str
) -> None:
    good = Request(models.path("mixed"), "graph", [mixed_case(1, 6)])
    bad = Request(models.path("mixed"), "graph", [{**mixed_case(1, 6), name: array}])
    refused, answered = run("node-cpu", [bad, good])
    assert refused.error is not None
    assert words in refused.error
    assert_same(answered.outputs[0], models.live["mixed"](good.cases[0]))


@pytest.mark.parametrize("kind", ["graph", "layers"])
def test_run_reports_the_request_when_input_names_differ(run: Run, models: Models, kind: Any) -> None:
    name = {"graph": "mixed", "layers": "layers"}[kind]
    (answer,) = run("node-cpu", [Request(models.path(name), kind, [{"other": np.zeros((1, 3), np.float32)}])])
    assert answer.error is not None
    assert "given were [other]" in answer.error


def test_run_passes_strings_when_the_graph_returns_them(run: Run, tmp_path: Path) -> None:
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
def test_run_says_what_the_backend_lacks(run: Run, narrow: Path, runtime: Runtime) -> None:
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


def test_run_tells_damage_from_a_lack(run: Run, models: Models, tmp_path: Path) -> None:
    shutil.copytree(models.root / "mixed", tmp_path / "mixed")
    (shard,) = (tmp_path / "mixed").glob("*.bin")
    os.truncate(shard, 8)
    (answer,) = run("node-wasm", [Request(tmp_path / "mixed" / "model.json", "graph", [mixed_case(1, 1)])])
    assert answer.error
    assert not answer.lacks
