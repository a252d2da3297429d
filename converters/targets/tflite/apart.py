"""Operators of a TF Lite file taken apart: a file in which each has inputs of its own, and all outputs are the file's.

So each can be given what the float graph computes there, and what it adds is its own. A file may also be made to tell all
values of a subgraph.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from converters.contract.errors import Damaged, said
from converters.targets.tflite import flatbuffer
from converters.targets.tflite.graph import Graph, Operator
from converters.targets.tflite.tensors import Array

T = TypeVar("T")
Run: TypeAlias = Callable[[Iterable[Array]], list[Array]]

_KEY = "apart"
_NO_VALUE = frozenset({"RESOURCE", "VARIANT"})


@dataclass(frozen=True)
class Apart:
    """The file, the number of its subgraph, and which tensor each input and output is: (place of the operator, tensor), tensor."""

    content: bytes
    number: int
    inputs: Sequence[tuple[int, int]]
    outputs: Sequence[int]


def has_values(graph: Graph, operator: Operator) -> bool:
    """Whether an operator can be taken apart: it runs no other subgraph, and its tensors are numbers or strings."""
    dtypes = {graph.tensors[index].dtype for index in (*operator.inputs, *operator.outputs) if index >= 0}
    return bool(operator.outputs) and not operator.subgraphs and not dtypes & _NO_VALUE


def apart(graph: Graph, operators: Sequence[Operator], constants: Mapping[tuple[int, int], Array]) -> Apart:
    """Those of the graph's operators, with other values for some of their constants, by place of operator and input."""
    model, subgraph = _copy(graph)
    made: list[Any] = []
    casts: set[int] = set()
    inputs: list[tuple[int, int]] = []
    places: list[int] = []
    originals = subgraph.operators
    for place, operator in enumerate(operators):
        own = copy.copy(originals[operator.number])
        own.inputs = list(operator.inputs)
        for position, index in enumerate(operator.inputs):
            if index < 0 or graph.tensors[index].variable:
                continue
            changed = constants.get((place, position))
            if changed is None and graph.constant(index) is not None:
                missing = [cast for cast in graph.casts_to(index) if cast.number not in casts]
                casts.update(cast.number for cast in missing)
                made += [originals[cast.number] for cast in reversed(missing)]
                continue
            given = copy.copy(subgraph.tensors[index])
            given.buffer, given.name = 0, f"{place}/{position}".encode()
            own.inputs[position] = len(subgraph.tensors)
            if changed is None:
                inputs.append((place, index))
                places.append(len(subgraph.tensors))
            else:
                _store(model, given, changed)
            subgraph.tensors.append(given)
        made.append(own)
    outputs = [index for operator in operators for index in operator.outputs]
    subgraph.operators = made
    model.subgraphs = [subgraph]
    _expose(model, subgraph, 0, places, outputs)
    return Apart(flatbuffer.pack(model), 0, inputs, outputs)


def told(graph: Graph) -> Apart:
    """The graph whole, but telling every value that its operators make for others."""
    model, subgraph = _copy(graph)
    read = {index for operator in graph.operators for index in operator.inputs} | set(graph.outputs)
    made = [index for operator in graph.operators for index in operator.outputs if index in read]
    outputs = [index for index in made if graph.tensors[index].dtype not in _NO_VALUE]
    model.subgraphs = [*model.subgraphs]
    model.subgraphs[graph.number] = subgraph
    _expose(model, subgraph, graph.number, graph.inputs, outputs)
    return Apart(flatbuffer.pack(model), graph.number, [(0, index) for index in graph.inputs], outputs)


def opened(file: Apart, interpreter: type[Any], **options: Any) -> Run:
    """A function of the file's inputs that returns its outputs, each in their order. Both raise Damaged."""
    runs = _said(lambda: interpreter(model_content=file.content, **options))

    def run(feeds: Iterable[Array]) -> list[Array]:
        runs.get_signature_runner(_KEY)(**{f"i{number}": value for number, value in enumerate(feeds)})
        made = [_value(runs, index, file.number) for index in file.outputs]
        runs.reset_all_variables()
        return made

    return lambda feeds: _said(lambda: run(feeds))


def _value(runs: Any, index: int, number: int) -> Array:
    try:
        return np.array(runs.get_tensor(index, number))
    except ValueError:  # the interpreter has none for a tensor without elements
        shape = next(each["shape"] for each in runs.get_tensor_details(number) if each["index"] == index)
        if np.all(shape):
            raise
        return np.empty(shape)


def _said(call: Callable[[], T]) -> T:
    try:
        return call()
    except (ValueError, RuntimeError, TypeError) as error:
        raise Damaged(f"operators of the file cannot be run apart: {said(error)}") from error


def _copy(graph: Graph) -> tuple[Any, Any]:
    """The model and the subgraph, to be changed; their tensors and buffers are the copy's own."""
    model, subgraph = copy.copy(graph.model), copy.copy(graph.model.subgraphs[graph.number])
    model.buffers = list(model.buffers)
    model.metadata = model.metadataBuffer = None
    subgraph.tensors = [copy.copy(tensor) for tensor in subgraph.tensors]
    for index, value in graph.constants_given().items():
        _store(model, subgraph.tensors[index], value)
    return model, subgraph


def _store(model: Any, tensor: Any, value: Array) -> None:
    tensor.buffer, dtype = flatbuffer.buffer(model, value), flatbuffer.dtype_code(value.dtype.name.upper())
    if tensor.type != dtype:
        tensor.type, tensor.quantization = dtype, None


def _expose(model: Any, subgraph: Any, number: int, inputs: Sequence[int], outputs: Sequence[int]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    subgraph.inputs, subgraph.outputs = list(inputs), list(outputs)
    definition = schema.SignatureDefT()
    definition.signatureKey, definition.subgraphIndex = _KEY.encode(), number
    definition.inputs, definition.outputs = [], []
    for place, index in enumerate(inputs):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = f"i{place}".encode(), index
        definition.inputs.append(entry)
    model.signatureDefs = [definition]
