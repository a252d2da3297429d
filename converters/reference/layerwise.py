"""Where two programs that should compute the same part: the first layer whose output differs."""

from converters.contract.settings import Tolerance
from converters.contract.values import Tensors
from converters.formats.dtypes import is_inexact
from converters.reference.measure import Array, measure


def first_apart(expected: Tensors, found: Tensors, tolerance: Tolerance) -> str | None:
    """The first of the outputs, in the order of `expected`, that both have and that is another in `found`."""
    for name, reference in expected.items():
        if name in found and _apart(reference, found[name], tolerance):
            return name
    return None


def _apart(reference: Array, got: Array, tolerance: Tolerance) -> bool:
    if reference.shape != got.shape:
        return True
    limit = tolerance.error if is_inexact(reference) else tolerance.mismatch
    return not measure(reference, got) <= limit  # NaN is apart
