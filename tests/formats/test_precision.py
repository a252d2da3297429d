"""A reference of half precision allows for as much, and for nothing where nothing is computed."""

import pytest

from converters.formats.precision import allowing
from converters.targets.hdf5 import target as hdf5
from converters.targets.tflite import target as tflite


@pytest.mark.parametrize(("precision", "error"), [("float32", 1e-4), ("float16", 1e-2), ("bfloat16", 5e-2)])
def test_allowing_widens_to_what_the_model_computes_in(precision: str, error: float) -> None:
    assert allowing(tflite.TARGET.variant("float32").tolerance, precision).error == error


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_allowing_widens_nothing_that_is_wide_enough_or_exact(precision: str) -> None:
    assert allowing(tflite.TARGET.variant("int8").tolerance, precision) == tflite.TARGET.variant("int8").tolerance
    assert allowing(hdf5.TARGET.variant("weights").tolerance, precision) == hdf5.TARGET.variant("weights").tolerance
