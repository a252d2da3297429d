"""What a live signature's calls may write: variables and lookup tables, found in its graph, read and put back."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.formats import graph
from converters.formats.internals_tf import may_write
from converters.formats.variables import describe_variable, name_of
from converters.reference.dataflow import Scope

_READERS = frozenset(
    (
        *("ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape", "VarIsInitializedOp"),
        *("IsVariableInitialized", "LookupTableFind", "LookupTableFindV2", "LookupTableSize", "LookupTableSizeV2"),
        *("LookupTableExport", "LookupTableExportV2", "StatefulPartitionedCall", "If", "While", "Case", "Assert"),
        *("RefIdentity", "RefEnter", "RefSwitch", "RefMerge", "RefExit", "RefNextIteration"),
    )
)
"""Stateful ops that change nothing themselves; those that make a resource have no input."""
_DRAWS = re.compile(
    "Random|Rng|NonDeterministic|Multinomial|TruncatedNormal|Stateless.*Shuffle|Stateful(Uniform|Standard)"
)
"""The names of ops that draw random numbers, from a kernel's own state, a variable or a given seed (random_ops.cc,
stateful_random_ops.cc, stateless_random_ops.cc, stateless_random_ops_v2.cc)."""
_TABLE = "LookupTable"
"""How the names of all ops begin that take a table (tensorflow/core/ops/lookup_ops.cc)."""


@dataclass(frozen=True)
class Item:
    """One variable ([value]) or table ([keys, values]); `read` returns None of one without a value yet."""

    name: str
    read: Callable[[], list[np.ndarray[Any, Any]] | None]
    write: Callable[[list[np.ndarray[Any, Any]]], object]


@dataclass(frozen=True)
class State:
    """What the calls of one signature may write; the ops that draw numbers, and the others with effects elsewhere."""

    items: tuple[Item, ...] = ()
    draws: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()

    @contextmanager
    def kept(self) -> Iterator[Callable[[], list[str]]]:
        """A context after which all is as it was before; the value tells the names of what has changed so far."""
        before = [item.read() for item in self.items]

        def changed() -> list[str]:
            pairs = zip(self.items, before, strict=True)
            return sorted({item.name for item, value in pairs if _content(item.read()) != _content(value)})

        try:
            yield changed
        finally:
            for item, value in zip(self.items, before, strict=True):
                if value is not None:
                    item.write(value)


def _content(value: list[np.ndarray[Any, Any]] | None) -> list[str]:
    """Equal where the value is; a table has no order."""
    if value is None or len(value) == 1:
        return [describe_variable("", array) for array in value or []]
    return sorted(map(repr, zip(*(array.tolist() for array in value), strict=True)))


@dataclass(frozen=True)
class _Resource:
    """A resource that a graph writes: the node of its outermost graph, and attributes of the ops that take it."""

    node: Any
    attributes: dict[str, int]


def _written(scope: Scope) -> tuple[list[_Resource], dict[str, tuple[str, ...]]]:
    """The resources that a graph may write, and State's ops."""
    draws: set[str] = set()
    effects: set[str] = set()
    found: dict[str, _Resource] = {}
    attributes: dict[str, dict[str, int]] = {}
    for inner, node in scope.everything():
        if _DRAWS.search(node.op):
            draws.add(node.op)
        inputs = [name for name in node.input if not name.startswith("^")]
        makes = not inputs and "shared_name" in node.attr
        writes = node.op not in _READERS and not makes and may_write(node.op)
        if not writes and not node.op.startswith(_TABLE):
            continue
        taken = inputs[:1] if node.op.startswith(_TABLE) else inputs
        origins = [origin for outer, origin, _ in map(inner.origin, taken) if outer.caller is None]
        for origin in origins:
            if node.op.startswith(_TABLE):
                types = {name: node.attr[name].type for name in ("Tin", "Tout") if name in node.attr}
                attributes.setdefault(origin.name, {}).update(types)
            if writes:
                found[origin.name] = _Resource(origin, attributes.setdefault(origin.name, {}))
        if writes and not origins:
            effects.add(node.op)
    ops = {"draws": tuple(sorted(draws)), "effects": tuple(sorted(effects - draws))}
    return list(found.values()), ops


def of_concrete(concrete: Any, scope: Scope, owner: Any = None) -> State:
    """What a traced function (and the scope of its graph) may write, by its name, or as an attribute of the `owner`."""
    captured = {inner.op.name: outer for outer, inner in concrete.graph.captures}
    variables = {id(variable.handle): variable for variable in concrete.variables}
    resources, ops = _written(scope)
    names = _attributes(owner) if resources and owner is not None else {}
    items = []
    for resource in resources:
        handle = captured.get(resource.node.name)
        variable = variables.get(id(handle))
        if variable is not None:
            items.append(_live_variable(names.get(id(handle)) or name_of(variable), variable))
        elif handle is not None and {"Tin", "Tout"} <= resource.attributes.keys():
            items.append(_live_table(names.get(id(handle), "lookup table"), handle, resource.attributes))
    return State(tuple(items), **ops)


def _attributes(owner: Any) -> dict[int, str]:
    """By the id of its handle, where each variable and table is found below a trackable object: as "a.b"."""
    import tensorflow as tf

    view, names, seen = tf.train.TrackableView(owner), {}, {id(owner)}
    waiting = [("", owner)]
    while waiting:
        path, item = waiting.pop(0)
        handle = (
            getattr(item, "handle", None) if isinstance(item, tf.Variable) else getattr(item, "resource_handle", None)
        )
        names[id(handle)] = path
        for name, child in view.children(item).items():
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append((f"{path}.{name}".removeprefix("."), child))
    return names


def _live_variable(name: str, variable: Any) -> Item:
    return Item(name, lambda: [np.asarray(variable.numpy())], lambda value: variable.assign(value[0]))


def _live_table(name: str, handle: Any, types: Mapping[str, int]) -> Item:
    import tensorflow as tf

    def read() -> list[np.ndarray[Any, Any]]:
        exported = tf.raw_ops.LookupTableExportV2(table_handle=handle, Tkeys=types["Tin"], Tvalues=types["Tout"])
        return [np.asarray(part.numpy()) for part in exported]

    def write(value: list[np.ndarray[Any, Any]]) -> None:
        keys, values = (tf.constant(v, tf.as_dtype(types[t])) for v, t in zip(value, ("Tin", "Tout"), strict=True))
        tf.raw_ops.LookupTableImportV2(table_handle=handle, keys=keys, values=values)

    return Item(name, read, write)


def of_session(session: Any, scope: Scope, outputs: Mapping[str, str]) -> State:
    """What computing the outputs (name -> tensor name) of the scope's graph, which is loaded in a session, may write."""
    nodes = graph.leading_to(outputs.values(), scope.nodes)
    resources, ops = _written(Scope(nodes, scope.functions, scope.known))
    kinds = [(resource, resource.node.op) for resource in resources]
    variables = [_session_variable(session, resource.node) for resource, op in kinds if op in graph.VARIABLES]
    tables = [_session_table(session, r.node, r.attributes) for r, _ in kinds if {"Tin", "Tout"} <= r.attributes.keys()]
    return State((*variables, *tables), **ops)


def _session_variable(session: Any, node: Any) -> Item:
    import tensorflow as tf

    with session.graph.as_default():
        handle, dtype = session.graph.get_tensor_by_name(f"{node.name}:0"), node.attr["dtype"].type
        value = tf.compat.v1.placeholder(dtype)
        if node.op == "VarHandleOp":
            stored = tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)
            assigned = tf.raw_ops.AssignVariableOp(resource=handle, value=value)
        else:
            stored, assigned = handle, tf.raw_ops.Assign(ref=handle, value=value)
    return _in_session(session, node.name, [stored], [value], assigned)


def _session_table(session: Any, node: Any, types: Mapping[str, int]) -> Item:
    import tensorflow as tf

    with session.graph.as_default():
        handle = session.graph.get_tensor_by_name(f"{node.name}:0")
        keys, values = (tf.compat.v1.placeholder(types[name]) for name in ("Tin", "Tout"))
        new = handle.dtype == tf.resource  # else a reference to a table, of TF 1's earlier ops
        exports = tf.raw_ops.LookupTableExportV2 if new else tf.raw_ops.LookupTableExport
        imports = tf.raw_ops.LookupTableImportV2 if new else tf.raw_ops.LookupTableImport
        exported = exports(table_handle=handle, Tkeys=types["Tin"], Tvalues=types["Tout"])
        imported = imports(table_handle=handle, keys=keys, values=values)
    return _in_session(session, node.name, list(exported), [keys, values], imported)


def _in_session(session: Any, name: str, stored: list[Any], values: list[Any], written: Any) -> Item:
    import tensorflow as tf

    def read() -> list[np.ndarray[Any, Any]] | None:
        try:
            return [np.asarray(value) for value in session.run(stored)]
        except tf.errors.FailedPreconditionError:  # it has no value before the signature gives it one
            return None

    return Item(name, read, lambda value: session.run(written, dict(zip(values, value, strict=True))))
