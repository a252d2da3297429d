"""An endpoint's graph, and what it returns."""

import functools
import re
from pathlib import Path

import numpy as np

from converters.contract.errors import BadInput, FanoutError, raised
from converters.contract.values import Signature, Tensors
from converters.formats import precision, saved_model, specs
from converters.reference import hints
from converters.source.live import Endpoint, Live

_EXPORTABLE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
"""What TensorFlow accepts as the name of a placeholder, and so of a signature's input (ops.py, _VALID_OP_NAME_REGEX)."""


def trace(endpoint: Endpoint) -> None:
    """Make the endpoint's graph, whose placeholders carry the names the exported signature will have."""
    import tensorflow as tf

    if endpoint.signature is not None:
        return
    names = list(endpoint.inputs)
    for name in names:
        if not _EXPORTABLE.fullmatch(name):
            raise BadInput(
                f"signatures.{endpoint.key}: TensorFlow cannot export an input named {name!r}; use letters, digits, "
                "'_', '.', '-' and '/', starting with a letter or digit"
            )
    arguments = [tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in endpoint.inputs.items()]
    try:
        function = tf.function(lambda *tensors: endpoint.call(dict(zip(names, tensors, strict=True))))
        endpoint.concrete = function.get_concrete_function(*arguments)
    except FanoutError:
        raise
    except Exception as error:  # tracing runs the model's own code
        raise BadInput(f"signatures.{endpoint.key}: tracing it failed: {raised(error, 400)}") from error
    endpoint.hints = lambda: hints.of_concrete(endpoint.concrete, endpoint.inputs)
    answer = endpoint.concrete.structured_outputs
    for name, output in answer.items():
        if not isinstance(output, tf.Tensor | tf.TensorSpec):
            raise BadInput(
                f"signatures.{endpoint.key}: output {name!r} is {type(output).__name__.removesuffix('Spec')}; "
                "return dense tensors, such as tensor.to_tensor() or tf.sparse.to_dense(tensor)"
            )
    endpoint.signature = Signature(
        inputs=endpoint.inputs,
        outputs={name: specs.of_tensor(output) for name, output in sorted(answer.items())},
    )


def precision_of(live: Live) -> str:
    """The narrowest dtype that any of the signatures computes in."""
    if live.kind == "saved_model":
        return precision.of_graph(saved_model.read(Path(live.model)).graph_def)
    graphs = (endpoint.concrete.graph.as_graph_def() for endpoint in live.endpoints.values())
    return functools.reduce(precision.narrower, map(precision.of_graph, graphs))


def answer(endpoint: Endpoint, inputs: Tensors, what: str = "golden outputs") -> Tensors:
    """What the live model returns. Fails as bad input: the inputs come from the config, or need one."""
    import tensorflow as tf

    try:
        tensors = {name: tf.constant(value, endpoint.inputs[name].dtype) for name, value in inputs.items()}
        return {name: np.asarray(value) for name, value in endpoint.call(tensors).items()}
    except Exception as error:  # the model's own code runs here
        shapes = {name: list(value.shape) for name, value in inputs.items()}
        raise BadInput(
            f"signatures.{endpoint.key}: the live model cannot compute {what} for inputs of shape {shapes}: "
            f"{raised(error, 400)}"
        ) from error
