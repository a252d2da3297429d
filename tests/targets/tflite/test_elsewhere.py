"""What a row says of runtimes that are not asked: which ops they do not know."""

from collections.abc import Callable

import pytest
import samples
from ai_edge_litert import schema_py_generated as schema
from samples import Sample

from converters.targets.tflite import elsewhere

pytestmark = [
    pytest.mark.usefixtures("kept_children"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # from TensorFlow's import
]

CODE = """
import tensorflow as tf

class Mixed(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def known(self, x):
        return {"y": tf.nn.softmax(x * 2.0)}

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def unknown(self, x):
        order = tf.math.top_k(x, 2).values
        return {"y": tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.round(y * 2.0)), (0, order))[1]}

def build():
    return Mixed()
"""


def test_check_says_which_ops_other_runtimes_do_not_know(make_sample: Callable[..., Sample]) -> None:
    rows = samples.converted(make_sample(CODE, name="mixed"), "tflite", "float32").check()
    told = {row.signature: next(check for check in row.checks if check.name == "elsewhere") for row in rows}
    assert {row.status for row in rows} == {"passed"}
    assert {(check.status, check.required) for check in told.values()} == {("passed", False)}
    assert told["known"].detail == "ops that are unknown to the GPU delegate: none; to TF Lite Micro: none"
    gpu, _, micro = told["unknown"].detail.partition("; ")
    assert "WHILE" in gpu
    assert micro == "to TF Lite Micro: TOPK_V2"


@pytest.mark.parametrize("runtime", elsewhere.KNOWN)
def test_known_ops_are_those_of_the_schema(runtime: str) -> None:
    written = {op for op in elsewhere.KNOWN[runtime] if op.isupper() and op != "CIRCULAR_BUFFER"}
    assert len(written) > 80
    assert written <= vars(schema.BuiltinOperator).keys()
