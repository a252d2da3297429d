"""What TensorFlow's converter writes in a way that its own calibrator or kernels cannot take, written otherwise."""

import copy
from typing import Any

import numpy as np

from converters.targets.tflite import flatbuffer


def watchable(content: bytes) -> bytes:
    """A file to calibrate, with a reader for what its loops pass on unchanged; the quantizer removes what leads nowhere.

    Prepared, WHILE frees its output for what its body passes on and nobody reads (tensorflow/lite/kernels/while.cc, since
    2.14). The calibrator reads every float output after the op has run, that one too, and ends the process
    (tensorflow/tensorflow#75140): so for every Keras loop of a fixed batch, which passes on what it reads step by step.
    """
    model = flatbuffer.parse(content)
    unread = _unread(model)
    if not unread:
        return content
    opcode = flatbuffer.opcode(model, "NEG")
    for subgraph, index in unread:
        reader = flatbuffer.operator(opcode, [index], [_another(subgraph, index)])
        subgraph.operators = [*subgraph.operators, reader]
    return flatbuffer.pack(model)


def with_own_states(content: bytes) -> bytes:
    """The file with a constant wherever an op other than its kernel's reads the tensor in which a kernel keeps its state.

    A fused LSTM begins at zeros, and the converter makes all equal zeros one constant, which is then marked as the LSTM's
    variable (tensorflow/compiler/mlir/lite/flatbuffer_export.cc): a loop that begins at zeros too, or another LSTM, begins
    at what the LSTM left.
    """
    model = flatbuffer.parse(content)
    changed = False
    for subgraph in model.subgraphs:
        owned: set[int] = set()
        for operator in subgraph.operators or ():
            states = [int(i) for i in operator.inputs if i >= 0 and subgraph.tensors[i].isVariable]
            keeps = flatbuffer.op_names(model)[operator.opcodeIndex] in _KEEPING
            for index in states:
                if keeps and index not in owned:
                    owned.add(index)
                    continue
                own = _another(subgraph, index)
                if not keeps:
                    constant = subgraph.tensors[own]
                    constant.isVariable = False
                    constant.buffer = flatbuffer.buffer(model, np.zeros(constant.shape, np.float32))
                operator.inputs = [own if i == index else int(i) for i in operator.inputs]
                changed = True
    return flatbuffer.pack(model) if changed else content


def with_equal_grids(content: bytes) -> bytes:
    """The file with QUANTIZE before every op that only moves elements, and would read them on another grid than it returns.

    Its kernel copies bytes (such as tensorflow/lite/kernels/reverse.cc, one_hot.cc), which then are other numbers. The quantizer
    gives both sides one grid, but that of REVERSE_V2's output may be changed after that, by a concatenation that follows;
    TensorFlow's converter gives ONE_HOT's two values grids of their own.
    """
    model = flatbuffer.parse(content)
    names, opcode = flatbuffer.op_names(model), None
    for subgraph in model.subgraphs:
        operators = []
        for operator in subgraph.operators or ():
            for place in _moved(names[operator.opcodeIndex]):
                given, made = int(operator.inputs[place]), int(operator.outputs[0])
                if _grid(subgraph, given) != _grid(subgraph, made) and _grid(subgraph, given) and _grid(subgraph, made):
                    opcode = flatbuffer.opcode(model, "QUANTIZE") if opcode is None else opcode
                    between = _another(subgraph, given)
                    tensor = subgraph.tensors[between]
                    tensor.quantization = subgraph.tensors[made].quantization
                    tensor.buffer = 0  # what is given may be a constant; this one is empty (schema.fbs)
                    operators.append(flatbuffer.operator(opcode, [given], [between]))
                    operator.inputs = [between if i == place else int(index) for i, index in enumerate(operator.inputs)]
            operators.append(operator)
        subgraph.operators = operators
    return content if opcode is None else flatbuffer.pack(model)


def _moved(op: str) -> tuple[int, ...]:
    """The inputs whose elements an op returns as they are."""
    return (0,) if op in _MOVING else (2, 3) if op == "ONE_HOT" else ()


_MOVING = frozenset(
    {
        "BATCH_TO_SPACE_ND",
        "DEPTH_TO_SPACE",
        "EXPAND_DIMS",
        "GATHER",
        "GATHER_ND",
        "RESHAPE",
        "REVERSE_SEQUENCE",
        "REVERSE_V2",
        "SLICE",
        "SPACE_TO_DEPTH",
        "SQUEEZE",
        "STRIDED_SLICE",
        "TILE",
        "TRANSPOSE",
    }
)
"""Ops that return elements of their first input, as they are."""
_KEEPING = frozenset(
    {
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        "UNIDIRECTIONAL_SEQUENCE_RNN",
        "BIDIRECTIONAL_SEQUENCE_RNN",
        "LSTM",
        "RNN",
        "SVDF",
    }
)
"""Ops whose kernels write to inputs that are variables (tensorflow/lite/kernels)."""


def _unread(model: Any) -> list[tuple[Any, int]]:
    """The float outputs of loops that are passed on unchanged and have no reader: subgraph, tensor."""
    names, found = flatbuffer.op_names(model), []
    for subgraph in model.subgraphs:
        operators = subgraph.operators or []
        read = {int(index) for operator in operators for index in operator.inputs}
        for operator in operators:
            if names[operator.opcodeIndex] != "WHILE":
                continue
            body = model.subgraphs[operator.builtinOptions.bodySubgraphIndex]
            passed = zip(operator.outputs, body.inputs, body.outputs, strict=True)
            found += [
                (subgraph, int(index))
                for index, taken, given in passed
                if taken == given
                and index not in read
                and flatbuffer.dtype_name(subgraph.tensors[index].type) == "FLOAT32"
            ]
    return found


def _another(subgraph: Any, index: int) -> int:
    """A new tensor like this one."""
    subgraph.tensors = [*subgraph.tensors, copy.copy(subgraph.tensors[index])]
    return len(subgraph.tensors) - 1


def _grid(subgraph: Any, index: int) -> tuple[float, int] | None:
    """Scale and zero point of an int8 tensor that has one for all its elements."""
    tensor = subgraph.tensors[index]
    quantization = tensor.quantization
    if flatbuffer.dtype_name(tensor.type) != "INT8" or quantization is None or quantization.scale is None:
        return None
    one = len(quantization.scale) == 1
    return (float(quantization.scale[0]), int(quantization.zeroPoint[0])) if one else None
