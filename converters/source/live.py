"""The live model: an object in this process whose endpoints can be called and exported.

Everything here runs in a child process that has TensorFlow loaded.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from converters.contract.errors import BadInput, FanoutError, raised
from converters.contract.values import Signature, SourceKind, Tensors, TensorSpec
from converters.formats import flat, specs, variables
from converters.formats.flat import Flat
from converters.formats.variables import Variables
from converters.reference import coverage, dataflow, hints
from converters.reference.coverage import Coverage
from converters.reference.drawing import Hint
from converters.source import state
from converters.source.state import State

_EXPORTABLE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
"""What TensorFlow accepts as the name of a placeholder, and so of a signature's input (ops.py, _VALID_OP_NAME_REGEX)."""


class Endpoint:
    """One signature of a live model: `call` takes and returns tensors by name. What it keeps is an attribute of `owner`.

    `signature`, `concrete`, its graph, and `state`, what its calls may write, are there once it is traced.
    """

    signature: Signature
    concrete: Any
    state: State

    def __init__(
        self,
        key: str,
        inputs: dict[str, TensorSpec],
        call: Callable[[dict[str, Any]], dict[str, Any]],
        owner: Any = None,
    ) -> None:
        self.key, self.inputs, self.call, self.owner = key, inputs, call, owner

    def trace(self) -> None:
        """Make the graph, whose placeholders carry the names the exported signature will have. Raises BadInput."""
        import tensorflow as tf

        where, names = f"signatures.{self.key}", list(self.inputs)
        for name in names:
            if not _EXPORTABLE.fullmatch(name):
                raise BadInput(
                    f"{where}: TensorFlow cannot export an input named {name!r}; use letters, digits, "
                    "'_', '.', '-' and '/', starting with a letter or digit"
                )
        arguments = [tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in self.inputs.items()]
        try:
            function = tf.function(lambda *tensors: self.call(dict(zip(names, tensors, strict=True))))
            self.concrete = function.get_concrete_function(*arguments)
        except FanoutError:
            raise
        except Exception as error:  # tracing runs the model's own code
            raise BadInput(f"{where}: tracing it failed: {raised(error, 400)}") from error
        outputs = self.concrete.structured_outputs
        for name, output in outputs.items():
            if not isinstance(output, tf.Tensor | tf.TensorSpec):
                raise BadInput(
                    f"{where}: output {name!r} is {type(output).__name__.removesuffix('Spec')}; "
                    "return dense tensors, such as tensor.to_tensor() or tf.sparse.to_dense(tensor)"
                )
        described = {name: specs.of_tensor(output) for name, output in sorted(outputs.items())}
        self.signature = Signature(inputs=self.inputs, outputs=described)
        scope = dataflow.root(self.concrete.graph.as_graph_def())
        self.state = state.of_concrete(self.concrete, scope, self.owner)

    def hints(self) -> dict[str, Hint]:
        """What the graph says of the inputs."""
        return hints.of_concrete(self.concrete, self.inputs)

    def flat(self) -> Flat:
        """Its graph, flattened. Raises whatever TensorFlow does."""
        tensors = (tensor.name for tensor in self.concrete.inputs)
        return flat.of_concrete(self.concrete, dict(zip(self.inputs, tensors, strict=False)))

    def answer(self, inputs: Tensors, what: str = "golden outputs") -> Tensors:
        """What it returns, and all it writes is put back. Fails as BadInput: the inputs come from the config, or need one."""
        with self.state.kept():
            return self.leave(inputs, what)

    def leave(self, inputs: Tensors, what: str) -> Tensors:
        """As `answer`, but what it writes stays."""
        import tensorflow as tf

        try:
            tensors = {name: tf.constant(value, self.inputs[name].dtype) for name, value in inputs.items()}
            return {name: np.asarray(value) for name, value in self.call(tensors).items()}
        except Exception as error:  # the model's own code runs here
            shapes = {name: list(value.shape) for name, value in inputs.items()}
            raise BadInput(
                f"signatures.{self.key}: the live model cannot compute {what} for inputs of shape {shapes}: "
                f"{raised(error, 400)}"
            ) from error


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

    @property
    def signatures(self) -> dict[str, Signature]:
        """Of every endpoint, once all are traced."""
        return {key: endpoint.signature for key, endpoint in self.endpoints.items()}

    def weights(self) -> Variables:
        """The values of its variables, and of those that only its endpoints know."""
        return variables.of_live([*self.variables, *self.captured()])

    def captured(self) -> list[Any]:
        """The tf.Variables that endpoints use and the model does not list: Keras 3 lists neither a plain one nor seeds."""
        handles = {id(variable.handle) for variable in self.variables}
        used = {id(v.handle): v for endpoint in self.endpoints.values() for v in endpoint.concrete.variables}
        # The order of a function's variables changes from process to process, and with it the export.
        return sorted((v for handle, v in used.items() if handle not in handles), key=lambda v: v.name)

    def graphs(self) -> list[Any]:
        """What computes the signatures, as GraphDefs, once they are traced."""
        return [endpoint.concrete.graph.as_graph_def() for endpoint in self.endpoints.values()]

    def function(self, endpoint: Endpoint) -> Any:
        """What computes an endpoint, as a tf.ConcreteFunction. Raises what loading it raises."""
        return endpoint.concrete

    def reach(self, endpoint: Endpoint, inputs: Tensors) -> Coverage:
        """Which weights change an output of an endpoint for these inputs."""
        with endpoint.state.kept():
            batched = endpoint.signature.dynamic_batch
            return coverage.measure(endpoint.call, self.variables, inputs, batched=batched)
