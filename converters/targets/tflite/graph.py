"""A subgraph of a TF Lite file as values: operators with their options, tensors with their constants and grids.

What quantizing only puts between operators (QUANTIZE, DEQUANTIZE) is seen through: `Graph.origin` is the tensor whose value
another one holds in a different type.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from converters.contract.errors import Damaged
from converters.formats import protos
from converters.targets.tflite import flatbuffer, tensors
from converters.targets.tflite.tensors import Array, Tensor, indices

CASTS = frozenset({"QUANTIZE", "DEQUANTIZE"})


@dataclass(frozen=True)
class Operator:
    """One operator; absent optional inputs are -1. `options` hold the built-in ones by name, or a custom op's bytes."""

    number: int
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]

    @property
    def subgraphs(self) -> dict[str, int]:
        """The subgraphs that control flow runs, by the option that names each."""
        return {name: value for name, value in self.options.items() if name.lower().endswith("subgraphindex")}


class Graph:
    """One subgraph of a model.

    Args:
        model: the file's ModelT.
        number: the subgraph's.
        given: the operands with which control flow runs it, by position, which are constants of the subgraph that has them.

    Raises:
        Damaged: there is no such subgraph.
    """

    def __init__(self, model: Any, number: int, given: Mapping[int, Tensor] | None = None) -> None:
        if not 0 <= number < len(model.subgraphs):
            raise Damaged(f"an operator or signature runs subgraph {number} of {len(model.subgraphs)}")
        self.model, self.number = model, number
        self._subgraph = model.subgraphs[number]
        every = indices(self._subgraph.inputs)
        self._given = {every[position]: tensor for position, tensor in (given or {}).items()}
        self._fed = frozenset(every)
        self.inputs = tuple(index for index in every if index not in self._given)
        self.outputs = tuple(index for index in indices(self._subgraph.outputs) if index not in self._given)

    @property
    def name(self) -> str:
        """What the converter calls it, which is the function's name."""
        return (self._subgraph.name or b"").decode(errors="replace")

    @cached_property
    def tensors(self) -> list[Tensor]:
        """All of them. Raises Damaged where a buffer does not hold what its tensor says."""
        return [tensors.read(self.model, self._subgraph, tensor) for tensor in self._subgraph.tensors or ()]

    @cached_property
    def operators(self) -> list[Operator]:
        """All of them, in the order in which they run."""
        names = flatbuffer.op_names(self.model)
        return [
            Operator(
                number, names[o.opcodeIndex], indices(o.inputs), indices(o.outputs), _options(names[o.opcodeIndex], o)
            )
            for number, o in enumerate(self._subgraph.operators or ())
        ]

    @cached_property
    def layers(self) -> list[Operator]:
        """The operators that are no casts."""
        return [operator for operator in self.operators if not self.is_cast(operator)]

    def is_cast(self, operator: Operator) -> bool:
        """Whether it only changes the type in which a value is held."""
        return operator.op in CASTS

    def origin(self, index: int) -> int:
        """The tensor whose value this one holds: the tensor itself, or what it was cast from."""
        seen = {index}
        while (made := self._makers.get(index)) is not None and self.is_cast(made) and made.inputs[0] not in seen:
            index = made.inputs[0]
            seen.add(index)
        return index

    @cached_property
    def _makers(self) -> dict[int, Operator]:
        return {index: operator for operator in self.operators for index in operator.outputs}

    def constant(self, index: int) -> Tensor | None:
        """The stored tensor behind this one, where it is a constant."""
        origin = self.origin(index)
        tensor = self._given.get(origin, self.tensors[origin])
        if tensor.stored is None and origin not in self._makers and origin not in self._fed and not tensor.variable:
            # It has no elements, since nothing makes it.
            tensor = replace(
                tensor, stored=tensors.elements(tensor.name, tensor.dtype, tensor.shape, np.empty(0, np.uint8))
            )
        return tensor if tensor.stored is not None else None

    def constants_given(self) -> dict[int, Array]:
        """Those that the subgraph is given, as the tensors that are given them hold them."""
        return {
            index: tensor.stored if tensor.dtype == self.tensors[index].dtype else tensor.real.astype(np.float32)
            for index, tensor in self._given.items()
            if tensor.stored is not None
        }

    def flow(self, operator: Operator) -> tuple[tuple[int, ...], tuple[int, ...], list["Graph"]]:
        """Inputs and outputs of an operator, and the subgraphs that it runs.

        A constant that a loop or branch is given, and that no iteration changes, is theirs and left out: whether a constant is
        inside of a loop or outside is the converter's choice.
        """
        skipped = 1 if operator.op == "IF" else 0
        inner = list(operator.subgraphs.values())
        if operator.op not in ("IF", "WHILE"):
            return operator.inputs, operator.outputs, [Graph(self.model, number) for number in inner]
        body = Graph(self.model, operator.subgraphs.get("bodySubgraphIndex", inner[0]))
        given = {
            position: tensor
            for position, index in enumerate(operator.inputs[skipped:])
            if (tensor := self.constant(index)) is not None
            and (operator.op == "IF" or body.outputs[position : position + 1] == body.inputs[position : position + 1])
        }
        inputs = tuple(index for n, index in enumerate(operator.inputs) if n - skipped not in given)
        outputs = (
            operator.outputs
            if operator.op == "IF"
            else tuple(index for n, index in enumerate(operator.outputs) if n not in given)
        )
        return inputs, outputs, [Graph(self.model, number, given) for number in inner]

    def value(self, known: Mapping[int, Array], index: int) -> Array | None:
        """A tensor's value: what is known of it while the graph runs, or the elements that are stored for it."""
        if index in known:
            return known[index]
        constant = self.constant(index)
        return constant.stored if constant is not None else None

    def handed(self, operator: Operator) -> Iterator[tuple[Tensor, "Graph", Tensor]]:
        """Tensors of the graph beside those of the subgraphs that an operator runs which are given their bytes, or give them."""
        skipped = 1 if operator.op == "IF" else 0
        for number in operator.subgraphs.values():
            inner = Graph(self.model, number)
            ends = list(zip(operator.inputs[skipped:], inner.inputs, strict=False))
            if len(inner.outputs) == len(operator.outputs) and operator.subgraphs.get("condSubgraphIndex") != number:
                ends += zip(operator.outputs, inner.outputs, strict=True)
            yield from ((self.tensors[outer], inner, inner.tensors[index]) for outer, index in ends)

    def casts_to(self, index: int) -> Iterator[Operator]:
        """The casts that make this tensor of its origin."""
        while (made := self._makers.get(index)) is not None and self.is_cast(made):
            yield made
            index = made.inputs[0]


def _options(name: str, operator: Any) -> dict[str, Any]:
    held = dict(vars(operator.builtinOptions)) if operator.builtinOptions else {}
    held |= vars(operator.builtinOptions2) if getattr(operator, "builtinOptions2", None) else {}
    custom = operator.customOptions
    if custom is not None and len(custom):
        held["customOptions"] = bytes(bytearray(custom))
        if name.startswith(flatbuffer.FLEX):
            held["customOptions"] = select_op(held["customOptions"])
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in held.items()}


def select_op(options: bytes) -> Any:
    """The NodeDef of a select TF op, whose attributes the converter writes in no order. Raises Damaged."""
    from flatbuffers import flexbuffers

    try:
        node = flexbuffers.GetRoot(bytearray(options)).AsVector[1].AsStringBytes
        return protos.load("tensorflow.core.framework.node_def_pb2").NodeDef.FromString(bytes(node))
    except Exception as error:  # damaged ones lead the reading code anywhere
        raise Damaged(f"a select TF op's definition cannot be read: {type(error).__name__}: {error}") from error
