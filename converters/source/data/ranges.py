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
_MOST_NORMS, _MOST_LOOKED_AT = 3, 8
"""Batch normalisations that decide, of the nearest to the input; those deep in a model see least of the range."""
_SAME = 1e-3
"""Moments that are no further apart than this, as a share, are those of the images themselves: nothing was scaled."""

_DEAD = 1e-6
"""A channel that varies less than this share of the liveliest tells nothing."""


class _Place(NamedTuple):
    """A batch normalisation's tensors: what it is given, and those among which are the mean and the variance it holds."""

    given: str
    means: tuple[str, ...]
    variances: tuple[str, ...]


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
            places, scaled = graph.norms()[:_MOST_LOOKED_AT], graph.scaled()
            wanted = {scaled, *(name for place in places for name in (place.given, *place.means, *place.variances))}
            nodes = [node_of(name) for name in (*wanted, graph.input)]
            tf.import_graph_def(tf.compat.v1.graph_util.extract_sub_graph(graph.graph_def, nodes), name="")

            def run(tensors: list[str], images: Array) -> list[Array]:
                calls = [images] if batched else list(images)
                answers = [session.run(tensors, {graph.input: call}) for call in calls]
                return [
                    np.concatenate([np.atleast_1d(answer) for answer in each]) for each in zip(*answers, strict=True)
                ]

            norms = [norm for place in places if (norm := _held(place, session.run)) is not None][:_MOST_NORMS]
            if norms:
                tensors = [norm.given for norm in norms]
                distances = {name: _from_norms(norms, run(tensors, images)) for name, images in candidates.items()}
                return min(distances, key=lambda name: distances[name]), "as its batch normalisation has seen them"
            # Who scales in the graph has not prepared the images in another way before.
            candidates = {name: images for name, images in candidates.items() if ".." in name}
            moments = {name: _moments(run([scaled], images)[0]) for name, images in candidates.items()}
    except Exception as error:  # loading, freezing and running a graph raise of many kinds; the range can be named
        return fallback, f"since the model cannot be looked into ({raised(error, 120)})"
    unscaled = {name: _moments(images) for name, images in candidates.items()}
    if all(np.allclose(moments[name], unscaled[name], rtol=_SAME, atol=_SAME) for name in candidates):
        return fallback, "since nothing in the model tells; another is named as in PATH:0..255"
    distances = {name: float(_divergence(*each, 0.0, 1.0)) for name, each in moments.items()}
    return min(distances, key=lambda name: distances[name]), "as the model scales them"


def _held(place: _Place, value: Callable[[str], Array]) -> _Norm | None:
    """What a batch normalisation has seen; None where that is nothing, or what one begins with."""
    variance = next((each for each in map(value, place.variances) if np.ndim(each)), None)
    means = [each for each in map(value, place.means) if variance is not None and np.size(each) == np.size(variance)]
    if variance is None or not means or np.max(variance) <= 0:
        return None
    mean = means[-1]
    return None if np.all(mean == 0) and np.all(variance == 1) else _Norm(place.given, mean, variance)


def _from_norms(norms: list[_Norm], given: list[Array]) -> float:
    """How far what batch normalisations are given is from what they have seen, by channel and in the mean."""
    found = []
    for norm, values in zip(norms, given, strict=True):
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

    def norms(self) -> list[_Place]:
        """The batch normalisations, nearest first: fused, or as tf.nn.batch_normalization computes x * k - mean * k."""
        found: dict[int, _Place] = {}
        for node in self.graph_def.node:
            if node.op in _FUSED and node.name in self._order and not node.attr["is_training"].b:
                x, mean, variance = (tensor_name(node.input[index]) for index in (0, 3, 4))
                found[self._order[node.name]] = _Place(x, (mean,), (variance,))
            elif node.op == "Rsqrt" and node.name not in self._order:
                found.update(self._decomposed(node))
        return [place for _, place in sorted(found.items(), key=lambda item: item[0])]

    def _decomposed(self, root: Any) -> dict[int, _Place]:
        """k is 1 / root(variance + epsilon), or that times a scale."""
        inner = self._nodes[node_of(root.input[0])]
        variances = tuple(map(tensor_name, _data(inner))) if inner.op in ("Add", "AddV2") else ()
        factors = [root, *(reader for reader in self._products(root) if reader.name not in self._order)]
        products = [
            (product, tensor_name(other))
            for factor in factors
            for product in self._products(factor)
            for other in _data(product)
            if node_of(other) != factor.name
        ]
        means = tuple(other for product, other in products if product.name not in self._order)
        return {
            self._order[product.name]: _Place(other, means, variances)
            for product, other in products
            if means and variances and product.name in self._order and node_of(other) in self._order
        }

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
