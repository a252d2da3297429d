"""The values that a float graph's tensors have while it runs, in the loops and branches that it runs too."""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from converters.targets.tflite import apart, flatbuffer
from converters.targets.tflite.graph import Graph
from converters.targets.tflite.matching import said
from converters.targets.tflite.tensors import Array
from converters.targets.tflite.unrolled import Choices, Place, choosing, counting, unrolled

STEPS = 64
"""Steps of one call's loops that are looked into, all loops of a depth together get this many each; the first ones."""
BYTES = 2**27
"""Of values that a loop's steps may have in one call."""
DEPTH = 3
"""How deep loops and branches may lie in others."""

THREADS = min(4, os.cpu_count() or 1)
"""Of an interpreter that looks into a graph: one process does so for all variants, whose kernels are not the fastest."""

Known: TypeAlias = Mapping[int, Array]
"""The values of a graph's tensors by their numbers."""


class Running:
    """A float graph that tells what it computes.

    `partly` says of which loops not every step was seen in the calls until now, and `ran` which subgraphs were run.

    Raises:
        Damaged: it cannot be run, as soon as it is.
    """

    def __init__(self, graph: Graph) -> None:
        self.partly: dict[int, str] = {}
        self.ran: set[int] = set()
        every = Place(graph.number, graph.inputs, {index: index for index in range(len(graph.tensors))})
        self._first = _Stage(graph, [every], [], 0)

    def values(self, inputs: Known) -> list[tuple[int, Known]]:
        """Those of one call's tensors: the graph's own, and a subgraph's as often as it is run, each with its number."""
        stage = self._first
        while True:
            known, choices, cut = stage.run(inputs)
            self.partly.update(cut)
            if not choices:
                self.ran.update(place.number for place in stage.places)
                return [(place.number, stage.of(place, known)) for place in stage.places]
            stage = stage.after(choices)


class _Stage:
    """The graph with some of its loops and branches written out."""

    def __init__(self, graph: Graph, places: Sequence[Place], done: Sequence[Any], depth: int) -> None:
        self.graph, self.places, self._done, self._depth = graph, places, done, depth
        self._choosing = choosing(graph, done)
        self._loops = [operator for operator in self._choosing if operator.op == "WHILE"]
        self._after: dict[Choices, _Stage] = {}

    def after(self, choices: Choices) -> "_Stage":
        """With these written out too."""
        if choices not in self._after:
            graph, places, done = unrolled(self.graph, choices)
            self._after[choices] = _Stage(graph, [*self.places, *places], [*self._done, *done], self._depth + 1)
        return self._after[choices]

    def of(self, place: Place, known: Known) -> Known:
        """What is known of a subgraph's tensors, and of its operands that are constants."""
        operands = {index: self.graph.value(known, place.tensors[index]) for index in place.operands}
        made = {index: known[at] for index, at in place.tensors.items() if at in known}
        return {**{index: value for index, value in operands.items() if value is not None}, **made}

    @cached_property
    def _opened(self) -> tuple[apart.Apart, apart.Run, list[int]]:
        interpreter, options = reference(self.graph.model)
        graph, counters = counting(self.graph, self._loops) if self._loops else (self.graph, [])
        file = apart.told(graph)
        return file, apart.opened(file, interpreter, **options), counters

    def run(self, inputs: Known) -> tuple[Known, Choices, dict[int, str]]:
        """The values of all tensors, what is to be written out for these inputs, and of which subgraphs not all is."""
        file, run, counters = self._opened
        made = run(inputs[index] for index in self.graph.inputs)
        known = {**inputs, **dict(zip(file.outputs, made, strict=True))}
        steps = {loop.number: int(known[at]) for loop, at in zip(self._loops, counters, strict=True)}
        batch = max((len(value) for value in inputs.values() if value.ndim), default=1)
        found: list[tuple[int, int]] = []
        cut: dict[int, str] = {}
        for operator in self._choosing:
            if operator.op == "IF":
                condition = self.graph.value(known, operator.inputs[0])
                taken = condition is not None and bool(np.all(condition))
                choice = operator.subgraphs["thenSubgraphIndex" if taken else "elseSubgraphIndex"]
            else:
                body = operator.subgraphs["bodySubgraphIndex"]
                most = self._most(body, batch)
                choice = min(steps[operator.number], most)
                if choice < steps[operator.number]:
                    why = f"{said(self.graph, operator)} was looked into for {choice} of its {steps[operator.number]} steps"
                    cut |= dict.fromkeys(flatbuffer.reached(self.graph.model, body), why)
            found.append((operator.number, choice))
        return known, tuple(found), cut

    def _most(self, body: int, batch: int) -> int:
        """Steps of a loop to write out."""
        if self._depth >= DEPTH:
            return 0
        tensors = self.graph.model.subgraphs[body].tensors
        size = sum(
            4 * batch * int(np.prod(np.maximum(tensor.shape, 1))) for tensor in tensors if tensor.shape is not None
        )
        alike = sum(loop.subgraphs["bodySubgraphIndex"] == body for loop in self._loops)
        return max(1, min(STEPS, BYTES // max(size, 1)) // alike)


def reference(model: Any) -> tuple[type[Any], dict[str, Any]]:
    """The interpreter that runs the float file, with its options: TensorFlow's where it has select TF ops."""
    flex = any(name.startswith(flatbuffer.FLEX) for name in flatbuffer.op_names(model))
    return (flatbuffer.interpreter(model), {"num_threads": THREADS}) if flex else plain()


def plain() -> tuple[type[Any], dict[str, Any]]:
    """LiteRT's interpreter without delegates, whose kernels are others than those that files are deployed with."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return Interpreter, {"experimental_op_resolver_type": resolver, "num_threads": THREADS}
