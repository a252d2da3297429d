"""What a TF Lite file holds."""

from pathlib import Path
from typing import Any

from converters.formats.describing import counted, signatures
from converters.targets.tflite import flatbuffer
from converters.targets.tflite.described import told


def tflite(path: Path) -> dict[str, Any]:
    """Signatures, subgraphs and ops. Raises Damaged."""
    with flatbuffer.reading(path) as model:
        names = flatbuffer.op_names(model)
        custom = [name for name, code in zip(names, model.operatorCodes or (), strict=True) if code.customCode]
        ops = [[names[operator.opcodeIndex] for operator in graph.operators or ()] for graph in model.subgraphs]
        return {
            "format": "TF Lite",
            "bytes": path.stat().st_size,
            "schema": model.version,
            "min_runtime": _min_runtime(model),
            "metadata": told(model),
            "signatures": signatures(flatbuffer.signatures(model)),
            "subgraphs": [
                {"name": graph.name.decode() if graph.name else None, "tensors": len(graph.tensors), "ops": len(used)}
                for graph, used in zip(model.subgraphs, ops, strict=True)
            ],
            "ops": counted(name for used in ops for name in used),
            "select_tf_ops": sorted(name for name in custom if name.startswith(flatbuffer.FLEX)),
            "custom_ops": sorted(name for name in custom if not name.startswith(flatbuffer.FLEX)),
        }


def _min_runtime(model: Any) -> str | None:
    """The oldest TF Lite that has all of the file's op versions, which the converter leaves as metadata."""
    held = flatbuffer.metadata(model).get("min_runtime_version")
    return None if held is None else held.rstrip(b"\0").decode()
