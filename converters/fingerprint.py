"""What a SavedModel computes, as one digest: weights, graph, signatures, assets.

The bytes of an export are no identity: function names, the fingerprint and Keras's metadata differ between two
exports of one model. Here names that TensorFlow makes up are left out, and what is unordered is sorted.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from converters import variables
from converters.contract import Signature


def of_saved_model(saved_model: Path, signatures: Mapping[str, Signature]) -> str:
    """`sha256:...` of the model in `saved_model`, the same for every export of it."""
    from converters.meta_graph import read

    graph = read(saved_model).graph_def
    parts: list[bytes] = [
        json.dumps({k: s.model_dump() for k, s in sorted(signatures.items())}, sort_keys=True).encode()
    ]
    parts += [line.encode() for line in variables.describe(variables.of_saved_model(saved_model))]
    parts += sorted([_nodes(graph.node), *(_nodes(function.node_def) for function in graph.library.function)])
    assets = saved_model / "assets"
    if assets.is_dir():
        parts += [hashlib.sha256(path.read_bytes()).digest() for path in sorted(assets.rglob("*")) if path.is_file()]
    return "sha256:" + hashlib.sha256(b"\n".join(parts)).hexdigest()


def _nodes(nodes: Iterable[Any]) -> bytes:
    """Digest of a graph's nodes: their ops and every attribute that is not the name of a function or resource."""
    digests = []
    for node in nodes:
        kept = {
            key: value.SerializeToString(deterministic=True)
            for key, value in node.attr.items()
            if value.WhichOneof("value") not in ("func", "list")
            and key not in ("shared_name", "container", "config_proto", "_gradient_op_type")
        }
        content = b"\0".join([node.op.encode(), *(k.encode() + b"=" + kept[k] for k in sorted(kept))])
        digests.append(hashlib.sha256(content).digest())
    return hashlib.sha256(b"".join(sorted(digests))).digest()
