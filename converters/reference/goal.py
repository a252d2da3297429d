"""What inputs are fitted to: all that a graph says of the data its model was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from converters.contract.values import TensorSpec
from converters.formats.dtypes import numpy_dtype
from converters.formats.flat import Flat
from converters.formats.graph import tensor_name
from converters.formats.specs import dimensions
from converters.reference import scaling, statistics
from converters.reference.constants import Array, Constants
from converters.reference.scaling import Affine
from converters.reference.statistics import Statistic


@dataclass(frozen=True, eq=False)
class Goal:
    """What to fit inputs to: the statistics of a graph, what it says of their ranges, and the tensors to put them in."""

    graph: Flat
    statistics: Sequence[Statistic]
    entries: Mapping[str, Sequence[str]]
    limits: Mapping[str, tuple[float, float]]
    known: Mapping[str, tuple[Array, Array]]
    """Mean and deviation of inputs that are normalised before anything else is done with them."""
    classes: Sequence[tuple[str, int]]
    """What a softmax that is returned is taken of, a matrix, and how many classes it tells apart."""


def of_graph(flat: Flat, specs: Mapping[str, TensorSpec], settled: Sequence[str]) -> Goal | None:
    """What the graph tells of inputs but those that are settled; None where it says nothing of any."""
    constants = Constants(flat.graph_def)
    found = statistics.find(constants)
    entries: dict[str, Sequence[str]] = {}
    for name, tensor in flat.inputs.items():
        kind = numpy_dtype(specs[name].dtype).kind if specs[name].dtype != "string" else "S"
        cast = scaling.casts(constants, tensor) if kind in "iu" else []
        if name not in settled and (kind == "f" or cast):
            entries[name] = cast or [tensor]
    limits: dict[str, tuple[float, float]] = {}
    for name in entries:
        standardised = [statistic.tensor for statistic in found]
        scaled = scaling.limits(constants, flat.inputs[name], standardised)
        if scaled is not None or specs[name].dtype == "uint8":
            limits[name] = scaled or (0.0, 255.0)
    if not entries or not (found or limits):
        return None
    known: dict[str, tuple[Array, Array]] = {}
    names = {tensor: name for name, tensor in flat.inputs.items()}
    for statistic in found:
        for part in scaling.affine(constants, names, statistic.tensor):
            moments = _moments_of(part, statistic)
            if moments is not None:
                known.setdefault(part.input, moments)
    return Goal(flat, tuple(found), entries, limits, known, _classes(constants))


def _classes(constants: Constants) -> list[tuple[str, int]]:
    found = []
    for node in constants.nodes.values():
        waiting = constants.readers.get(f"{node.name}:0", [])
        if node.op == "Softmax" and all(reader.op == "Identity" for reader in waiting):
            shape = dimensions(node.attr["_output_shapes"].list.shape[0]) or ()
            if len(shape) == 2 and shape[1] is not None and shape[1] > 1:
                found.append((tensor_name(node.input[0]), shape[1]))
    return found


def _moments_of(part: Affine, statistic: Statistic) -> tuple[Array, Array] | None:
    """Mean and deviation of an input, of which a normalised tensor is made; None where it is not known of what element."""
    mean, deviation = statistic.mean, np.sqrt(statistic.variance)
    if part.stop is not None and mean.size > 1:
        mean, deviation = mean[..., part.start : part.stop], deviation[..., part.start : part.stop]
    if mean.size == 1:
        mean, deviation = mean.reshape(()), deviation.reshape(())
    elif part.reshaped:
        return None
    return (mean - part.offset) / part.scale, deviation / abs(part.scale)
