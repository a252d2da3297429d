"""Making a given SavedModel one that every runtime can load: one tag-set, `serve`, no devices, one name for a tensor."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from converters.contract.names import shown
from converters.contract.values import SERVE
from converters.formats.graph import nodes
from converters.formats.protos import load
from converters.formats.saved_model import read

_CPU = frozenset({"", "CPU"})


def make_portable(saved_model: Path, wanted: Iterable[str] | None = None) -> list[str]:
    """Change the SavedModel's graph in place where a runtime could refuse it; a sentence for each change.

    Runtimes load the tag-set that is exactly `serve`, and know none that is `serve,gpu`; where several are there, the
    one that `saved_model.read` chooses stays, of the tags that are `wanted` where some are. They place a node on the device
    it names or, without soft placement (tensorflow/core/common_runtime/placer.cc), refuse the whole graph: every placement
    but the host's own CPU goes.
    """
    chosen = read(saved_model, wanted)
    notes = []
    tags = list(chosen.meta_info_def.tags)
    if tags != [SERVE]:
        del chosen.meta_info_def.tags[:]
        chosen.meta_info_def.tags.append(SERVE)
        notes.append(f"its tag-set {{{','.join(tags)}}} became {{{SERVE}}}, which runtimes load")
    devices = _clear_devices(chosen.graph_def)
    if devices:
        notes.append(f"its placement on {', '.join(devices)} was cleared, so that it loads where that device is not")
    notes += leave_out_second_names(chosen)
    if notes:
        proto = load("tensorflow.core.protobuf.saved_model_pb2").SavedModel(
            saved_model_schema_version=1, meta_graphs=[chosen]
        )
        (saved_model / "saved_model.pbtxt").unlink(missing_ok=True)
        (saved_model / "saved_model.pb").write_bytes(proto.SerializeToString(deterministic=True))
    return notes


def leave_out_second_names(meta_graph: Any) -> list[str]:
    """Change signatures with two inputs that are one tensor; a sentence for each that is left out.

    Only Python's session takes both. All else refuses to be fed one tensor twice (tensorflow/core/common_runtime/
    direct_session.cc: "fed more than once"), or ends the process. The name stays that the tensor has, or else the first.
    """
    notes = []
    for key, definition in sorted(meta_graph.signature_def.items()):
        kept: dict[str, str] = {}
        for name in sorted(definition.inputs, key=lambda name: (definition.inputs[name].name != f"{name}:0", name)):
            tensor = definition.inputs[name].name
            if tensor not in kept:
                kept[tensor] = name
            elif tensor:
                del definition.inputs[name]
                notes.append(
                    f"input {shown(name)!r} of {shown(key)!r} is the same tensor as {shown(kept[tensor])!r}, and was left out"
                )
    return notes


def _clear_devices(graph_def: Any) -> list[str]:
    """Clear the devices that only some machines have; which they were."""
    cleared: dict[str, None] = {}
    for node in nodes(graph_def):
        if node.device and not _is_host(node.device):
            cleared[node.device] = None
            node.device = ""
    return list(cleared)


def _is_host(device: str) -> bool:
    """Whether it is the CPU of the machine that runs the graph, whichever that is."""
    import tensorflow as tf

    try:
        spec = tf.DeviceSpec.from_string(device)
    except ValueError:
        return False
    return (spec.device_type or "").upper() in _CPU and spec.job in (None, "localhost") and not (spec.task or 0)
