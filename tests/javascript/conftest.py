"""What tests of tensorflow.js's runtimes share."""

import javascript_models
import pytest
from javascript_models import Models
from sharing import Shared

from converters.processes import child


@pytest.fixture(scope="session")
def models(shared: Shared) -> Models:
    """Converted models, made once; nobody may change them."""
    return shared.once("javascript", lambda folder: child.run(javascript_models.write, folder).value)
