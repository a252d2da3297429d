"""Quality of what targets compute: limits of lossy variants, the metric of labelled data, the layers that lose."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import labelled
import numpy as np
import pytest
import samples
from samples import Converted, Sample

from converters.config import read
from converters.config.spec import ModelSpec
from converters.contract import layout
from converters.contract.errors import BadInput, Damaged
from converters.contract.settings import EvaluationSpec, Limits, Quality
from converters.contract.target import Options
from converters.contract.values import Artifact, Signature, Tensors, TensorSpec
from converters.processes import child as isolate
from converters.reference import labelled as evaluation
from converters.reference.labelled import Evaluation
from converters.release.manifest import Row
from converters.source.data.given import labelled_data
from converters.targets.tflite import layers
from converters.targets.tflite import target as tflite
from converters.targets.tflite.options import TFLiteOptions

pytestmark = pytest.mark.usefixtures("kept_children")

SIGNATURE = "serving_default"
LABELLED = {"data": "tiny.py:labelled"}
GOLDEN = {"data": "tiny.py:golden", "samples": 40}
OWN = {"data": "tiny.py:scored", "max_drop": 0}


@pytest.fixture(scope="module")
def classifier(make_sample: Callable[..., Sample]) -> Sample:
    """Built once with labelled data; shared, so nobody may change it."""
    return make_sample(labelled.CLASSIFIER, golden=GOLDEN, evaluation=LABELLED)


def checked(sample: Sample, target: str, variant: str = "default") -> Row:
    (row,) = samples.converted(sample, target, variant).check()
    return row


def with_metric(make_spec: Callable[..., ModelSpec], tmp_path: Path, metric: str, **fields: Any) -> Sample:
    """The classifier built with a metric of one's own; the spec's folder is the builder's."""
    wanted = make_spec(labelled.CLASSIFIER, golden=GOLDEN)
    (wanted.base / "metrics.py").write_text(fields.pop("code", labelled.METRIC))
    (wanted.base / "helper.py").write_text(fields.pop("helper", ""))
    config = {**OWN, "metric": f"metrics.py:{metric}", **fields}
    wanted = wanted.model_copy(update={"evaluation": EvaluationSpec.model_validate(config)})
    return samples.build(wanted, tmp_path)


@pytest.mark.parametrize(
    ("target", "variant", "runtimes"),
    [
        ("saved_model", "default", {"TensorFlow"}),
        ("tflite", "float32", {"litert"}),
        ("tflite", "int8", {"litert"}),
        ("tfjs", "graph", {"node", "chromium"}),
        ("hdf5", "model", {"tf_keras"}),
        ("serving", "default", {"TensorFlow"}),
    ],
)
def test_check_measures_accuracy_in_the_targets_own_runtimes(
    classifier: Sample, target: str, variant: str, runtimes: set[str]
) -> None:
    row = checked(classifier, target, variant)
    assert row.status == "passed", row.reason
    metrics = [check for check in row.checks if check.name == "metric"]
    assert {check.runtime.split()[0] for check in metrics} == runtimes
    for metric in metrics:
        assert metric.figures["live"] == 0.9
        assert metric.figures["samples"] == 40
        assert metric.measured == pytest.approx(0.9 - metric.figures["metric"])
        if variant != "int8":
            assert metric.figures["metric"] == 0.9
    worst = row.metric()
    assert worst is not None
    assert worst.measured == max(check.measured or 0 for check in metrics)
    assert row.figure("top1") is not None
    assert (row.figure("snr_db") or 0) > (20 if variant == "int8" else 80)


def test_check_turns_the_metric_red_when_weights_are_exchanged(classifier: Sample, tmp_path: Path) -> None:
    whole = samples.converted(classifier, "tflite", "float32")
    other = samples.build(samples.write_spec(_new(tmp_path), labelled.CLASSIFIER.replace("seed=3", "seed=4")), tmp_path)
    broken = whole.copy(tmp_path / "copy")
    broken.path.write_bytes(samples.converted(other, "tflite", "float32").path.read_bytes())
    (row,) = broken.check()
    metric = row.metric()
    assert metric is not None
    assert metric.status == "failed"
    assert (metric.measured or 0) > 0.2


def _new(tmp_path: Path) -> Path:
    (tmp_path / "spec").mkdir()
    return tmp_path / "spec"


def test_check_takes_fewer_samples_when_the_target_says_so(classifier: Sample) -> None:
    options = TFLiteOptions(variants=("float32",), evaluation_samples=10)
    wanted = classifier.spec.model_copy(update={"targets": {**classifier.spec.targets, "tflite": options}})
    row = checked(Sample(wanted, classifier.built, classifier.source), "tflite", "float32")
    metric = row.metric()
    assert metric is not None
    assert metric.figures == {"metric": 1.0, "live": 1.0, "samples": 10.0}  # it is the last four that are wrong


def test_check_holds_to_ones_own_metric_from_nothing_but_the_release(
    make_spec: Callable[..., ModelSpec], tmp_path: Path
) -> None:
    sample = with_metric(make_spec, tmp_path, "closeness")
    (sample.spec.base / "metrics.py").unlink()
    int8 = samples.converted(sample, "tflite", "int8")
    (row,) = int8.check()
    assert samples.turned([row]) == {SIGNATURE: {"metric"}}
    assert row.reason is not None
    assert "closeness -0.0" in row.reason
    assert "which layers lose it cannot be told" in row.reason  # there is no SavedModel beside it
    lower = EvaluationSpec(**OWN, metric="metrics.py:distance", better="lower")
    other = Sample(sample.spec.model_copy(update={"evaluation": lower}), sample.built, sample.source)
    assert samples.turned(Converted(other, int8.conversion, int8.root).check()) == {SIGNATURE: {"metric"}}
    assert checked(sample, "saved_model").status == "passed"
    release = sample.source.golden.parent
    assert not list(release.rglob("*.pyc"))
    for folder in (release, int8.root):
        (folder / layout.METRIC).unlink()
    with pytest.raises(Damaged, match=r"metric\.py is missing, and with it the metric 'closeness'"):
        int8.check()


def test_check_is_red_when_the_metric_needs_other_files_of_its_folder(
    make_spec: Callable[..., ModelSpec], tmp_path: Path
) -> None:
    code = "from helper import closeness\n"
    sample = with_metric(make_spec, tmp_path, "closeness", code=code, helper=labelled.METRIC)
    row = checked(sample, "saved_model")
    assert samples.turned([row]) == {SIGNATURE: {"metric"}}
    assert row.reason is not None
    assert "No module named 'helper'; it is run from its copy in the release" in row.reason


def test_recorded_metric_is_the_live_models(classifier: Sample) -> None:
    found = evaluation.load(classifier.source.golden.parent, classifier.spec.evaluation, classifier.source.signatures)
    assert found is not None
    record = found.record(Limits())
    assert (record.metric, record.signature, record.output, record.samples) == ("accuracy", SIGNATURE, "scores", 40)
    assert record.live == 0.9
    assert record.data.startswith("sha256:")


# What the config says, without a model: `call` stands for the live one.

KNOWN = {
    SIGNATURE: Signature(
        inputs={"x": TensorSpec(shape=(None, 2), dtype="float32")},
        outputs={"y": TensorSpec(shape=(None, 2), dtype="float32")},
    )
}
STATIC = {
    SIGNATURE: Signature(
        inputs={"x": TensorSpec(shape=(2,), dtype="float32")}, outputs={"y": TensorSpec(shape=(2,), dtype="float32")}
    )
}
TWO = {
    SIGNATURE: KNOWN[SIGNATURE].model_copy(update={"outputs": dict.fromkeys(("y", "z"), KNOWN[SIGNATURE].outputs["y"])})
}
X = np.random.default_rng(1).normal(size=(10, 2)).astype(np.float32)
Y = X.argmax(axis=1)


def recorded(
    folder: Path, signatures: Mapping[str, Signature] = KNOWN, *, arrays: Mapping[str, Any] | None = None, **fields: Any
) -> Evaluation:
    np.savez(folder / "data.npz", **(arrays if arrays is not None else {"x": X, "labels": Y}))
    wanted = EvaluationSpec.model_validate({"data": "data.npz", **fields})
    (folder / "metrics.py").write_text(labelled.METRIC)
    out = folder / "release"
    out.mkdir()

    def call(key: str, inputs: Tensors) -> Tensors:
        return dict.fromkeys(signatures[key].outputs, inputs["x"])

    data, _ = labelled_data(wanted, folder, signatures, lambda key, pixels: ("0..1", ""))
    evaluation.record(wanted, folder, signatures, call, out, data)
    found = evaluation.load(out, wanted, signatures)
    assert found is not None
    return found


def test_record_cuts_the_data_into_batches_when_the_batch_is_dynamic(tmp_path: Path) -> None:
    found = recorded(tmp_path, batch=4, samples=9)
    assert [len(call.inputs["x"]) for call in found.calls] == [4, 4, 1]
    assert len(found.labels) == 9
    assert found.live(Limits()) == 1.0
    fewer = found.first(6)
    assert [len(call.inputs["x"]) for call in fewer.calls] == [4, 2]
    assert fewer.live(Limits()) == 1.0
    assert found.first(None) is found
    assert found.first(100) is found


def test_record_makes_a_call_of_each_sample_when_the_batch_is_fixed(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="accuracy takes"):  # [2] is no [n, classes]
        recorded(tmp_path / _made(tmp_path, "a"), STATIC, arrays={"x": X, "labels": np.stack([Y, Y], 1)})
    found = recorded(tmp_path / _made(tmp_path, "b"), STATIC, samples=3)
    assert [call.inputs["x"].shape for call in found.calls] == [(2,)] * 3
    assert found.live(Limits()) == 1.0
    assert len(found.first(2).calls) == 2


def _made(folder: Path, name: str) -> str:
    (folder / name).mkdir()
    return name


@pytest.mark.parametrize(
    ("signatures", "arrays", "fields", "sentence"),
    [
        (KNOWN, {"x": X}, {}, r"has no 'labels'; it gives \['x'\]"),
        (KNOWN, {"x": X, "labels": Y[:3]}, {}, "gives 3 labels for 10 samples"),
        (KNOWN, {"labels": Y}, {}, "gives no array for input 'x'"),
        (KNOWN, {"x": X[:, :1], "labels": Y}, {}, "does not fit"),
        (KNOWN, {"x": X, "labels": np.int64(3)}, {}, "must have one label for each sample"),
        (KNOWN, None, {"signature": "other"}, "evaluation.signature: the model has no 'other'"),
        (KNOWN, None, {"output": "z"}, "evaluation.output: 'serving_default' has no 'z'; choose from y"),
        (TWO, None, {}, "evaluation.output: 'serving_default' has y, z; say which one"),
        (KNOWN, None, {"metric": "metrics.py:nothing", "max_drop": 0}, "is nan for the live model"),
        (KNOWN, None, {"metric": "metrics.py:text", "max_drop": 0}, "text returned str; return a number"),
        (KNOWN, None, {"metric": "metrics.py:none", "max_drop": 0}, "has no function 'none'"),
        (KNOWN, None, {"metric": "metrics.py:broken", "max_drop": 0}, "in broken: RuntimeError: no such class"),
    ],
)
def test_record_raises_bad_input_when_data_or_metric_do_not_fit(
    tmp_path: Path, signatures: Any, arrays: Any, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        recorded(tmp_path, signatures, arrays=arrays, **fields)


def test_load_raises_damaged_when_the_data_is_gone(tmp_path: Path) -> None:
    recorded(tmp_path)
    (tmp_path / "release" / layout.EVALUATION).unlink()
    with pytest.raises(Damaged, match=r"evaluation\.npz"):
        evaluation.load(tmp_path / "release", EvaluationSpec(data="data.npz"), KNOWN)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"evaluation": {"data": "none.npz"}}, r"evaluation\.data: .*none\.npz does not exist"),
        ({"evaluation": {"data": "none.py:data"}}, r"evaluation\.data: .*none\.py does not exist"),
        ({"evaluation": {**LABELLED, "metric": "f1", "max_drop": 0}}, "evaluation.metric: 'f1' is not of the form"),
        ({"evaluation": {**LABELLED, "metric": "tiny.py:f1"}}, "'max_drop' is required with a metric of your own"),
        ({"evaluation": {**LABELLED, "better": "more"}}, "evaluation.better"),
        ({"targets": {"tflite": {"quality": {"int5": {}}}}}, "targets.tflite: there is no variant 'int5'"),
        ({"targets": {"tflite": {"quality": {"int8": {"snr": 3}}}}}, "snr: unknown key"),
        ({"targets": {"tflite": {"quality": {"int8": 3}}}}, "quality.int8"),
        ({"targets": {"tflite": {"quality": 3}}}, "quality"),
        ({"regression": {"size": 3}}, "regression.size: unknown key"),
    ],
)
def test_read_raises_bad_input_when_quality_is_described_wrongly(
    tmp_path: Path, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        samples.write_spec(tmp_path, labelled.CLASSIFIER, **fields)


def test_read_keeps_defaults_of_what_is_left_out_when_quality_is_given(tmp_path: Path) -> None:
    fields = {"tflite": {"quality": {"int8": {"top1": 0.97, "snr_db": None}, "float32": {"cosine": 1}}}}
    wanted = samples.write_spec(tmp_path, labelled.CLASSIFIER, targets=fields)
    quality = wanted.targets["tflite"].quality
    assert quality["int8"] == tflite.TARGET.variant("int8").quality.model_copy(update={"top1": 0.97, "snr_db": None})
    assert quality["dynamic"] == tflite.TARGET.variant("dynamic").quality
    assert quality["float32"] == Quality(cosine=1)
    again = ModelSpec.model_validate_json(wanted.model_dump_json())
    assert again.targets["tflite"].quality == quality
    assert Options().quality == {}


def test_build_raises_bad_input_when_a_classifier_is_no_output(
    make_spec: Callable[..., ModelSpec], tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="classifiers: the model has no output 'logits'; it has scores"):
        samples.build(make_spec(labelled.CLASSIFIER, classifiers=["logits"]), tmp_path)


# Layers.


def whole_release(sample: Sample, variant: str) -> Converted:
    """Converted beside the SavedModel, as in a release."""
    root = sample.source.saved_model.parent
    return Converted(sample, samples.convert(samples.unit_of(sample, "tflite", variant, root)), root)


def test_check_names_the_layer_when_int8_was_calibrated_on_zeros(
    make_sample: Callable[..., Sample],
) -> None:
    sample = make_sample(
        labelled.CLASSIFIER, golden=GOLDEN, representative="tiny.py:zeros", targets={"tflite": {"variants": ["int8"]}}
    )
    made = whole_release(sample, "int8")
    (row,) = made.check()
    assert row.status == "failed"
    assert row.layers[0].layer == "tiny/hidden"
    assert row.layers[0].op == "FULLY_CONNECTED"
    assert row.reason is not None
    assert "snr on litert 2.3.0: scores" in row.reason
    assert {"snr", "sound"} <= {check.name for check in row.checks if check.status == "failed"}
    assert "the layers that lose the most: 'tiny/hidden' (FULLY_CONNECTED" in row.reason
    assert (made.root / "logs" / "tflite-int8-layers.log").is_file()


def test_check_names_the_layer_when_a_scale_of_the_deployed_file_was_changed(
    make_sample: Callable[..., Sample],
) -> None:
    sample = make_sample(labelled.CLASSIFIER, golden=GOLDEN, targets={"tflite": {"variants": ["int8"]}})
    made = whole_release(sample, "int8")
    assert made.check()[0].status == "passed"
    isolate.run(labelled.scale_activations, made.path, "scores/MatMul", 8.0)
    (row,) = made.check()
    assert samples.turned([row])[SIGNATURE] >= {"sound"}
    (artifact,) = made.conversion.artifacts
    assert isolate.run(_layers, artifact, sample).value[0].layer == "tiny/scores"


def test_layers_lose_the_same_when_few_samples_are_kept_at_a_time(keras_sample: Sample) -> None:
    made = samples.converted(keras_sample, "tflite", "int8")
    (artifact,) = made.conversion.artifacts
    every, few = (isolate.run(each, artifact, keras_sample).value for each in (_layers, _layers_of_one_sample))
    assert {loss.layer for loss in few} == {loss.layer for loss in every}
    assert [loss for loss in few if loss.snr_db < 10] == []
    assert few != every


def _layers_of_one_sample(artifact: Artifact, sample: Sample) -> Any:
    with mock.patch.object(layers, "BYTES", 1):
        return _layers(artifact, sample)


def test_layers_are_those_of_their_signature_when_a_file_has_two(module_sample: Sample) -> None:
    made = samples.converted(module_sample, "tflite", "dynamic")
    for artifact in made.conversion.artifacts:
        assert artifact.signature is not None
        found = isolate.run(_layers, artifact, module_sample).value
        assert found
        assert all(loss.snr_db > 20 for loss in found), found


def _layers(artifact: Artifact, sample: Sample) -> Any:
    inputs = sample.golden.cases[artifact.signature or ""][0].inputs
    return layers.losses(artifact, sample.source.saved_model, inputs)


def test_configs_name_only_outputs_that_exist() -> None:
    assert read.read(read.CONFIGS / "mobilenet_v2.yaml").classifiers == ("logits",)
    found = read.read(read.CONFIGS / "digits.yaml").evaluation
    assert found is not None
    assert found.samples == 360
