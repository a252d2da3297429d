"""A given SavedModel's own warmup requests are its data where nothing else is given."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
from samples import Sample

from converters.config import read
from converters.processes.child import run
from converters.reference import golden

pytestmark = pytest.mark.tensorflow

RNG = np.random.default_rng(6)
CALLS = [RNG.normal(100, 1, size=(n, 4)).astype(np.float32) for n in (1, 2, 3)]


def write_requests(saved_model: Path, requests: Sequence[Any], kind: str = "predict_log", key: str = "") -> None:
    """Requests of arrays for the input `signal`, or of the numbers of tf.Examples; for a child process."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path = saved_model / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for values in requests:
            log = prediction_log_pb2.PredictionLog()
            request = getattr(log, kind).request
            request.model_spec.signature_name = key
            if kind == "predict_log":
                request.inputs["signal"].CopyFrom(tf.make_tensor_proto(values))
            else:
                for value in values:
                    example = request.input.example_list.examples.add()
                    example.features.feature["x"].float_list.value.append(value)
            writer.write(log.SerializeToString())


def built(sample: Sample, folder: Path, *requests: Any, **told: Any) -> Sample:
    """The sample's SavedModel with these requests, built by path."""
    given = shutil.copytree(sample.source.saved_model, folder / "given")
    run(partial(write_requests, given, requests, **told))
    return samples.build(read.find(str(given)), folder)


def test_build_takes_golden_from_the_model_s_own_warmup_requests(module_sample: Sample, tmp_path: Path) -> None:
    sample = built(module_sample, tmp_path, *CALLS)
    np.testing.assert_array_equal(sample.golden.cases["serving_default"][0].inputs["signal"], np.concatenate(CALLS))
    assert sample.golden.data == {"serving_default": "given", "summary": "drawn"}
    assert sample.built.said == ("inputs are those of the model's own warmup requests: 6 of 'serving_default'",)


def test_build_takes_what_is_named_before_warmup_requests(module_sample: Sample, tmp_path: Path) -> None:
    given = shutil.copytree(module_sample.source.saved_model, tmp_path / "given")
    run(write_requests, given, CALLS)
    np.save(tmp_path / "data.npy", np.ones((3, 4)))
    sample = samples.build(read.find(str(given)).with_data(str(tmp_path / "data.npy")), tmp_path)
    assert sample.golden.cases["serving_default"][0].inputs["signal"].tolist() == np.ones((3, 4)).tolist()


@pytest.mark.parametrize(
    ("requests", "sentence"),
    [
        ([CALLS[0]], "they hold fewer than 2 samples"),
        ([np.ones((3, 5), np.float32)], "they are not what it takes: input 'signal' has shape [3, 5]"),
    ],
    ids=["one", "shape"],
)
def test_build_draws_inputs_and_says_why_when_warmup_requests_do_not_fit(
    module_sample: Sample, tmp_path: Path, requests: list[Any], sentence: str
) -> None:
    sample = built(module_sample, tmp_path, *requests)
    assert sample.golden.data["serving_default"] == "drawn"
    (said,) = sample.built.said
    assert said.startswith(f"the model's warmup requests of 'serving_default' are not used: {sentence}")


def test_build_draws_inputs_and_says_why_when_the_file_is_damaged(module_sample: Sample, tmp_path: Path) -> None:
    given = shutil.copytree(module_sample.source.saved_model, tmp_path / "given")
    (given / "assets.extra").mkdir()
    (given / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"nothing that is a record")
    sample = samples.build(read.find(str(given)), tmp_path)
    assert set(sample.golden.data.values()) == {"drawn"}
    assert sample.built.said[0].startswith(
        "the model's warmup requests are not used: tf_serving_warmup_requests cannot"
    )


EXAMPLES = """
import tensorflow as tf

class Parsing(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def __call__(self, examples):
        parsed = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([], tf.float32)})
        return {"twice": 2 * parsed["x"]}

def build():
    return Parsing()
"""


@pytest.mark.parametrize("kind", ["classify_log", "regress_log"])
def test_build_takes_examples_of_classify_and_regress_requests(
    make_sample: Callable[..., Sample], tmp_path: Path, kind: str
) -> None:
    sample = built(make_sample(EXAMPLES), tmp_path, [1.0, 2.0], [3.0], kind=kind)
    assert golden.load(sample.source.golden).cases["serving_default"][0].outputs["twice"].tolist() == [2, 4, 6]
