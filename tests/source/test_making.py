"""Inputs that nobody gave: fitted where the model holds statistics of its training data, in whichever form it comes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import trained
from samples import Sample, converted

from converters.reference import fitting

pytestmark = pytest.mark.tensorflow

Make = Callable[..., Sample]


def standardised(make_sample: Make, given_sample: Make, kind: str) -> Sample:
    if kind == "saved_model":
        return given_sample(trained.save_module)
    return make_sample(trained.STANDARDISED, model=f"tiny.py:{kind}")


def inputs_of(sample: Sample) -> np.ndarray[Any, Any]:
    """Golden's, of its first call."""
    return sample.golden.cases["serving_default"][0].inputs["features"]


@pytest.mark.parametrize("kind", ["tf_keras", "keras", "module", "saved_model"])
def test_inputs_have_the_statistics_of_the_model_when_it_holds_some(
    make_sample: Make, given_sample: Make, kind: str
) -> None:
    sample = standardised(make_sample, given_sample, kind)
    assert set(sample.golden.data.values()) == {"fitted"}
    features, model = inputs_of(sample), {}
    exec(trained.STANDARDISED, model)
    standard = (features - model["MEAN"]) / model["DEVIATION"]
    hidden = standard @ model["KERNEL"] / np.sqrt(model["VARIANCE"])
    for values in (standard, hidden):
        distance = np.mean(values.mean(axis=0) ** 2 + (values.std(axis=0) - 1) ** 2)
        assert distance < fitting.MATCHED, (values.mean(axis=0), values.std(axis=0))
    scores = sample.golden.cases["serving_default"][0].outputs["scores"]
    assert len(set(scores.argmax(axis=1))) == 3, "every class is among them"


def test_inputs_are_drawn_when_the_model_holds_no_statistics(make_sample: Make, given_sample: Make) -> None:
    sample = standardised(make_sample, given_sample, "untold")
    assert set(sample.golden.data.values()) == {"drawn"}


def test_inputs_are_drawn_as_the_config_says_when_it_says_something(make_sample: Make) -> None:
    ranges = {"features": {"low": 3, "high": 4}}
    sample = make_sample(trained.STANDARDISED, model="tiny.py:tf_keras", golden={"inputs": ranges})
    assert set(sample.golden.data.values()) == {"drawn"}
    assert 3 <= inputs_of(sample).min() < inputs_of(sample).max() <= 4


def test_fitted_inputs_are_the_same_when_they_are_made_again(make_sample: Make) -> None:
    first, second = (make_sample(trained.STANDARDISED, model=f"{n}.py:tf_keras", name=n) for n in ("a", "b"))
    np.testing.assert_array_equal(inputs_of(first), inputs_of(second))


def accuracy(make_sample: Make, name: str, representative: str | None) -> float:
    """Of the int8 file, on held-back images, calibrated on what a function of the model's module returns."""
    fields = {"representative": f"tiny.py:{representative}"} if representative else {}
    evaluation = {"data": "tiny.py:evaluation", "samples": 360, "max_drop": 1.0}
    sample = make_sample(trained.code(name, epochs=8), evaluation=evaluation, **fields)
    if representative is None:
        assert set(sample.golden.data.values()) == {"drawn" if name == "Rescaling alone" else "fitted"}
    (row,) = converted(sample, "tflite", "int8").check()
    (found,) = [check.figures for check in row.checks if check.name == "metric"]
    return found["metric"]


@pytest.mark.parametrize("name", ["Rescaling, batch norm", "Rescaling alone"])
def test_int8_is_as_right_as_with_real_data_when_the_graph_tells_of_the_data(make_sample: Make, name: str) -> None:
    """The rest of the table is made by `make fitted`."""
    real, made, noise = (accuracy(make_sample, name, given) for given in ("representative", None, "noise"))
    assert real > 0.9
    assert made > real - 0.02
    assert noise < 0.5
