"""The live model: an object in this process whose endpoints can be called and exported.

Everything here runs in a child process that has TensorFlow loaded.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.contract.errors import raised
from converters.contract.values import KERAS, Signature, SourceKind, Tensors, TensorSpec
from converters.formats import variables
from converters.formats.variables import Variables
from converters.reference import coverage
from converters.reference.coverage import Coverage
from converters.reference.drawing import Hint


@dataclass
class Endpoint:
    """One signature of a live model: `call` takes and returns tensors by name."""

    key: str
    inputs: dict[str, TensorSpec]
    call: Callable[[dict[str, Any]], dict[str, Any]]
    signature: Signature | None = None
    """Known beforehand for a SavedModel; for others it is known once the endpoint has been traced."""
    concrete: Any = None
    hints: Callable[[], dict[str, Hint]] = dict
    """What the graph says of the inputs; for others than a SavedModel's it is known once traced, likewise."""


def signature_of(endpoint: Endpoint) -> Signature:
    assert endpoint.signature is not None, "every endpoint is traced before it is used"
    return endpoint.signature


@dataclass
class Live:
    """A model with its weights, and its endpoints by signature key."""

    kind: SourceKind
    model: Any
    endpoints: dict[str, Endpoint]
    keras_signature: str | None = None
    builder: Path | None = None
    variables: list[Any] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    differentiable: Callable[[str], tuple[Callable[[dict[str, Any]], dict[str, Any]], list[Any]]] | None = None
    """For a signature key, a call that can be differentiated and its variables, where an endpoint's own cannot."""

    @property
    def is_keras(self) -> bool:
        """Whether it is a model of either Keras."""
        return self.kind in KERAS

    @property
    def signatures(self) -> dict[str, Signature]:
        """Of every endpoint, once all are traced."""
        return {key: signature_of(endpoint) for key, endpoint in self.endpoints.items()}

    def weights(self) -> Variables:
        """The values of its variables."""
        of_saved_model = self.kind == "saved_model"
        return variables.of_saved_model(Path(self.model)) if of_saved_model else variables.of_live(self.variables)

    def reach(self, endpoint: Endpoint, inputs: Tensors) -> Coverage:
        """Which weights change an output of an endpoint for these inputs."""
        if self.differentiable is None:
            return coverage.measure(endpoint.call, self.variables, inputs)
        try:
            call, weights = self.differentiable(endpoint.key)
        except Exception as error:  # what a session runs, TF 2's loader may refuse in many ways
            return Coverage(problem=f"it cannot be loaded to be differentiated: {raised(error, 200)}")
        return coverage.measure(call, weights, inputs)
