"""Two graph models side by side, from their outputs to their inputs: the same ops, attributes and wiring?

What nodes, functions and tables are called is of no account, nor in which order they are written: a converter names them
after counters of its process. What no output depends on is not looked at, since tensorflow.js does not run it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from converters.formats.graph import node_of

_NAMES = frozenset({"shared_name", "container"})
"""Attributes that name a table, which tensorflow.js knows by its node (tfjs-converter, hash_table_executor.ts)."""


@dataclass(frozen=True)
class Scope:
    """A graph or a function's body: its nodes by name, what its inputs are by node, and its outputs' tensors by name."""

    nodes: Mapping[str, Any]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass
class Matched:
    """The weights that stand at the same place of both, as pairs of names, and the `problems`, a sentence each."""

    weights: dict[tuple[str, str], None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class _Pair(NamedTuple):
    """A tensor and the reference's in its place; by the scopes' names, and by that of the node that reads it."""

    scopes: tuple[str, str]
    tensors: tuple[str, str]
    reader: str


def match(model: Any, reference: Any) -> Matched:
    """Compare two documents `model.json`.

    Raises:
        KeyError, TypeError: one is no graph model.
    """
    return _Walk(_scopes(model), _scopes(reference)).done(_described(model), _described(reference))


def _described(model: Any) -> dict[str, Any]:
    """What the signature says of each tensor, but not which it is."""
    return {
        f"{side[:-1]} {name!r}": {key: value for key, value in info.items() if key not in ("name", "resourceId")}
        for side in ("inputs", "outputs")
        for name, info in model["signature"].get(side, {}).items()
    }


def _scopes(model: Any) -> dict[str, Scope]:
    """The graph as '', that which fills its tables as '^', and functions by name."""
    signature, topology = model["signature"], model["modelTopology"]
    inputs, outputs = signature.get("inputs", {}), signature["outputs"]
    tables = {info["resourceId"]: name for name, info in inputs.items() if "resourceId" in info}
    filled = model.get("initializerSignature", {}).get("outputs", {})
    found = {
        "": Scope(
            _by_name(topology["node"]),
            {node_of(info["name"]): name for name, info in inputs.items()},
            {name: info["name"] for name, info in outputs.items()},
        ),
        "^": Scope(
            _by_name(model.get("modelInitializer", {}).get("node", [])),
            {},
            {tables.get(info.get("resourceId"), name): info["name"] for name, info in filled.items()},
        ),
    }
    for function in topology.get("library", {}).get("function", []):
        takes, returns = (function["signature"].get(side, []) for side in ("inputArg", "outputArg"))
        found[function["signature"]["name"]] = Scope(
            _by_name(function.get("nodeDef", [])),
            {argument["name"]: f"argument {number}" for number, argument in enumerate(takes)},
            {f"result {number}": function["ret"][result["name"]] for number, result in enumerate(returns)},
        )
    return found


def _by_name(nodes: Any) -> dict[str, Any]:
    return {node["name"]: node for node in nodes}


class _Walk:
    def __init__(self, model: Mapping[str, Scope], reference: Mapping[str, Scope]) -> None:
        self._scopes = model, reference
        self._matched = Matched()
        self._waiting: list[_Pair] = []
        self._met: set[tuple[tuple[str, str], tuple[str, str]]] = set()

    def done(self, described: Mapping[str, Any], expected: Mapping[str, Any]) -> Matched:
        for name in sorted(described.keys() | expected.keys()):
            if described.get(name) != expected.get(name):
                self._differ(f"the signature's {name}", described.get(name), expected.get(name))
        for place in ("", "^"):
            self._pair_outputs((place, place), "the signature" if place == "" else "filling the tables")
        while self._waiting:
            self._visit(self._waiting.pop())
        return self._matched

    def _differ(self, what: str, found: Any, expected: Any) -> None:
        texts = [json.dumps(each)[:100] if not isinstance(each, str) else each for each in (found, expected)]
        self._matched.problems.append(f"{what} is {texts[0]} where the float conversion has {texts[1]}")

    def _pair_outputs(self, scopes: tuple[str, str], reader: str) -> None:
        if (scopes, ("", "")) in self._met:
            return
        self._met.add((scopes, ("", "")))
        bodies = [each.get(name) for each, name in zip(self._scopes, scopes, strict=True)]
        if bodies[0] is None or bodies[1] is None or bodies[0].outputs.keys() != bodies[1].outputs.keys():
            self._differ(f"what {reader} returns", *([] if body is None else sorted(body.outputs) for body in bodies))
            return
        for name in bodies[0].outputs:
            tensors = bodies[0].outputs[name], bodies[1].outputs[name]
            self._waiting.append(_Pair(scopes, tensors, f"{name!r} of {reader}"))

    def _visit(self, pair: _Pair) -> None:
        names = node_of(pair.tensors[0]), node_of(pair.tensors[1])
        bodies = self._scopes[0][pair.scopes[0]], self._scopes[1][pair.scopes[1]]
        read = [
            f"{_slot(t)} of {body.inputs.get(n, 'a node')}"
            for t, n, body in zip(pair.tensors, names, bodies, strict=True)
        ]
        if read[0] != read[1]:
            self._differ(f"what {pair.reader} reads", *read)
            return
        if (pair.scopes, names) in self._met:
            return
        self._met.add((pair.scopes, names))
        node, expected = bodies[0].nodes.get(names[0]), bodies[1].nodes.get(names[1])
        if node is None or expected is None:
            if node is not expected:
                self._differ(
                    f"what {pair.reader} reads", *("no node" if n is None else n["op"] for n in (node, expected))
                )
            return
        self._compare(node, expected, pair.scopes)

    def _compare(self, node: Any, expected: Any, scopes: tuple[str, str]) -> None:
        name = f"node {node['name']} ({node['op']})"
        if node["op"] != expected["op"]:
            self._differ(f"the op of {name}", node["op"], expected["op"])
            return
        before = len(self._matched.problems)
        functions = list(_functions(node)), list(_functions(expected))
        attributes = _attributes(node), _attributes(expected)
        for what in sorted({*attributes[0], *attributes[1]}):
            if attributes[0].get(what) != attributes[1].get(what):
                self._differ(f"{what} of {name}", attributes[0].get(what), attributes[1].get(what))
        if len(self._matched.problems) > before:
            return
        if node["op"] == "Const":
            self._matched.weights[node["name"], expected["name"]] = None
        for function, other in zip(*functions, strict=True):
            self._pair_outputs((function, other), f"a function of {name}")
        for tensors in zip(node.get("input", []), expected.get("input", []), strict=True):
            self._waiting.append(_Pair(scopes, tensors, name))


def _slot(tensor: str) -> str:
    """Which of a node's outputs a tensor is."""
    if tensor.startswith("^"):
        return "the end"
    return f"output {tensor.partition(':')[2] or '0'}"


def _attributes(node: Any) -> dict[str, Any]:
    """How many inputs a node has, and its attributes but those that are names, or for TensorFlow alone."""
    kept = {
        f"attribute {key}": _without_functions(value)
        for key, value in node.get("attr", {}).items()
        if not key.startswith("_") and key not in _NAMES
    }
    return {"the number of inputs": len(node.get("input", [])), **kept}


def _functions(node: Any) -> Iterator[str]:
    for _, value in sorted(node.get("attr", {}).items()):
        for function in (value.get("func"), *value.get("list", {}).get("func", [])):
            if function is not None:
                yield function["name"]


def _without_functions(value: Any) -> Any:
    if "func" in value:
        return "a function"
    listed = value.get("list", {})
    return f"{len(listed['func'])} functions" if "func" in listed else value
