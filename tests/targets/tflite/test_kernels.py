"""Kernels that compute something else than TensorFlow's: unsupported where it shows in any case, else said in the row."""

from collections.abc import Callable

import pytest
import samples
from samples import Sample

pytestmark = pytest.mark.usefixtures("kept_runtimes")

CODE = """
import numpy as np
import tensorflow as tf

BOXES = [tf.TensorSpec([12, 4], tf.float32, name="boxes"), tf.TensorSpec([12], tf.float32, name="scores")]

class Detector(tf.Module):
    @tf.function(input_signature=BOXES)
    def kept(self, boxes, scores):
        return {"kept": tf.gather(scores, tf.image.non_max_suppression(boxes, scores, 5))}

    @tf.function(input_signature=BOXES)
    def total(self, boxes, scores):
        return {"total": tf.reduce_sum(tf.gather(scores, tf.image.non_max_suppression(boxes, scores, 5)))}

    @tf.function(input_signature=[tf.TensorSpec([4, 12], tf.float32, name="sound")])
    def odd(self, sound):
        return {"power": tf.abs(tf.signal.rfft(sound, [12]))}

    @tf.function(input_signature=[tf.TensorSpec([4, 12], tf.float32, name="sound")])
    def even(self, sound):
        return {"power": tf.abs(tf.signal.rfft(sound, [16]))}

def build():
    return Detector()

def data():
    corners = np.random.default_rng(2).uniform(0, 0.05, (4, 12, 4)).astype(np.float32)
    boxes = corners + np.array([0, 0, 1, 1], np.float32)
    scores = np.random.default_rng(3).uniform(0.2, 1, (4, 12)).astype(np.float32)
    given = {"boxes": boxes, "scores": scores}
    return {"kept": given, "total": given}
"""


@pytest.fixture(scope="module")
def rows(make_sample: Callable[..., Sample]) -> dict[str, tuple[str, str]]:
    """Signature -> status and reason, of built-in ops alone."""
    return _rows(make_sample, select_ops="never")


def _rows(make_sample: Callable[..., Sample], **options: str) -> dict[str, tuple[str, str]]:
    targets = {"tflite": {"variants": ["float32"], **options}}
    sample = make_sample(CODE, targets=targets, golden={"data": "tiny.py:data"})
    made = samples.converted(sample, "tflite", "float32").check()
    return {str(row.signature): (row.status, row.reason or "") for row in made}


def test_select_ops_alone_compute_what_built_in_ones_do_not(make_sample: Callable[..., Sample]) -> None:
    rows = _rows(make_sample)
    assert {key: status for key, (status, _) in rows.items()} == dict.fromkeys(
        ("kept", "total", "odd", "even"), "passed"
    )
    assert "select TF ops in place of all built-in ones, since TF Lite's" in rows["kept"][1]


def test_a_signature_is_unsupported_when_it_returns_as_many_as_are_kept(rows: dict[str, tuple[str, str]]) -> None:
    status, reason = rows["kept"]
    assert status == "unsupported"
    assert "padded, where output 'kept' of the model has as many as are kept" in reason


def test_a_row_fails_and_says_why_when_golden_shows_the_padding(rows: dict[str, tuple[str, str]]) -> None:
    status, reason = rows["total"]
    assert status == "failed"
    assert "returns its largest number of entries, padded" in reason


def test_a_transform_is_unsupported_when_its_length_is_no_power_of_two(rows: dict[str, tuple[str, str]]) -> None:
    assert rows["odd"][0] == "unsupported"
    assert "powers of two" in rows["odd"][1]
    assert "one here is 12" in rows["odd"][1]
    assert rows["even"][0] == "passed"
