"""Which files a SavedModel's graph touches beside its own: its checkpoint, through its saver, and its assets, by tables.

Its own are what the loader hands it: the checkpoint's path to `saver_def.filename_tensor_name` (protobuf/saver.proto),
each asset's to the tensor of its AssetFileDef (protobuf/meta_graph.proto), in the initialization op alone.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from converters.contract.errors import BadInput
from converters.contract.names import climbs
from converters.formats import effects, graph
from converters.formats.graph import node_of
from converters.formats.protos import load
from converters.formats.tracing import Place, Tracing, Unknown

_INITIALIZING = ("saved_model_main_op", "legacy_init_op", "saved_model_train_op")
"""Collections of ops that a loader runs (cc/saved_model/constants.h)."""
_STRING = 7
"""DT_STRING (framework/types.proto)."""
_JOINS = frozenset({"StringJoin", "ShardedFilename", "ShardedFilespec"})
"""Ops whose first input is what a path begins with."""


def foreign(meta_graph: Any) -> list[str]:
    """Each node that touches a file which is not the SavedModel's own, as a sentence's part."""
    tracing = Tracing(meta_graph.graph_def)
    objects = meta_graph.object_graph_def
    called = _Run(meta_graph, _signature_outputs(meta_graph), ())
    run = (called, _Run(meta_graph, _initializing(meta_graph), objects.concrete_functions))
    restoring = _Run(meta_graph, [meta_graph.saver_def.restore_op_name], ())
    given_others = _Run(meta_graph, (), _bound_to_others(objects))
    assets = {node_of(asset.tensor_info.name) for asset in assets_of(meta_graph)}
    saver = node_of(meta_graph.saver_def.filename_tensor_name)
    found = []
    for place in tracing.places():
        op, node, function = place.node.op, place.node, place.function
        if op in effects.TABLES:
            own = _all(tracing, place, 1, assets) and not called.runs(place) and not given_others.runs(place)
            does = None if own else "reads a file that is no asset of the SavedModel"
        elif op in effects.SAVES:
            does = "writes files" if any(each.runs(place) for each in (*run, restoring)) else None
        elif op in effects.RESTORES:
            own = not any(each.runs(place) for each in run)
            own = own and (not restoring.runs(place) or _all(tracing, place, 0, {saver}))
            does = None if own else "reads files"
        elif op in ("CacheDataset", "CacheDatasetV2"):
            does = None if _in_memory(tracing, place) else "writes files"
        else:
            continue
        if does is not None:
            found.append(effects.sentence(node, does, function))
    return found


def assets_of(meta_graph: Any) -> Iterator[Any]:
    """The AssetFileDefs, of a SavedModel of TF 1 too."""
    yield from meta_graph.asset_file_def
    kind = load("tensorflow.core.protobuf.meta_graph_pb2").AssetFileDef
    for packed in meta_graph.collection_def["saved_model_assets"].any_list.value if _has_assets(meta_graph) else ():
        asset = kind()
        if packed.Unpack(asset):
            yield asset


def require_own_assets(meta_graph: Any, where: Path) -> None:
    """Refuse an asset that is a file elsewhere. Raises BadInput."""
    for asset in assets_of(meta_graph):
        if climbs(asset.filename):
            raise BadInput(f"{where}: its asset {asset.filename!r} is no file of the SavedModel")


class _Run:
    """What a loader or a caller runs, beginning with some tensors of the graph and some functions."""

    def __init__(self, meta_graph: Any, tensors: Iterable[str], functions: Iterable[str]) -> None:
        graph_def = meta_graph.graph_def
        self._nodes = graph.leading_to(tensors, {node.name: node for node in graph_def.node})
        library = graph.functions(graph_def)
        begun = [library[name] for name in functions if name in library]
        inner = (node for body in begun for node in body.node_def)
        bodies = [*begun, *graph.called([*self._nodes.values(), *inner], library)]
        self._functions = {body.signature.name for body in bodies}

    def runs(self, place: Place) -> bool:
        """Whether the node is among what is run."""
        return place.node.name in self._nodes if place.function is None else place.function in self._functions


def _has_assets(meta_graph: Any) -> bool:
    return "saved_model_assets" in meta_graph.collection_def


def _signature_outputs(meta_graph: Any) -> list[str]:
    names: list[str] = []
    for key, definition in meta_graph.signature_def.items():
        if key.startswith("__saved_model_"):
            continue
        for info in definition.outputs.values():
            names += _tensors(info)
    return names


def _tensors(info: Any) -> list[str]:
    sparse = info.coo_sparse
    inner = [name for component in info.composite_tensor.components for name in _tensors(component)]
    names = (info.name, sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name)
    return [*filter(None, names), *inner]


def _bound_to_others(objects: Any) -> list[str]:
    """The functions that TF 2's loader gives something beside assets and resources, such as a path in a constant."""
    kinds = [node.WhichOneof("kind") for node in objects.nodes]
    plain = [
        kind in ("asset", "resource") or (kind == "variable" and node.variable.dtype != _STRING)
        for kind, node in zip(kinds, objects.nodes, strict=True)
    ]
    return [
        name
        for name, function in objects.concrete_functions.items()
        if not all(0 <= index < len(plain) and plain[index] for index in function.bound_inputs)
    ]


def _initializing(meta_graph: Any) -> list[str]:
    collections = (meta_graph.collection_def[key] for key in _INITIALIZING if key in meta_graph.collection_def)
    listed = [name for collection in collections for name in collection.node_list.value]
    definitions = (each for key, each in meta_graph.signature_def.items() if key.startswith("__saved_model_"))
    return [*listed, *(name for each in definitions for info in each.outputs.values() for name in _tensors(info))]


def _all(tracing: Tracing, place: Place, index: int, wanted: set[str]) -> bool:
    """Whether all that a path begins with are the wanted nodes of the graph, and nothing behind them climbs out."""
    try:
        origins = tracing.origins(place, index)
    except Unknown:
        return False
    return bool(origins) and all(_is(tracing, origin, wanted) for origin in origins)


def _is(tracing: Tracing, origin: Place, wanted: set[str]) -> bool:
    if origin.function is None and origin.node.name in wanted:
        return True
    if origin.node.op not in _JOINS:
        return False
    more = range(1, len(origin.node.input)) if origin.node.op == "StringJoin" else ()
    return _all(tracing, origin, 0, wanted) and all(_is_plain(tracing, origin, index) for index in more)


def _is_plain(tracing: Tracing, place: Place, index: int) -> bool:
    """Whether text that is joined to a path is constant and does not climb."""
    try:
        origins = tracing.origins(place, index)
    except Unknown:
        return False
    texts = [text for each in origins if each.node.op == "Const" for text in each.node.attr["value"].tensor.string_val]
    return all(each.node.op == "Const" for each in origins) and not any(b".." in text for text in texts)


def _in_memory(tracing: Tracing, place: Place) -> bool:
    """Whether a dataset's cache has no file: its name is then empty."""
    try:
        origins = tracing.origins(place, 1)
    except Unknown:
        return False
    values = [each.node.attr["value"].tensor for each in origins if each.node.op == "Const"]
    return len(values) == len(origins) and not any(any(value.string_val) or value.tensor_content for value in values)
