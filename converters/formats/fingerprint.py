"""What a SavedModel computes, as one digest: weights, graph, signatures, assets.

The bytes of an export are no identity: function names, the fingerprint and Keras's metadata differ between two
exports of one model. Here names that TensorFlow makes up are left out, and what is unordered is sorted.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from converters.contract.values import Signature
from converters.formats import variables
from converters.formats.graph import functions, node_of
from converters.formats.saved_model import read

_MADE_UP = ("container", "config_proto")
"""Attributes that hold names, or settings of the machine, in place of anything that is computed."""


def of_saved_model(saved_model: Path, signatures: Mapping[str, Signature]) -> str:
    """`sha256:...` of the model in `saved_model`, the same for every export of it."""
    parts: list[bytes] = [
        json.dumps({k: s.model_dump() for k, s in sorted(signatures.items())}, sort_keys=True).encode()
    ]
    parts += [line.encode() for line in variables.describe(variables.of_saved_model(saved_model))]
    parts += _computation(read(saved_model), signatures)
    assets = saved_model / "assets"
    if assets.is_dir():
        parts += [hashlib.sha256(path.read_bytes()).digest() for path in sorted(assets.rglob("*")) if path.is_file()]
    return "sha256:" + _hash(*parts).hex()


def _computation(meta_graph: Any, signatures: Mapping[str, Signature]) -> list[bytes]:
    """What leads to each signature's outputs, then all there is in the graph, for its side effects."""
    digests = _Digests(meta_graph.graph_def)
    definitions = [(key, meta_graph.signature_def[key]) for key in sorted(signatures)]
    fed: dict[str, list[str]] = {}
    for key, definition in definitions:
        for name, info in sorted(definition.inputs.items()):
            fed.setdefault(node_of(info.name), []).append(f"{key}/{name}")
    given = {node: _hash(b"input", *(text.encode() for text in names)) for node, names in fed.items()}
    nodes = digests.of_nodes(meta_graph.graph_def.node, given)
    outputs = [
        _connected(info.name, nodes) for _, definition in definitions for _, info in sorted(definition.outputs.items())
    ]
    return [*outputs, *sorted(nodes.values())]


class _Digests:
    """Digests of nodes, each made of its op, its attributes, and the digests of the nodes that feed it."""

    def __init__(self, graph_def: Any) -> None:
        self.functions = functions(graph_def)
        self.known: dict[str, bytes] = {}

    def of_nodes(self, definitions: Iterable[Any], given: Mapping[str, bytes]) -> dict[str, bytes]:
        """Node name -> digest; `given` are those of a graph's inputs. In a loop, the way back counts as no input."""
        by_name = {node.name: node for node in definitions}
        done = dict(given)
        for name in by_name:
            waiting: list[str] = [name]
            begun: set[str] = set()  # those between the start and the node at hand, which it cannot wait for
            while waiting:
                name = waiting[-1]
                feeding = {node_of(tensor) for tensor in by_name[name].input} if name not in done else set()
                missing = feeding - done.keys() - begun - {name}
                if missing:
                    begun.add(name)
                    waiting += sorted(missing)
                else:
                    if name not in done:
                        done[name] = self._of_node(by_name[name], done)
                    waiting.pop()
        return done

    def _of_node(self, node: Any, done: Mapping[str, bytes]) -> bytes:
        attributes = [
            key.encode() + b"=" + self._of_attribute(value)
            for key, value in sorted(node.attr.items())
            if not key.startswith("_")
            and key not in _MADE_UP
            # A variable's name says which it is; that of a table is made up.
            and (key != "shared_name" or node.op == "VarHandleOp")
        ]
        data = [_connected(tensor, done) for tensor in node.input if not tensor.startswith("^")]
        control = sorted(_connected(tensor, done) for tensor in node.input if tensor.startswith("^"))
        return _hash(node.op.encode(), *attributes, b"data", *data, b"control", *control)

    def _of_attribute(self, value: Any) -> bytes:
        named = [value.func] if value.WhichOneof("value") == "func" else value.list.func
        if named:
            return _hash(*(self._of_function(function.name) for function in named))
        return bytes(value.SerializeToString(deterministic=True))

    def _of_function(self, name: str) -> bytes:
        function = self.functions.get(name)
        if function is None:
            return b"absent"
        if name not in self.known:
            self.known[name] = b"recursive"
            arguments = enumerate(function.signature.input_arg)
            given = {argument.name: _hash(b"argument", str(index).encode()) for index, argument in arguments}
            nodes = self.of_nodes(function.node_def, given)
            results = [_connected(function.ret[result.name], nodes) for result in function.signature.output_arg]
            self.known[name] = _hash(*results, *sorted(nodes.values()))
        return self.known[name]


def _connected(tensor: str, nodes: Mapping[str, bytes]) -> bytes:
    """Digest of one output of a node."""
    output = tensor.partition(":")[2]  # "node" is "node:0"
    return _hash(nodes.get(node_of(tensor), b"loop"), b"" if output == "0" else output.encode())


def _hash(*parts: bytes) -> bytes:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.digest()
