"""Where a lossy TF Lite file loses what it loses: each layer's output against the float32 graph's.

Both files keep all their tensors while they run, and tensors are matched by the names that the converter gave them.
Unlike TensorFlow's QuantizationDebugger, which quantizes the model anew from its representative data
(tensorflow/lite/tools/optimize/debugging/python/debugger.py), this looks at the very bytes that are deployed, at any of
their signatures and variants, and needs nothing but a release. It runs in a child process.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from converters.contract.errors import Damaged, said
from converters.contract.values import Artifact, LayerLoss, Tensors
from converters.reference import measure
from converters.targets.tflite import ends, flatbuffer, reference

SAMPLES = 8
"""Samples of a batch that are run at most: every tensor of the graph is kept in memory for all of them."""
BYTES = 2**28
"""Of all tensors of a graph, for as many samples of a batch as that holds, and one in any case."""
_CASTS = frozenset({"QUANTIZE", "DEQUANTIZE"})


@dataclass
class _Operator:
    op: str
    inputs: list[int]
    outputs: list[int]


@dataclass
class _Graph:
    """One signature's subgraph after a run, which keeps the values of all tensors: operators in order, and tensors' names."""

    operators: list[_Operator]
    names: dict[int, str]
    constants: set[int]
    signature: dict[int, str]
    """Tensor -> name of the signature's input or output that it is."""
    value: Callable[[int], np.ndarray[Any, Any] | None]
    """A tensor's value in the model's own numbers, copied when it is asked for; None for one that has none."""


def losses(artifact: Artifact, saved_model: Path, inputs: Tensors) -> list[LayerLoss]:
    """What each layer of the file loses against the same SavedModel as float32, those that add most noise first.

    Casts between float and int8 are counted to the layers around them: what rounding an input costs shows in what the
    layer makes of it. `inputs` are of one call, of which SAMPLES samples are run where the batch is dynamic, or as many as
    BYTES hold all tensors of; the layers' values are looked at one after another.

    Raises:
        Damaged: one of the files cannot be run with all its tensors kept, or they have no tensors in common.
    """
    path, key = artifact.path, artifact.signature or ""
    assert path is not None
    content = reference.converted(saved_model, path, key)
    with tempfile.TemporaryDirectory(prefix="fanout-layers-") as scratch:
        reference_file = Path(scratch) / "float32.tflite"
        reference_file.write_bytes(content)
        held = flatbuffer.samples_held(flatbuffer.parse(content), key, inputs, BYTES)
        samples = max(1, min(SAMPLES, held))
        float_graph, graph = (_run(each, key, inputs, samples) for each in (reference_file, path))
    found = sorted(_compared(graph, float_graph), key=lambda loss: -loss.added)
    if not found:
        raise Damaged(f"{path.name} has no tensor by a name that the float32 graph has")
    return found


def _run(path: Path, key: str, inputs: Tensors, samples: int) -> _Graph:
    from ai_edge_litert.interpreter import OpResolverType

    try:
        model = flatbuffer.parse(path.read_bytes())
        # Delegates would keep what happens inside them to themselves.
        interpreter = flatbuffer.interpreter(model)(
            model_path=str(path),
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        runner = interpreter.get_signature_runner(key)
        details = runner.get_input_details()
        dynamic = all(len(d["shape_signature"]) and d["shape_signature"][0] == -1 for d in details.values())
        given = {name: value[:samples] if dynamic else value for name, value in inputs.items()}
        runner(**ends.taken(given, details))
        return _read(interpreter, model, key)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise Damaged(f"{path.name} cannot be run with its tensors kept: {said(error)}") from error


def _read(interpreter: Any, model: Any, key: str) -> _Graph:
    definition = flatbuffer.definitions(model)[key]
    subgraph, ops = model.subgraphs[definition.subgraphIndex], flatbuffer.op_names(model)
    operators = [
        _Operator(ops[o.opcodeIndex], [int(i) for i in o.inputs if i >= 0], [int(i) for i in o.outputs if i >= 0])
        for o in subgraph.operators or ()
    ]
    constants = {
        index
        for index, tensor in enumerate(subgraph.tensors)
        if tensor.buffer and (data := model.buffers[tensor.buffer].data) is not None and len(data)
    }
    ends = {entry.tensorIndex: entry.name.decode() for entry in (*definition.inputs, *definition.outputs)}
    names = {index: tensor.name.decode() for index, tensor in enumerate(subgraph.tensors)}

    def value(index: int) -> np.ndarray[Any, Any] | None:
        return _real(interpreter, index, definition.subgraphIndex, subgraph.tensors[index].quantization)

    return _Graph(operators, names, constants, ends, value)


def _real(interpreter: Any, index: int, subgraph: int, quantization: Any) -> np.ndarray[Any, Any] | None:
    """A tensor's value in the model's own numbers; None for one that is none, or was never computed."""
    try:
        value = interpreter.get_tensor(index, subgraph)
    except ValueError:
        return None
    scales = getattr(quantization, "scale", None)
    if scales is None or not len(scales):
        return value if value.dtype.kind == "f" else None
    if len(scales) > 1:  # by channel, as weights are
        return None
    zero = quantization.zeroPoint[0] if quantization.zeroPoint is not None and len(quantization.zeroPoint) else 0
    return np.asarray((value.astype(np.float64) - zero) * scales[0])


def _by_name(graph: _Graph) -> dict[str, int]:
    """Tensors by their names; the signature's inputs and outputs by theirs too."""
    used = {index for operator in graph.operators for index in (*operator.inputs, *operator.outputs)} - graph.constants
    return {graph.names[i]: i for i in sorted(used)} | {
        _end(name): i for i, name in graph.signature.items() if i in used
    }


def _end(name: str) -> str:
    return f"signature\0{name}"


def _compared(graph: _Graph, float_graph: _Graph) -> Iterator[LayerLoss]:
    alias, references = _aliases(graph), _by_name(float_graph)
    noise: dict[int, float] = {}
    for operator in graph.operators:
        entering = max((noise.get(index, 0.0) for index in operator.inputs), default=0.0)
        if operator.op in _CASTS:
            noise.update(dict.fromkeys(operator.outputs, entering))
            continue
        for index in operator.outputs:
            found = references.get(alias.get(index, graph.names[index]))
            reference = float_graph.value(found) if found is not None else None
            value = graph.value(index) if reference is not None else None
            if reference is None or value is None or reference.shape != value.shape:
                noise[index] = entering
                continue
            snr = measure.fidelity([reference.astype(np.float64)], [value])["snr_db"]
            noise[index] = 10 ** (-snr / 10)
            layer = _layer(alias.get(index, graph.names[index]))
            yield LayerLoss(layer=layer, op=operator.op, snr_db=round(snr, 2), added=noise[index] - entering)


def _aliases(graph: _Graph) -> dict[int, str]:
    """Under which name a tensor's reference is, where it is not its own: the signature's, for inputs, outputs, and the
    int8 tensors that are cast to or from them."""
    alias = {index: _end(name) for index, name in graph.signature.items()}
    for operator in graph.operators:
        if operator.op in _CASTS:
            (one, *_), (other, *_) = operator.inputs, operator.outputs
            for known, unknown in ((one, other), (other, one)):
                if known in graph.signature:
                    alias[unknown] = _end(graph.signature[known])
    return alias


def _layer(name: str) -> str:
    """A layer's name from its tensor's: that of its first op (those of all fused ops are joined by ';') less the op."""
    if name.startswith("signature\0"):
        return name.partition("\0")[2]
    first = name.partition(";")[0]
    return str(PurePosixPath(first).parent) if "/" in first else first
