"""Which operator and tensor of a lossy TF Lite file is which of the float32 file of the same model.

Both are written by one converter, which quantizes a graph after it has optimized it, so that they differ by casts, by types
and by constants alone. Operators are matched in their order, and tensors by the operators that make them, from a signature's
inputs on; what does not agree is a problem, said in a sentence.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from converters.contract.errors import Damaged
from converters.targets.tflite import flatbuffer
from converters.targets.tflite.graph import Graph, Operator

_OF_KERNELS = frozenset({"asymmetricQuantizeInputs", "quantizedBiasType", "potScaleInt16", "weightsFormat"})
"""Options that say how a quantized kernel computes, and not what."""


@dataclass
class Pair:
    """A subgraph of the deployed file and the float one's, with the operators and tensors (the deployed one's first) that match."""

    deployed: Graph
    reference: Graph
    layers: list[tuple[Operator, Operator]] = field(default_factory=list)
    tensors: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def pairs(deployed: Any, reference: Any, key: str) -> list[Pair]:
    """The signature's subgraphs, and those that their control flow runs, each once.

    Raises:
        Damaged: one of the files has no such signature, or names a subgraph that it lacks.
    """
    ours, theirs = _definition(deployed, key), _definition(reference, key)
    ends = {
        side: [
            (_ends(getattr(ours, side))[name], _ends(getattr(theirs, side))[name])
            for name in _ends(getattr(theirs, side))
        ]
        for side in ("inputs", "outputs")
        if _same_names(ours, theirs, side, key)
    }
    found = [_matched(Graph(deployed, ours.subgraphIndex), Graph(reference, theirs.subgraphIndex), **ends)]
    seen = {(found[0].deployed.number, found[0].reference.number)}
    for pair in found:
        for ours, theirs in pair.layers:
            inner = zip(pair.deployed.flow(ours)[2], pair.reference.flow(theirs)[2], strict=False)
            for one, other in inner:
                if (one.number, other.number) not in seen:
                    seen.add((one.number, other.number))
                    found.append(_of_subgraphs(one, other))
    return found


def _definition(model: Any, key: str) -> Any:
    try:
        return flatbuffer.definitions(model)[key]
    except KeyError:
        raise Damaged(f"there is no signature {key!r} in the file") from None


def _ends(entries: Any) -> dict[str, int]:
    return {entry.name.decode(): int(entry.tensorIndex) for entry in entries or ()}


def _same_names(ours: Any, theirs: Any, side: str, key: str) -> bool:
    names = [sorted(_ends(getattr(each, side))) for each in (ours, theirs)]
    if names[0] != names[1]:
        raise Damaged(f"{side} of {key!r} are named {', '.join(names[0])}, and the model's {', '.join(names[1])}")
    return True


def _of_subgraphs(deployed: Graph, reference: Graph) -> Pair:
    if (len(deployed.inputs), len(deployed.outputs)) != (len(reference.inputs), len(reference.outputs)):
        raise Damaged(f"subgraph {deployed.number} has other numbers of inputs and outputs than the model's")
    return _matched(
        deployed,
        reference,
        list(zip(deployed.inputs, reference.inputs, strict=True)),
        list(zip(deployed.outputs, reference.outputs, strict=True)),
    )


def _matched(deployed: Graph, reference: Graph, inputs: list[tuple[int, int]], outputs: list[tuple[int, int]]) -> Pair:
    pair = Pair(deployed, reference)
    pair.tensors.update(inputs)
    kinds = [[layer.op for layer in graph.layers] for graph in (deployed, reference)]
    if kinds[0] != kinds[1]:
        pair.problems.append(_other_kinds(deployed, reference))
        return pair
    pair.layers = list(zip(deployed.layers, reference.layers, strict=True))
    for ours, theirs in pair.layers:
        pair.tensors.update(zip(deployed.flow(ours)[1], reference.flow(theirs)[1], strict=False))
        pair.problems += [f"{said(deployed, ours)} {what}" for what in _differences(pair, ours, theirs)]
    for ours_end, theirs_end in outputs:
        if _constant(pair, ours_end, theirs_end) is False or not same(pair, ours_end, theirs_end):
            pair.problems.append(f"the output {deployed.tensors[ours_end].name!r} is another layer's than the model's")
    return pair


def _other_kinds(deployed: Graph, reference: Graph) -> str:
    for ours, theirs in zip(deployed.layers, reference.layers, strict=False):
        if ours.op != theirs.op:
            return f"{said(deployed, ours)} is in the place of the model's {said(reference, theirs)}"
    return f"it has {len(deployed.layers)} operators, and the model {len(reference.layers)}"


def said(graph: Graph, operator: Operator) -> str:
    """An operator, as a sentence names it."""
    return f"{operator.op} {graph.tensors[operator.outputs[0]].name!r}" if operator.outputs else operator.op


def _differences(pair: Pair, ours: Operator, theirs: Operator) -> Iterator[str]:
    for name in sorted((ours.options.keys() | theirs.options.keys()) - _OF_KERNELS - ours.subgraphs.keys()):
        one, other = ours.options.get(name), theirs.options.get(name)
        if one != other:
            yield f"has {name} {one}, and the model {other}"
    if ours.subgraphs.keys() != theirs.subgraphs.keys():
        yield "runs other subgraphs than the model's"
        return
    (inputs, outputs, _), (their_inputs, their_outputs, _) = pair.deployed.flow(ours), pair.reference.flow(theirs)
    if (len(inputs), len(outputs)) != (len(their_inputs), len(their_outputs)):
        yield "has another number of inputs or outputs than the model's"
        return
    for position, (ours_in, their_in) in enumerate(zip(inputs, their_inputs, strict=True)):
        if not same(pair, ours_in, their_in):
            yield f"is given another tensor as input {position} than the model's"
        elif ours_in >= 0 and (dtype := _unlike(pair, ours_in, their_in)) is not None:
            yield f"is given {dtype} as input {position}"


def _unlike(pair: Pair, ours: int, theirs: int) -> str | None:
    """The dtype of a tensor that is neither the model's nor on a grid: no kernel is made for it."""
    tensor = pair.deployed.tensors[ours]
    return tensor.dtype if tensor.grid is None and tensor.dtype != pair.reference.tensors[theirs].dtype else None


def same(pair: Pair, ours: int, theirs: int) -> bool:
    """Whether a tensor is that of the model: made by the same operator, or a constant where the model has one."""
    if ours < 0 or theirs < 0:
        return ours == theirs
    states = [pair.deployed.tensors[ours].variable, pair.reference.tensors[theirs].variable]
    if any(states):  # what an operator keeps between calls, which nothing gives it
        return all(states)
    if _constant(pair, ours, theirs) is not None:
        return bool(_constant(pair, ours, theirs))
    found = pair.tensors.get(pair.deployed.origin(ours))
    return found is not None and pair.reference.origin(found) == pair.reference.origin(theirs)


def _constant(pair: Pair, ours: int, theirs: int) -> bool | None:
    """Whether both are constants; None where none is."""
    held = [pair.deployed.constant(ours) is not None, pair.reference.constant(theirs) is not None]
    return all(held) if any(held) else None
