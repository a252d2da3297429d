"""Ops that tensorflow.js lacks or gets wrong are written in others, and compute in WebAssembly what TensorFlow computes."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.contract.errors import Unsupported
from converters.javascript import messages
from converters.javascript.runner import Runner
from converters.processes import child

pytestmark = pytest.mark.tensorflow

COMPUTED = (
    *("erfc", "xlogy", "constant_diagonal", "diagonal", "rolled", "einsum", "einsum_by_dots", "causal", "asserted"),
    *("in_a_loop", "list", "groups", "groups_compiled", "scattered", "rounded", "rows"),
    *("summed", "multiplied", "normalised", "swished"),
)
REFUSED = {
    "complex": "complex numbers between Fourier transforms alone, and none in StridedSlice",
    "groups_3d": "tensorflow.js has no convolution in groups, and node",
    "ragged": "tensorflow.js has no op RaggedTensorToTensor (node",
    "bits": "tensorflow.js has no op BitwiseAnd (node",
    "joined": "tensorflow.js has no op TensorListConcatV2 (node",
}


def models() -> Mapping[str, tuple[Any, tuple[int | None, ...]]]:
    """Name -> what it computes, and the shape of its input."""
    import tensorflow as tf

    rng = np.random.default_rng(1)
    matrix, grouped = rng.normal(size=(5, 5)).astype("f"), rng.normal(size=(3, 3, 2, 8)).astype("f")

    def causal(x: Any) -> Any:
        size = tf.shape(x)[1]
        return tf.where(tf.linalg.band_part(tf.ones([size, size], tf.bool), -1, 0), x, -1.0)

    def asserted(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(x, 100.0)]):
            return tf.math.erfc(x)

    def looped(x: Any) -> Any:
        return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.math.erfc(y) + x), [0, x])[1]

    def convolved(x: Any) -> Any:
        return tf.nn.conv2d(x, grouped, 2, "SAME")

    def bits(x: Any) -> Any:
        return tf.cast(tf.bitwise.bitwise_and(tf.cast(x * 9.0, tf.int32), 3), tf.float32)

    def joined(x: Any) -> Any:
        return tf.TensorArray(tf.float32, 0, dynamic_size=True).unstack(x).concat()

    return {
        "erfc": (tf.math.erfc, (None, 5)),
        "xlogy": (lambda x: tf.math.xlogy(tf.nn.relu(x), tf.abs(x)), (None, 5)),
        "constant_diagonal": (lambda x: x @ tf.linalg.diag(tf.constant([1.0, 2, 3, 4, 5])), (None, 5)),
        "diagonal": (lambda x: tf.linalg.set_diag(tf.linalg.diag(x) + matrix, x * 2), (None, 5)),
        "rolled": (lambda x: tf.roll(x, [-2, 3], [1, 2]), (None, 6, 5)),
        "einsum": (lambda x: tf.einsum("bij,bkj->bik", x, x), (None, 6, 5)),
        "einsum_by_dots": (lambda x: tf.raw_ops.Einsum(inputs=[x, matrix], equation="...a,ab->...b"), (None, 6, 5)),
        "causal": (causal, (None, 5, 5)),
        "asserted": (asserted, (None, 5)),
        "in_a_loop": (looped, (4, 5)),
        # What the loop puts into its list is nothing that it returns.
        "list": (lambda x: tf.map_fn(lambda row: tf.nn.softmax(row) * 2.0, x), (None, 5)),
        "groups": (lambda x: tf.nn.relu(convolved(x)), (None, 6, 6, 4)),
        "groups_compiled": (tf.function(convolved, jit_compile=True), (None, 6, 6, 4)),
        "scattered": (lambda x: tf.tensor_scatter_nd_add(x, [[1], [2]], tf.ones([2, 5])), (4, 5)),
        "rounded": (lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -0.7, 1.9, narrow_range=True), (None, 5)),
        "summed": (lambda x: tf.cumsum(x, -1, exclusive=True, reverse=True), (None, 6, 5)),
        "multiplied": (lambda x: tf.math.cumprod(x, -2), (None, 6, 5)),
        "normalised": (
            lambda x: tf.compat.v1.nn.fused_batch_norm(x, np.arange(3).astype("f"), np.ones(3, "f"), epsilon=0.01)[0],
            (4, 6, 5, 3),
        ),
        "swished": (lambda x: x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0), (None, 5)),
        "rows": (lambda x: tf.raw_ops.Select(condition=x[:, 0] > 0.0, x=x, y=-x), (None, 5)),
        "ragged": (lambda x: tf.RaggedTensor.from_tensor(x, padding=0.0).to_tensor(), (None, 5)),
        "bits": (bits, (None, 5)),
        "joined": (joined, (3, 5)),
        "complex": (lambda x: tf.abs(tf.signal.rfft(x)[:, :3]), (None, 16)),
        "groups_3d": (lambda x: tf.nn.conv3d(x, np.ones((3, 3, 3, 2, 4), "f"), [1] * 5, "SAME"), (None, 4, 4, 4, 4)),
    }


def save(path: Path, compute: Any, shape: tuple[int | None, ...]) -> None:
    import tensorflow as tf

    module, given = tf.Module(), [tf.TensorSpec(shape, tf.float32, name="x")]
    module.call = tf.function(lambda x: {"y": compute(x)}, input_signature=given, autograph=False)
    tf.saved_model.save(module, str(path), signatures=module.call)


def write_all(folder: Path) -> dict[str, str]:
    """Write each as a graph model, with an input and what TensorFlow makes of it; why not, of those that are refused."""
    import tensorflow as tf

    from converters.targets.tfjs import graph_model

    refused = {}
    for name, (compute, shape) in models().items():
        save(folder / name / "saved", compute, shape)
        try:
            graph_model.write(folder / name / "saved", "graph", "serving_default", folder / name / "out")
        except Unsupported as error:
            refused[name] = str(error)
            continue
        x = np.random.default_rng(0).normal(size=[size or 3 for size in shape]).astype("f")
        np.savez(folder / name / "case.npz", x=x, y=compute(tf.constant(x)).numpy())
    return refused


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("rewritten")
    return folder, child.run(write_all, folder).value


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner() as runner:
        yield runner


@pytest.mark.parametrize("name", COMPUTED)
def test_write_gives_a_model_that_computes_the_same(
    name: str, written: tuple[Path, dict[str, str]], runner: Runner
) -> None:
    folder = written[0] / name
    case = np.load(folder / "case.npz")
    request = messages.Request(folder / "out/model.json", "graph", [{"x": case["x"]}], timed=False)
    (answer,) = runner.run("node-wasm", [request])
    assert answer.error is None
    assert answer.outputs[0]["y"] == pytest.approx(case["y"], abs=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_write_says_what_tensorflow_js_has_not_before_it_is_tried(
    name: str, written: tuple[Path, dict[str, str]]
) -> None:
    assert REFUSED[name] in written[1][name]


def test_run_names_the_node_when_a_model_fails_in_tensorflow_js(
    written: tuple[Path, dict[str, str]], runner: Runner, tmp_path: Path
) -> None:
    shutil.copytree(written[0] / "causal/out", tmp_path / "out")
    path = tmp_path / "out/model.json"
    model = json.loads(path.read_text())
    wrong = next(node for node in model["modelTopology"]["node"] if node["op"] == "SelectV2")
    wrong["op"] = "Einsum"
    path.write_text(json.dumps(model))
    x = np.zeros((1, 5, 5), np.float32)
    (answer,) = runner.run("node-cpu", [messages.Request(path, "graph", [{"x": x}], timed=False, locate=True)])
    assert answer.error is not None
    assert answer.error.startswith(f"node {wrong['name']} (Einsum)")
    assert "Cannot read properties" not in answer.error
