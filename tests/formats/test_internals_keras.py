"""What is used of either Keras's inside is there.

Where this fails after an upgrade, `converters/formats/internals_keras.py` is what has to follow it.
"""

import importlib

import pytest

from converters.formats.internals_keras import layers_within
from converters.processes.child import run

pytestmark = pytest.mark.tensorflow


def names_within(library: str) -> list[str]:
    """The layers of a subclassed model that holds some in a list; for a child process."""
    keras = importlib.import_module(library)
    model = keras.Model(name="model")
    model.single = keras.layers.Dense(1, name="single")
    model.several = [keras.layers.Dense(1, name="first"), keras.layers.Dense(1, name="second")]
    return sorted(layer.name for layer in layers_within(model))


@pytest.mark.parametrize("library", ["tf_keras", "keras"])
def test_layers_within_finds_those_in_lists_when_the_model_is_subclassed(library: str) -> None:
    assert run(names_within, library).value == ["first", "model", "second", "single"], "no _flatten_layers"
