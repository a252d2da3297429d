"""The range that a model expects images in, found by what it does with some: the user's own, in every usual range.

A batch normalisation holds the mean and variance, by channel, of what it was given in training; the images belong in the
range in which they come closest to that. Without one, scaling in the graph (a Rescaling or Normalization layer, or what
was written as ops) is meant to bring its input to numbers of size one, as layers after it need them (LeCun et al.,
Efficient BackProp, 1998). Where a model has neither, nothing tells.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from converters.contract.errors import raised
from converters.formats.dtypes import Array
from converters.formats.graph import node_of, tensor_name
from converters.source.live import Live

_FUSED = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_PREPARING = """
    Identity Cast Mul Add AddV2 Sub RealDiv Div BiasAdd Maximum Minimum ClipByValue Neg Reshape Transpose Squeeze ExpandDims
    StridedSlice Slice ReverseV2 Split SplitV Unpack Pack Concat ConcatV2 Pad PadV2 MirrorPad GatherV2 ResizeBilinear
    ResizeNearestNeighbor ResizeArea ResizeBicubic
"""
_POINTWISE = frozenset(_PREPARING.split())
"""Ops that prepare an image, before the first that computes something of it."""
_MOST_NORMS = 3
"""Of batch normalisations; those deep in a model see least of the range."""
_SAME = 1e-3
"""Moments that are no further apart than this, as a share, are those of the images themselves: nothing was scaled."""

_DEAD = 1e-6
"""A channel that varies less than this share of the liveliest tells nothing."""

Run = Callable[[str, Array], Array]
"""The values of a tensor for images."""


class _Norm(NamedTuple):
    """A batch normalisation: the tensor that it is given, and the mean and variance that it holds."""

    given: str
    mean: Array
    variance: Array


def expected(live: Live, key: str, candidates: Mapping[str, Array]) -> tuple[str, str]:
    """Which of the ranges that some images are in the only input of a signature takes, and why, as a phrase.

    `candidates` holds the images by the range's name, as golden data; the first is taken where nothing tells.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    fallback, batched = next(iter(candidates)), live.signatures[key].dynamic_batch
    try:
        function = convert_variables_to_constants_v2(live.function(live.endpoints[key]))
        graph = _Graph(function.graph.as_graph_def(), function.inputs[0].name)
        with tf.Graph().as_default() as whole, tf.compat.v1.Session(graph=whole) as session:
            tf.import_graph_def(graph.graph_def, name="")

            def run(tensor: str, images: Array) -> Array:
                calls = [images] if batched else list(images)
                return np.concatenate([np.atleast_1d(session.run(tensor, {graph.input: call})) for call in calls])

            norms = [norm for norm in graph.norms(session.run) if _is_trained(norm)][:_MOST_NORMS]
            if norms:
                distances = {name: _from_norms(norms, run, images) for name, images in candidates.items()}
                return min(distances, key=lambda name: distances[name]), "as its batch normalisation has seen them"
            scaled = graph.scaled()
            # Who scales in the graph has not prepared the images in another way before.
            candidates = {name: images for name, images in candidates.items() if ".." in name}
            moments = {name: _moments(run(scaled, images)) for name, images in candidates.items()}
    except Exception as error:  # loading, freezing and running a graph raise of many kinds; the range can be named
        return fallback, f"since the model cannot be looked into ({raised(error, 120)})"
    unscaled = {name: _moments(images) for name, images in candidates.items()}
    if all(np.allclose(moments[name], unscaled[name], rtol=_SAME, atol=_SAME) for name in candidates):
        return fallback, "since nothing in the model tells; another is named as in PATH:0..255"
    distances = {name: float(_divergence(*each, 0.0, 1.0)) for name, each in moments.items()}
    return min(distances, key=lambda name: distances[name]), "as the model scales them"


def _is_trained(norm: _Norm) -> bool:
    """Whether it has seen anything: other than what one begins with, and something that varies."""
    return bool(np.max(norm.variance) > 0) and not (np.all(norm.mean == 0) and np.all(norm.variance == 1))


def _from_norms(norms: list[_Norm], run: Run, images: Array) -> float:
    """How far what batch normalisations are given is from what they have seen, by channel and in the mean."""
    found = []
    for norm in norms:
        values = run(norm.given, images)
        channels = values.ndim - 1 if values.shape[-1] == norm.mean.size else 1
        axes = tuple(axis for axis in range(values.ndim) if axis != channels)
        mean, variance = norm.mean.ravel(), norm.variance.ravel()
        seen = variance > _DEAD * variance.max()
        here = values.mean(axis=axes)[seen], values.std(axis=axes)[seen]
        found.append(float(np.mean(np.log1p(_divergence(*here, mean[seen], np.sqrt(variance[seen]))))))
    return float(np.mean(found))


def _moments(values: Array) -> tuple[float, float]:
    return float(np.mean(values, dtype=np.float64)), float(np.std(values, dtype=np.float64))


def _divergence(mean: Any, deviation: Any, wanted_mean: Any, wanted_deviation: Any) -> Any:
    """Kullback and Leibler's, of a normal distribution from another."""
    ratio = (np.maximum(deviation, 1e-6) / wanted_deviation) ** 2
    return 0.5 * (ratio + ((mean - wanted_mean) / wanted_deviation) ** 2 - 1 - np.log(ratio))


class _Graph:
    """A frozen GraphDef, its nodes in the order of what they depend on, and which of them depend on its input."""

    def __init__(self, graph_def: Any, input_name: str) -> None:
        self.graph_def, self.input = graph_def, input_name
        self._nodes = {node.name: node for node in graph_def.node}
        self._readers: dict[str, list[Any]] = {}
        for node in graph_def.node:
            for name in _data(node):
                self._readers.setdefault(node_of(name), []).append(node)
        self._order: dict[str, int] = {node_of(input_name): 0}
        waiting = [node_of(input_name)]
        for name in waiting:  # breadth first: what is nearest to the input comes first
            for reader in self._readers.get(name, ()):
                if reader.name not in self._order:
                    self._order[reader.name] = len(self._order)
                    waiting.append(reader.name)

    def norms(self, value: Callable[[str], Array]) -> list[_Norm]:
        """The batch normalisations, nearest first: fused, or as tf.nn.batch_normalization computes x * k - mean * k."""
        found: dict[int, _Norm] = {}
        for node in self.graph_def.node:
            if node.op in _FUSED and node.name in self._order and not node.attr["is_training"].b:
                mean, variance = (value(tensor_name(name)) for name in node.input[3:5])
                found[self._order[node.name]] = _Norm(tensor_name(node.input[0]), mean, variance)
            elif node.op == "Rsqrt" and node.name not in self._order:
                for place, norm in self._decomposed(node, value):
                    found[place] = norm
        return [norm for _, norm in sorted(found.items(), key=lambda item: item[0])]

    def _decomposed(self, root: Any, value: Callable[[str], Array]) -> list[tuple[int, _Norm]]:
        inner = self._nodes[node_of(root.input[0])]
        terms = [
            name for name in _data(inner) if inner.op in ("Add", "AddV2") and np.size(value(tensor_name(name))) > 1
        ]
        scaled = [root, *(reader for reader in self._products(root) if reader.name not in self._order)]
        products = [(factor, product) for factor in scaled for product in self._products(factor)]
        means = [
            value(tensor_name(other))
            for factor, product in products
            if product.name not in self._order
            for other in _data(product)
            if node_of(other) != factor.name
        ]
        taken = [
            (self._order[product.name], tensor_name(other))
            for factor, product in products
            if product.name in self._order
            for other in _data(product)
            if node_of(other) in self._order
        ]
        if len(terms) != 1 or not taken or not means:
            return []
        variance = value(tensor_name(terms[0]))
        mean = next((each for each in reversed(means) if np.size(each) == np.size(variance)), None)
        return [(place, _Norm(tensor, mean, variance)) for place, tensor in taken] if mean is not None else []

    def _products(self, node: Any) -> list[Any]:
        return [reader for reader in self._readers.get(node.name, ()) if reader.op == "Mul"]

    def scaled(self) -> str:
        """The tensor that the first op takes which does more than prepare the images."""
        prepared = {node_of(self.input)}
        for name in self._order:
            node = self._nodes[name]
            sources = [source for source in _data(node) if node_of(source) in self._order]
            if name in prepared or not any(node_of(source) in prepared for source in sources):
                continue
            if node.op not in _POINTWISE:
                return next(tensor_name(source) for source in sources if node_of(source) in prepared)
            prepared.add(name)
        return self.input


def _data(node: Any) -> list[str]:
    return [name for name in node.input if not name.startswith("^")]
