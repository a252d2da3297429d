"""What a signature's inputs mean to its graph: serialized tf.Examples, images, words of a vocabulary, indices.

Read from the graph alone, so that golden inputs of a model that says nothing else about itself reach its layers: the
op that parses a string names the features, and a table or an embedding bounds what is looked up in it.
Ops: tensorflow/core/ops/{parsing,lookup,array,data_flow}_ops.cc.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from converters.contract.errors import BadInput
from converters.formats.dtypes import name_of
from converters.formats.specs import dimensions
from converters.reference import dataflow, special
from converters.reference.dataflow import Scope, Use
from converters.reference.drawing import Hint, Plan, elements

ReadTable = Callable[[str, int, int], Any]
"""Keys of a table: name of its handle in the outermost graph, DataType enums of its keys and values -> array."""

_SIZED = {
    **dict.fromkeys(("Gather", "GatherV2", "ResourceGather"), (1, 0)),
    **dict.fromkeys(("OneHot", "DenseBincount", "RaggedBincount"), (0, 1)),
}
"""Op that takes integers below a size -> its input that holds them, and the one that the size is read from."""
_LOOKUPS = ("LookupTableFind", "LookupTableFindV2")
_PARSERS = ("ParseExample", "ParseExampleV2", "ParseSingleExample")
_SEQUENCES = ("ParseSequenceExample", "ParseSequenceExampleV2", "ParseSingleSequenceExample")
_IMAGES = ("DecodeJpeg", "DecodePng", "DecodeImage", "DecodeAndCropJpeg", "DecodeBmp", "DecodeGif")
_LONGEST = 4
"""Values of a feature of varying length."""


@dataclass(frozen=True)
class Feature:
    """One feature of a tf.Example. A shape of None, or a dimension of None, is of varying length."""

    key: str
    dtype: str
    shape: tuple[int | None, ...] | None
    hint: Hint


def hint(scope: Scope, tensor: str, read_table: ReadTable) -> Hint:
    """What the graph does with the elements of a tensor.

    Where several ops read them, the narrowest of the ranges holds, and a table goes before a range.
    """
    high: int | None = None
    values: tuple[Any, ...] = ()
    sentences = False
    features: dict[str, Feature] = {}
    for use in dataflow.uses(scope, tensor):
        op = use.node.op
        if op in _SIZED:
            size = _size(use)
            high = size if high is None else min(high, size or high)
        elif op in _LOOKUPS and use.index == 1 and not values:
            values, sentences = _keys(use, read_table), any("StringSplit" in name for name in use.through)
        elif op in _PARSERS and use.index == 0:
            features.update((feature.key, feature) for feature in _features(use, read_table))
        elif op in _SEQUENCES and use.index == 0:
            return Hint(make=_refuse_sequences)
        elif op in _IMAGES and use.index == 0:
            return Hint(make=_jpeg if "Jpeg" in op else _png)
    if features:
        return Hint(make=_Examples(tuple(features.values())))
    if values:
        return Hint(values=values, unknown=_unknown(values), sentences=sentences)
    return Hint(high=high)


def _size(use: Use) -> int | None:
    """How many entries the integers that an op takes may choose from; None where the graph does not say."""
    indices, source = _SIZED[use.node.op]
    if use.index != indices:
        return None
    name = use.node.input[source]
    if use.node.op in ("OneHot", "DenseBincount", "RaggedBincount"):
        depth = use.scope.constant(name)
        return int(depth) if depth is not None and depth.size == 1 and int(depth) > 0 else None
    shape = use.scope.shape(name)
    axis = use.scope.constant(use.node.input[2]) if use.node.op == "GatherV2" else np.array(0)
    if not shape or axis is None or not -len(shape) <= int(axis) < len(shape):
        return None
    return shape[int(axis)] or None


def _keys(use: Use, read_table: ReadTable) -> tuple[Any, ...]:
    """The keys of the table that an op looks up; none where it cannot be read."""
    import tensorflow as tf

    scope, node, _ = use.scope.origin(use.node.input[0])
    if scope.caller is not None:
        return ()
    try:
        keys = read_table(f"{node.name}:0", use.node.attr["Tin"].type, use.node.attr["Tout"].type)
    except tf.errors.OpError:  # not initialised, or of a kind that does not export
        return ()
    # A table returns them in an order that changes from process to process.
    return tuple(sorted(np.asarray(keys).ravel().tolist())) if keys is not None else ()


def _unknown(values: tuple[Any, ...]) -> Any:
    """Something that is none of the values."""
    if not isinstance(values[0], bytes):
        return max(values) + 1
    word = b"unheard"
    while word in values:
        word += b"of"
    return word


def _features(use: Use, read_table: ReadTable) -> Iterator[Feature]:
    """The features that a parsing op reads. Its inputs and attributes differ from op to op, its outputs do not."""

    attributes = use.node.attr
    sparse, dense, ragged = _feature_keys(use)
    sparse_types, ragged_types = (attributes[name].list.type for name in ("sparse_types", "ragged_value_types"))
    outputs = {
        **{key: (len(sparse) + i, sparse_types[i], None) for i, key in enumerate(sparse)},
        **{key: (3 * len(sparse) + len(dense) + i, ragged_types[i], None) for i, key in enumerate(ragged)},
        **{
            key: (3 * len(sparse) + i, attributes["Tdense"].list.type[i], attributes["dense_shapes"].list.shape[i])
            for i, key in enumerate(dense)
        },
    }
    for key, (output, dtype, proto) in outputs.items():
        shape = None if proto is None else dimensions(proto)
        found = hint(use.scope, f"{use.node.name}:{output}", read_table)
        yield Feature(key, name_of(dtype), shape, found)


def _feature_keys(use: Use) -> tuple[list[str], list[str], list[str]]:
    """Keys of the sparse, dense and ragged features."""
    node, scope = use.node, use.scope

    def constants(names: list[str]) -> list[str]:
        arrays = [scope.constant(name) for name in names]
        return [key.decode() for array in arrays if array is not None for key in array.ravel().tolist()]

    if node.op == "ParseSingleExample":
        sparse, dense = ([key.decode() for key in node.attr[name].list.s] for name in ("sparse_keys", "dense_keys"))
        return sparse, dense, []
    if node.op == "ParseExampleV2":
        sparse, dense, ragged = (constants([name]) for name in node.input[2:5])
        return sparse, dense, ragged
    middle = 2 + node.attr["Nsparse"].i
    inputs = list(node.input)
    return constants(inputs[2:middle]), constants(inputs[middle : middle + node.attr["Ndense"].i]), []


@dataclass(frozen=True)
class _Examples:
    """Draws serialized tf.Example protos (tensorflow/core/example/example.proto) that hold every feature."""

    features: tuple[Feature, ...]

    def __call__(self, rng: np.random.Generator, plan: Plan) -> bytes:
        import tensorflow as tf

        # One length for all, since sparse features may hold the indices of each other; where nothing else could be computed,
        # one value, for an index must not be there twice (SparseToDense).
        length = int(rng.integers(1, _LONGEST + 1)) if plan.unknown else 1
        example = tf.train.Example()
        for feature in self.features:
            shape = (length,) if feature.shape is None else tuple(length if d is None else d for d in feature.shape)
            values = elements(rng, shape, feature.dtype, feature.hint, plan).ravel().tolist()
            proto = example.features.feature[feature.key]
            if feature.dtype == "string":
                proto.bytes_list.value.extend(values)
            elif feature.dtype == "int64":
                proto.int64_list.value.extend(values)
            else:
                proto.float_list.value.extend(values)
        return bytes(example.SerializeToString(deterministic=True))


def _refuse_sequences(rng: np.random.Generator, plan: Plan) -> bytes:
    raise BadInput("the model parses serialized tf.SequenceExample protos, which are not drawn; give 'golden.data'")


def _pixels(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """A small colour image, of patches rather than noise, so that compressing and scaling leave something of it."""
    patches = rng.integers(0, 256, size=(4, 4, 3)).astype(np.uint8)
    return patches.repeat(8, axis=0).repeat(8, axis=1)


def _jpeg(rng: np.random.Generator, plan: Plan) -> bytes:
    import tensorflow as tf

    return bytes(tf.io.encode_jpeg(_pixels(rng)).numpy())


def _png(rng: np.random.Generator, plan: Plan) -> bytes:
    import tensorflow as tf

    return bytes(tf.io.encode_png(_pixels(rng)).numpy())


def _whole(scope: Scope, tensor: str, read_table: ReadTable) -> Hint:
    """The hint for an input of the graph."""
    return replace(hint(scope, tensor, read_table), special=special.of(scope, tensor))


def of_concrete(concrete: Any, names: Mapping[str, Any]) -> dict[str, Hint]:
    """Hints for the inputs of a traced function, whose first arguments are `names` in their order."""
    import tensorflow as tf

    captured = {inner.op.name: outer for outer, inner in concrete.graph.captures}
    variables = {id(variable.handle): variable for variable in concrete.variables}
    shapes = {name: variables.get(id(outer), outer).shape for name, outer in captured.items()}
    known = {name: tuple(shape) for name, shape in shapes.items() if shape.is_fully_defined()}
    scope = dataflow.root(concrete.graph.as_graph_def(add_shapes=True), known)

    def read_table(handle: str, keys: int, values: int) -> Any:
        table = captured.get(handle.partition(":")[0])
        if table is None:
            return None
        return tf.raw_ops.LookupTableExportV2(table_handle=table, Tkeys=keys, Tvalues=values)[0].numpy()

    inputs = dict(zip(names, concrete.inputs, strict=False))
    return {name: _whole(scope, tensor.name, read_table) for name, tensor in inputs.items()}


def of_session(session: Any, inputs: Mapping[str, str], scope: Scope) -> dict[str, Hint]:
    """Hints for the inputs (name -> tensor name) of a signature whose graph is loaded in a session."""
    import tensorflow as tf

    def read_table(handle: str, keys: int, values: int) -> Any:
        with session.graph.as_default():
            table = session.graph.get_tensor_by_name(handle)
            if table.dtype != tf.resource:  # a reference to a table, of TF 1's earlier ops
                return session.run(tf.raw_ops.LookupTableExport(table_handle=table, Tkeys=keys, Tvalues=values)[0])
            return session.run(tf.raw_ops.LookupTableExportV2(table_handle=table, Tkeys=keys, Tvalues=values)[0])

    return {name: _whole(scope, tensor, read_table) for name, tensor in inputs.items()}
