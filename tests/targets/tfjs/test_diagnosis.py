"""Sentences made of what tensorflow.js and its converter say."""

import pytest

from converters.targets.tfjs import diagnosis


def test_of_ops_names_ops_with_their_nodes() -> None:
    error = ValueError("Unsupported Ops in the model before optimization\nStringUpper, MatrixInverse")
    sentence = diagnosis.of_ops(error, {"MatrixInverse": "block/inv"})
    assert str(sentence).startswith("tensorflow.js has no op MatrixInverse (node block/inv), StringUpper;")
    assert diagnosis.of_ops(ValueError("something else"), {}) is None


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Unknown layer: Foo. This may be due to one of the following reasons: ...", "Unknown layer: Foo"),
        ("GRUCell does not support reset_after parameter set to true.", "reset_after"),
        ("Cannot read properties of undefined (reading 'shape')", None),
        ("Provided weight data has no target variable: dense/kernel", None),
    ],
)
def test_of_layers_model_repeats_only_what_says_that_something_is_lacking(message: str, said: str | None) -> None:
    sentence = diagnosis.of_layers_model(message)
    assert (said is None) == (sentence is None)
    assert said is None or said in str(sentence)
