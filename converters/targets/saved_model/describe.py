"""What a SavedModel holds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.contract.errors import Damaged, said
from converters.formats import graph, saved_model, variables
from converters.formats.describing import counted, signatures


def saved_model_pb(path: Path) -> dict[str, Any]:
    """Tag-sets with their signatures and ops, and the number of parameters. Raises Damaged."""
    import tensorflow as tf

    folder = path.parent
    meta_graphs = saved_model.read_all(folder)
    try:
        weights = variables.of_saved_model(folder)
        parameters = sum(int(value.size) for value in weights.values())
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise Damaged(f"its variables cannot be read: {said(error)}") from error
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {
        "path": str(folder),
        "format": "SavedModel",
        "bytes": sum(file.stat().st_size for file in files),
        "parameters": parameters,
        "variables": len(weights),
        "assets": sorted(file.name for file in files if file.parent.name == "assets"),
        "tag_sets": [
            {
                "tags": sorted(meta_graph.meta_info_def.tags),
                "tensorflow": meta_graph.meta_info_def.tensorflow_version or None,
                "signatures": signatures(saved_model.signatures(meta_graph)),
                "ops": counted(_used_ops(meta_graph)),
            }
            for meta_graph in meta_graphs
        ],
    }


def _used_ops(meta_graph: Any) -> Iterator[str]:
    """Ops that signatures' outputs depend on, a function's once however often it is called; saving's are left out."""
    nodes = graph.reached(meta_graph, meta_graph.signature_def)
    bodies = graph.called(nodes, graph.functions(meta_graph.graph_def))
    yield from (node.op for node in [*nodes, *(node for body in bodies for node in body.node_def)])
