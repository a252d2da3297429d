"""A TF Lite graph with its loops written out: their steps one after another, in place of the operator that runs them.

The interpreter keeps of a loop what its last step leaves, and hands out no lists of tensors, which Keras' recurrent layers
carry from step to step. A graph without loops tells all its values. How many steps there are is counted by a run of the loop
as it is.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from converters.targets.tflite import flatbuffer
from converters.targets.tflite.graph import Graph, Operator

Choices: TypeAlias = tuple[tuple[int, int], ...]
"""What a run has come to: the operators' numbers, and of each its steps (of a loop) or the subgraph that it took (of a branch)."""


@dataclass(frozen=True)
class Place:
    """One run of a subgraph: its number, its inputs, and by its tensors those of the graph that hold their values."""

    number: int
    operands: Sequence[int]
    tensors: Mapping[int, int]


def choosing(graph: Graph, done: Sequence[Any]) -> list[Operator]:
    """The loops and branches that are not written out; `done` are those of which nothing more is."""
    raw = graph.model.subgraphs[graph.number].operators or ()
    return [
        operator
        for operator in graph.operators
        if (operator.op == "WHILE" or (operator.op == "IF" and not _keeps_state(graph, operator)))
        and not any(raw[operator.number] is each for each in done)
    ]


def _keeps_state(graph: Graph, operator: Operator) -> bool:
    """Whether running a branch beside itself changes what it computes."""
    inner = [graph.model.subgraphs[number] for number in operator.subgraphs.values()]
    return any(flatbuffer.dtype_name(tensor.type) == "RESOURCE" for each in inner for tensor in each.tensors)


def counting(graph: Graph, loops: Sequence[Operator]) -> tuple[Graph, list[int]]:
    """The graph with one more output for each of these loops, by its tensor: how many steps it has made."""
    model, subgraph = _copy(graph)
    code = flatbuffer.opcode(model, "ADD")
    counters = []
    for loop in loops:
        raw = copy.copy(subgraph.operators[loop.number])
        raw.builtinOptions = copy.copy(raw.builtinOptions)
        condition, body = (
            _own(model, raw.builtinOptions, f"{name}SubgraphIndex", loop.subgraphs[f"{name}SubgraphIndex"])
            for name in ("cond", "body")
        )
        for each in (condition, body):
            each.inputs = [*each.inputs, _integer(model, each, None)]
        made = _integer(model, body, None)
        body.operators = [*(body.operators or ()), _addition(code, body.inputs[-1], _integer(model, body, 1), made)]
        body.outputs = [*body.outputs, made]
        counters.append(_integer(model, subgraph, None))
        raw.inputs = [*raw.inputs, _integer(model, subgraph, 0)]
        raw.outputs = [*raw.outputs, counters[-1]]
        subgraph.operators[loop.number] = raw
    subgraph.outputs = [*subgraph.outputs, *counters]
    return Graph(model, graph.number), counters


def unrolled(graph: Graph, choices: Choices) -> tuple[Graph, list[Place], list[Any]]:
    """The graph with so many steps of these loops written out, and the branches that were taken beside their operators.

    A loop's operator stays for what steps are left. Returned are the subgraphs' runs, and those operators.
    """
    model, subgraph = _copy(graph)
    write = partial(_written, model, subgraph, {})
    chosen, originals = dict(choices), subgraph.operators
    subgraph.operators, places, done = [], [], []
    for operator in graph.operators:
        raw = copy.copy(originals[operator.number]) if operator.number in chosen else originals[operator.number]
        if operator.op == "WHILE" and operator.number in chosen:
            carried = list(operator.inputs)
            condition, body = (operator.subgraphs[f"{name}SubgraphIndex"] for name in ("cond", "body"))
            for _ in range(chosen[operator.number]):
                places.append(write(condition, carried))
                places.append(write(body, carried))
                carried = [places[-1].tensors[int(index)] for index in model.subgraphs[body].outputs]
            raw.inputs = carried
        elif operator.number in chosen:
            places.append(write(chosen[operator.number], operator.inputs[1:]))
        if operator.number in chosen:
            done.append(raw)
        subgraph.operators.append(raw)
    # What nothing reads is told too.
    ends = [place.tensors[int(index)] for place in places for index in model.subgraphs[place.number].outputs]
    subgraph.outputs = [*subgraph.outputs, *ends]
    return Graph(model, graph.number), places, done


def _written(
    model: Any, subgraph: Any, kept: dict[tuple[int, int], int], number: int, operands: Sequence[int]
) -> Place:
    """A run of a subgraph on these tensors, at the end of another one; `kept` are the tensors that its runs have in common."""
    inner = model.subgraphs[number]
    inputs = [int(index) for index in inner.inputs]
    at = dict(zip(inputs, operands, strict=True))
    for index, tensor in enumerate(inner.tensors):
        if index not in at:
            keeps = tensor.isVariable or model.buffers[tensor.buffer].data is not None
            at[index] = kept.setdefault((number, index), len(subgraph.tensors)) if keeps else len(subgraph.tensors)
            if at[index] == len(subgraph.tensors):
                subgraph.tensors.append(tensor)
    for operator in inner.operators or ():
        own = copy.copy(operator)
        own.inputs = [at[int(index)] if index >= 0 else -1 for index in operator.inputs]
        own.outputs = [at[int(index)] for index in operator.outputs]
        subgraph.operators.append(own)
    return Place(number, inputs, at)


def _copy(graph: Graph) -> tuple[Any, Any]:
    model, subgraph = copy.copy(graph.model), copy.copy(graph.model.subgraphs[graph.number])
    model.buffers, model.subgraphs = list(model.buffers), list(model.subgraphs)
    subgraph.tensors, subgraph.operators = list(subgraph.tensors), list(subgraph.operators or ())
    model.subgraphs[graph.number] = subgraph
    return model, subgraph


def _own(model: Any, options: Any, name: str, number: int) -> Any:
    """A copy of a subgraph, which an operator's options name in its place."""
    made = copy.copy(model.subgraphs[number])
    made.tensors = list(made.tensors)
    setattr(options, name, len(model.subgraphs))
    model.subgraphs.append(made)
    return made


def _integer(model: Any, subgraph: Any, value: int | None) -> int:
    """A new scalar tensor, constant where it has a value."""
    from ai_edge_litert import schema_py_generated as schema

    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.shape = b"steps", flatbuffer.dtype_code("INT32"), np.empty(0, np.int32)
    tensor.hasRank = True
    if value is not None:
        tensor.buffer = flatbuffer.buffer(model, np.array(value, np.int32))
    subgraph.tensors.append(tensor)
    return len(subgraph.tensors) - 1


def _addition(code: int, one: int, other: int, total: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    operator = flatbuffer.operator(code, [one, other], [total])
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    return operator
