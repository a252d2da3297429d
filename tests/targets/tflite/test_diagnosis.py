"""Sentences made of what real converters said, on real models, in a process of their own."""

from pathlib import Path
from typing import Any

import pytest

from converters.contract import errors
from converters.targets.tflite import diagnosis

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]  # from TensorFlow's import


def complaint(tmp_path: Path, function: Any, *, int8: bool = False, select: bool = False) -> BaseException:
    """What the TF Lite converter raises for a tf.function."""
    import numpy as np
    import tensorflow as tf

    module = tf.Module()
    module.call = function
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={"serving_default": function})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "model"))
    builtins = tf.lite.OpsSet.TFLITE_BUILTINS_INT8 if int8 else tf.lite.OpsSet.TFLITE_BUILTINS
    converter.target_spec.supported_ops = [builtins, tf.lite.OpsSet.SELECT_TF_OPS] if select else [builtins]
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: iter([[np.ones([1, 4], np.float32)]])
    with pytest.raises(Exception) as raised:  # noqa: PT011 -- of every kind, which is what is tested
        converter.convert()
    return raised.value


def test_of_tflite_names_op_and_node_when_select_ops_are_needed(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 4], tf.float32, name="x")])
    def call(x: Any) -> Any:
        with tf.name_scope("block_3"):
            return {"inverse": tf.linalg.inv(x), "det": tf.linalg.det(x)}

    found = diagnosis.of_tflite(complaint(tmp_path, call))
    assert found.need == "select"
    assert set(found.ops) == {"MatrixInverse", "MatrixDeterminant"}
    assert "MatrixInverse (node block_3/MatrixInverse)" in found.sentence
    assert "\n" not in found.sentence


def test_of_tflite_says_that_no_kernel_exists_when_an_op_is_no_select_op(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="x")])
    def call(x: Any) -> Any:
        return {"upper": tf.strings.upper(x)}

    found = diagnosis.of_tflite(complaint(tmp_path, call, select=True))
    assert (found.need, found.ops) == ("custom", ("StringUpper",))
    assert found.sentence.startswith("TF Lite has no kernel for StringUpper")


def test_of_tflite_names_node_and_device_when_the_graph_is_pinned(tmp_path: Path) -> None:
    import tensorflow.compat.v1 as v1
    from tensorflow import lite

    with v1.Graph().as_default(), v1.Session(config=v1.ConfigProto(allow_soft_placement=True)) as session:
        with v1.device("/gpu:0"):
            x = v1.placeholder(v1.float32, [None, 2], name="x")
            y = v1.matmul(x, v1.get_variable("weight", [2, 2], use_resource=True))
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(tmp_path / "pinned"))
        definition = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map={"serving_default": definition})
        builder.save()
    with pytest.raises(Exception, match="assign a device") as raised:
        lite.TFLiteConverter.from_saved_model(str(tmp_path / "pinned")).convert()
    found = diagnosis.of_tflite(raised.value)
    assert found.need == "freeze"
    assert "pinned to /device:GPU:0" in found.sentence


@pytest.mark.parametrize(
    ("log", "need", "words"),
    [
        ("Quantization not yet supported for op: 'FLOOR_MOD'", "quantize", "op FLOOR_MOD has no int8 kernel"),
        ("", "other", "RuntimeError"),
        ("first\nx.py:3:0: error: loc(\"a\"): cannot do it", "other", "cannot do it"),
        ("x" * 5000, "other", "the TF Lite converter: xxx"),
    ],
)  # fmt: skip
def test_of_tflite_keeps_to_one_sentence_whatever_was_said(log: str, need: str, words: str) -> None:
    found = diagnosis.of_tflite(RuntimeError(log))
    assert found.need == need
    assert words in found.sentence
    assert len(found.sentence) < 2 * errors.MOST


def test_of_tflite_reads_a_message_that_is_no_text() -> None:
    with pytest.raises(UnicodeDecodeError) as raised:
        b"Could not parse \xbc\xff".decode()
    assert "Could not parse" in diagnosis.of_tflite(raised.value).sentence
