"""WebGL keeps integers to 2^24: said of a model that may go beyond, and red where golden does."""

from collections.abc import Callable

import pytest
import samples
from samples import Sample

pytestmark = [pytest.mark.usefixtures("kept_runtimes"), pytest.mark.browser]

CODE = """
import numpy as np
import tensorflow as tf

class Counter(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 200], tf.int32, name="count")])
    def __call__(self, count):
        return {"next": count + 1}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="place")])
    def weekday(self, place):
        return {"number": tf.gather(tf.constant([3, 1, 4, 1, 5, 9, 2]), place)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="share")])
    def share(self, share):
        return {"id": tf.cast(share > 0.5, tf.int32) * 20_000_001}

def build():
    return Counter()

def data():
    # As many as WebGL computes itself: tensors of fewer than 128 elements it leaves to the processor.
    return {"serving_default": {"count": (2**24 - 100 + np.arange(800, dtype=np.int32)).reshape(4, 200)}}
"""
NOTE = "WebGL holds integers exactly to 2^24 only"


@pytest.fixture(scope="module")
def rows(make_sample: Callable[..., Sample]) -> dict[str, tuple[str, str]]:
    """Signature -> status and reason."""
    targets = {"tfjs": {"variants": ["graph"]}}
    sample = make_sample(CODE, targets=targets, golden={"data": "tiny.py:data"})
    made = samples.converted(sample, "tfjs", "graph").check()
    return {str(row.signature): (row.status, row.reason or "") for row in made}


def test_a_row_fails_and_says_why_when_golden_goes_beyond(rows: dict[str, tuple[str, str]]) -> None:
    status, reason = rows["serving_default"]
    assert status == "failed"
    assert reason.startswith("values on chromium")
    assert f"{NOTE}: input 'count' may go beyond" in reason


def test_drawn_integers_that_do_not_fit_are_not_asked_for_and_given_ones_fail(
    make_sample: Callable[..., Sample],
) -> None:
    code = """
import numpy as np
import tensorflow as tf

class Counter(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.int64, name="count")])
    def __call__(self, count):
        return {"next": count + 1}

def build():
    return Counter()

def data():
    return {"serving_default": {"count": 2**40 + np.arange(8).reshape(2, 4)}}
"""
    targets = {"tfjs": {"variants": ["graph"]}}
    drawn = make_sample(code, targets=targets)
    assert any((abs(case.inputs["count"]) > 2**31).any() for case in drawn.golden.cases["serving_default"])
    (row,) = samples.converted(drawn, "tfjs", "graph").check()
    assert row.status == "passed", row.reason
    (row,) = samples.converted(
        make_sample(code, targets=targets, golden={"data": "tiny.py:data"}), "tfjs", "graph"
    ).check()
    assert row.status == "failed"
    assert "which int32 of tensorflow.js cannot hold" in str(row.reason)


def test_nothing_is_said_when_the_graph_bounds_the_integers(rows: dict[str, tuple[str, str]]) -> None:
    assert NOTE not in rows["weekday"][1]


def test_a_row_names_the_constant_that_is_beyond(rows: dict[str, tuple[str, str]]) -> None:
    assert f"{NOTE}: constant " in rows["share"][1]
