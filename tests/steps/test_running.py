"""A slow runtime is asked for fewer of golden's calls, or another in its place: it is said in the row, which still can fail."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import damage
import pytest
import samples
from samples import Converted, Sample

from converters.contract.target import Cases, Runtime
from converters.contract.values import Artifact, CheckResult, Prediction
from converters.reference import golden
from converters.release.manifest import Row
from converters.steps import running
from converters.steps.judging import Judge
from converters.targets.registry import TARGETS

pytestmark = [pytest.mark.usefixtures("kept_runtimes"), pytest.mark.browser]

KEY = "serving_default"
ALL, ONE = (10**8, 10**7), (10**13, 10**9)
"""Work of golden's two calls: what every runtime does; and what none does of the first."""
MUCH = (10**13, 2 * 10**10)
"""The same, of the second too much for WebGL in software and for cpu."""
TOO_MUCH = (10**13, 10**13)


@pytest.fixture(scope="module")
def graph(keras_sample: Sample) -> Converted:
    return samples.converted(keras_sample, "tfjs", "graph")


def costing(made: Converted, works: tuple[int, ...], folder: Path) -> Converted:
    """The same conversion, of a model whose golden says that its calls cost so much."""
    told = made.sample.golden.model_copy(update={"works": {KEY: list(works)}})
    path = folder / "golden.npz"
    golden.save(told, path)
    source = made.sample.source.model_copy(update={"golden": path})
    return dataclasses.replace(made, sample=dataclasses.replace(made.sample, source=source))


def values(row: Row) -> dict[str, CheckResult]:
    """The check `values` by the program and backend that it was made in."""
    found = [check for check in row.checks if check.name == "values"]
    return {f"{check.runtime.split()[0]}-{check.runtime.split()[-1]}": check for check in found}


def test_check_asks_for_everything_when_it_costs_little(graph: Converted, tmp_path: Path) -> None:
    (row,) = costing(graph, ALL, tmp_path).check()
    assert row.status == "passed", row.reason
    assert {name: check.detail.rpartition(", ")[2] for name, check in values(row).items()} == {
        "node-wasm": "64 samples",
        "chromium-webgl": "software WebGL: 1 sample of 65",
        "chromium-wasm": "64 samples",
    }


def test_check_asks_webgl_for_everything_when_the_config_says_so(
    graph: Converted, keras_sample: Sample, tmp_path: Path
) -> None:
    told = {"runtimes": {"node-wasm": {}, "chromium-webgl": "all"}}
    spec = keras_sample.spec.model_copy(update={"targets": {"tfjs": TARGETS["tfjs"].options.model_validate(told)}})
    wanting = dataclasses.replace(graph, sample=dataclasses.replace(keras_sample, spec=spec))
    (row,) = costing(wanting, ALL, tmp_path).check()
    assert row.status == "passed", row.reason
    assert {name: check.detail.rpartition(", ")[2] for name, check in values(row).items()} == {
        "node-wasm": "64 samples",
        "chromium-webgl": "64 samples",
    }


def test_check_asks_for_a_single_sample_and_says_so_when_all_cost_too_much(graph: Converted, tmp_path: Path) -> None:
    (row,) = costing(graph, ONE, tmp_path).check()
    assert row.status == "passed", row.reason
    assert {name: check.detail.rpartition(", ")[2] for name, check in values(row).items()} == {
        "node-wasm": "1 sample of 65",
        "chromium-webgl": "software WebGL: 1 sample of 65",
        "chromium-wasm": "1 sample of 65",
    }


@pytest.mark.parametrize("works", [ALL, ONE, MUCH])
def test_check_fails_with_a_single_sample_when_a_weight_is_wrong(
    graph: Converted, tmp_path: Path, works: tuple[int, ...]
) -> None:
    copy = costing(graph.copy(tmp_path), works, tmp_path)
    shard = next(copy.path.parent.glob("*.bin"))
    damage.flip(shard, shard.read_bytes()[:16])
    (row,) = copy.check()
    assert row.status == "failed"
    assert {check.status for check in values(row).values()} == {"failed"}


def test_check_asks_wasm_in_place_of_webgl_when_that_takes_too_long(graph: Converted, tmp_path: Path) -> None:
    (row,) = costing(graph, MUCH, tmp_path).check()
    assert row.status == "passed", row.reason
    assert values(row).keys() == {"node-wasm", "chromium-wasm"}
    (left_out,) = row.left_out()
    assert left_out.runtime == "chromium-webgl"
    assert "one call is 20 thousand million multiply-adds" in left_out.detail
    assert left_out.detail.endswith("30 s are allowed; checked in chromium-wasm in its place")


def test_check_is_not_run_and_says_why_when_no_runtime_is_fast_enough(graph: Converted, tmp_path: Path) -> None:
    (row,) = costing(graph, TOO_MUCH, tmp_path).check()
    assert row.status == "not_run"
    assert row.reason is not None
    assert "set limits.seconds to" in row.reason
    assert values(row) == {}


@pytest.mark.parametrize(("works", "detail"), [(ALL, ("64 samples", "1 sample of 65")), (ONE, "1 sample of 65")])
def test_soundness_takes_a_call_that_was_answered(
    keras_sample: Sample, tmp_path: Path, works: tuple[int, ...], detail: str | tuple[str, ...]
) -> None:
    (row,) = costing(samples.converted(keras_sample, "tfjs", "graph-uint8"), works, tmp_path).check()
    assert row.status == "passed", row.reason
    assert all(check.detail.endswith(detail) for check in values(row).values())
    assert [check.status for check in row.checks if check.name == "sound"].count("passed") >= 3


def dies(artifacts: Sequence[Artifact], cases: Cases, seconds: float) -> list[Prediction]:
    """A runtime that ends its process."""
    os.abort()


@pytest.mark.parametrize(("required", "status"), [(False, "not_run"), (True, "failed")])
def test_run_says_that_a_runtime_died_when_it_may_be_missing(graph: Converted, required: bool, status: str) -> None:
    unit = samples.unit_of(graph.sample, "tfjs", "graph", graph.root)
    dying = Runtime("dying", "dying", dies, str, find=str)
    target = dataclasses.replace(unit.definition, runtimes=(dying,))
    options = SimpleNamespace(requires=lambda runtime: required, asks_all_of=lambda runtime: False)
    asked = Judge(unit, graph.sample.golden, None).asked
    told: Any = SimpleNamespace(definition=target, options=options, limits=unit.limits)
    sound = {"dying": graph.conversion.artifacts}
    ((_, _, finding),) = running.run(told, sound, asked, running.Children(unit.limits, None))
    assert isinstance(finding, CheckResult)
    assert (finding.status, finding.required) == (status, required)
    assert "SIGABRT" in finding.detail


def test_golden_says_what_calls_cost(make_sample: Callable[..., Sample]) -> None:
    code = """
import tensorflow as tf

class Larger(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 128, 128, 3], tf.float32, name="image")])
    def __call__(self, image):
        made = tf.nn.conv2d(tf.repeat(image, 21, 3), self.kernel, 1, "SAME")
        return {"other": tf.reduce_mean(tf.nn.conv2d(tf.nn.relu(made), self.kernel, 1, "SAME"), 3)}

    def __init__(self):
        self.kernel = tf.Variable(tf.random.stateless_normal((5, 5, 63, 63), (1, 2)))

def build():
    return Larger()
"""
    told = make_sample(code).golden
    each = 2 * 128 * 128 * 25 * 63 * 63
    assert [case.batch for case in told.cases[KEY]] == [7, 1]
    assert [round(work / each, 1) for work in told.works[KEY]] == [told.cases[KEY][0].batch, 1.0]


@pytest.mark.parametrize(
    ("answered", "call"), [((None, None), 0), (((0, 2), None), 0), (((1, 2), None), 2), (((1, 2), (1,)), 1)]
)
def test_judge_takes_the_first_call_or_its_last_when_only_some_were_answered(
    keras_sample: Sample, tmp_path: Path, answered: tuple[tuple[int, ...] | None, ...], call: int
) -> None:
    judge = Judge(samples.unit_of(keras_sample, "tfjs", "graph", tmp_path), keras_sample.golden, None)
    (signature,) = keras_sample.source.signatures
    artifact = Artifact(target="tfjs", variant="graph", signature=signature, path=tmp_path)
    assert judge.answered(artifact, [Prediction(runtime="any", answered=each) for each in answered]) == call
