"""TF Lite's flatbuffer as Python objects: ops and dtypes by name, signatures, and what they run on.

A `model` is the ModelT of tensorflow/lite/schema/schema.fbs, in LiteRT's generated module, which needs no TensorFlow.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from converters.contract.errors import Damaged
from converters.contract.values import Frozen, Signature, Tensors, TensorSpec

FLEX = "Flex"
"""Prefix of the custom op under which a select TF op is stored (tensorflow/lite/delegates/flex)."""
_IDENTIFIER = b"TFL3"
_FLOATS = frozenset({"float16", "float32", "float64", "complex64", "complex128"})
_NO_COMPUTATION = frozenset({"QUANTIZE", "DEQUANTIZE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"})


class Uses(Frozen):
    """What one signature of a file runs on: select TF ops (and those that read float16), float ops, its tensors' types."""

    select_ops: tuple[str, ...]
    half_ops: tuple[str, ...]
    float_ops: tuple[str, ...]
    dtypes: frozenset[str]


def parse(content: bytes) -> Any:
    """The model in a file's bytes; damaged ones lead the generated code anywhere: struct.error, IndexError, ..."""
    from ai_edge_litert.tools.flatbuffer_utils import convert_bytearray_to_object

    model = convert_bytearray_to_object(content)
    for buffer in model.buffers or ():
        # Of a large file they may lie behind the flatbuffer, at an offset above 1 (schema.fbs): `pack` writes them into it.
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    for subgraph in model.subgraphs or ():
        for operator in subgraph.operators or ():
            # A vector without elements may be left out: the op that holds a table has no inputs.
            operator.inputs = [] if operator.inputs is None else operator.inputs
            operator.outputs = [] if operator.outputs is None else operator.outputs
    return model


def pack(model: Any) -> bytes:
    """The file's bytes."""
    from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray

    return bytes(convert_object_to_bytearray(model))


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """The file's model, of which the block reads what it needs. Raises Damaged for whatever goes wrong in doing so."""
    try:
        content = path.read_bytes()
        if content[4:8] != _IDENTIFIER:
            raise Damaged(f"{path.name} is no TF Lite file: its identifier is {content[4:8]!r}")
        yield parse(content)
    except Damaged:
        raise
    except Exception as error:
        raise Damaged(f"{path.name} cannot be read as a flatbuffer: {type(error).__name__}: {error}") from error


def op_names(model: Any) -> list[str]:
    """The name of each operator code: the custom op's, or that of the built-in one.

    Built-in codes above 126 are only in the newer of the two fields.
    """
    builtin = _enum("BuiltinOperator")
    return [
        code.customCode.decode() if code.customCode else builtin[max(code.builtinCode, code.deprecatedBuiltinCode)]
        for code in model.operatorCodes or ()
    ]


def interpreter(model: Any) -> type[Any]:
    """The class of the interpreter that runs a file: TensorFlow's, whose kernels are older, where it has select TF ops."""
    if any(name.startswith(FLEX) for name in op_names(model)):
        import tensorflow as tf

        return tf.lite.Interpreter  # type: ignore[no-any-return]
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter  # type: ignore[no-any-return]


def dtype_name(code: int) -> str:
    """A tensor type's name in the schema, such as FLOAT32."""
    return _enum("TensorType")[code]


def numpy_dtype(name: str) -> Any:
    """NumPy's dtype for a tensor type's name."""
    return {"BOOL": "bool", "STRING": "object"}.get(name, name.lower())


def dtype_code(name: str) -> int:
    """The tensor type of that name."""
    return next(code for code, known in _enum("TensorType").items() if known == name)


def opcode(model: Any, name: str) -> int:
    """The number of a built-in op's code, which the model is given."""
    from ai_edge_litert import schema_py_generated as schema

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = 1
    model.operatorCodes = [*(model.operatorCodes or ()), code]
    return len(model.operatorCodes) - 1


def operator(code: int, inputs: list[int], outputs: list[int]) -> Any:
    """An operator of tensors by their numbers, without options."""
    from ai_edge_litert import schema_py_generated as schema

    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
    return made


def buffer(model: Any, content: np.ndarray[Any, Any]) -> int:
    """The number of a buffer of this content, which the model is given."""
    from ai_edge_litert import schema_py_generated as schema

    made = schema.BufferT()
    made.data = np.frombuffer(content.tobytes(), np.uint8)
    model.buffers = [*model.buffers, made]
    return len(model.buffers) - 1


def metadata(model: Any) -> dict[str, bytes]:
    """What the file says beside what it computes, by name."""
    held = {entry.name.decode(): model.buffers[entry.buffer].data for entry in model.metadata or ()}
    return {name: b"" if data is None else bytes(bytearray(data)) for name, data in held.items()}


def add_metadata(model: Any, name: str, content: bytes) -> None:
    """Have the file say something under a name of which it says nothing yet."""
    from ai_edge_litert import schema_py_generated as schema

    entry = schema.MetadataT()
    entry.name, entry.buffer = name.encode(), buffer(model, np.frombuffer(content, np.uint8))
    model.metadata = [*(model.metadata or ()), entry]


def signatures(model: Any) -> dict[str, Signature]:
    """The signatures by key."""
    return {
        key: Signature(
            inputs=_specs(model.subgraphs[definition.subgraphIndex], definition.inputs),
            outputs=_specs(model.subgraphs[definition.subgraphIndex], definition.outputs),
        )
        for key, definition in definitions(model).items()
    }


def definitions(model: Any) -> dict[str, Any]:
    """The SignatureDefTs by key."""
    return {definition.signatureKey.decode(): definition for definition in model.signatureDefs or ()}


def samples_held(model: Any, key: str, inputs: Tensors, size: int) -> int:
    """How many samples of a call's inputs may be run so that a signature's tensors take no more bytes together; 0 if not one."""
    definition = definitions(model)[key]
    tensors = model.subgraphs[definition.subgraphIndex].tensors
    sizes = [math.prod(max(int(each), 1) for each in (() if t.shape is None else t.shape)) for t in tensors]
    declared = sum(sizes[entry.tensorIndex] for entry in definition.inputs)
    # A dimension that is dynamic is 1 in the file.
    elements = sum(value[:1].size for value in inputs.values() if value.ndim)
    return int(size / (4 * max(1, sum(sizes)) * max(1, elements / max(declared, 1))))


def uses(model: Any) -> dict[str, Uses]:
    """Signature key -> what it runs on, loops and branches included."""
    return {key: _uses(model, definition.subgraphIndex) for key, definition in definitions(model).items()}


def operators(model: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """Every operator that a signature runs, loops and branches included: its op, the OperatorT and its SubGraphT."""
    names = op_names(model)
    for subgraph in reached(model, definitions(model)[key].subgraphIndex).values():
        for operator in subgraph.operators or ():
            yield names[operator.opcodeIndex], operator, subgraph


def constant(model: Any, subgraph: Any, index: int) -> np.ndarray[Any, Any] | None:
    """The numbers of a tensor that is an int32 constant; None where it is none."""
    tensor = subgraph.tensors[index]
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data) or _enum("TensorType")[tensor.type] != "INT32":
        return None
    return np.frombuffer(bytes(data), "<i4")


def _uses(model: Any, index: int) -> Uses:
    types = _enum("TensorType")
    subgraphs = list(reached(model, index).values())
    operators = list(_operators(model, subgraphs))
    flex = [(op.removeprefix(FLEX), inputs) for op, inputs, _ in operators if op.startswith(FLEX)]
    return Uses(
        select_ops=_distinct(op for op, _ in flex),
        half_ops=_distinct(op for op, inputs in flex if "float16" in inputs),
        float_ops=_distinct(
            op
            for op, _, outputs in operators
            if outputs & _FLOATS and op not in _NO_COMPUTATION and not op.startswith(FLEX)
        ),
        dtypes=frozenset(types[tensor.type] for subgraph in subgraphs for tensor in subgraph.tensors),
    )


def _operators(model: Any, subgraphs: Iterable[Any]) -> Iterator[tuple[str, set[str], set[str]]]:
    """Op, dtypes of its inputs, and of its outputs."""
    names, types = op_names(model), _enum("TensorType")
    for subgraph in subgraphs:
        for operator in subgraph.operators or ():
            inputs, outputs = (
                {types[subgraph.tensors[index].type].lower() for index in side if index >= 0}
                for side in (operator.inputs, operator.outputs)
            )
            yield names[operator.opcodeIndex], inputs, outputs


def reached(model: Any, index: int) -> dict[int, Any]:
    """The subgraph and those its control-flow ops run, by number."""
    found, waiting = {}, [index]
    while waiting:
        number = waiting.pop()
        if number in found:
            continue
        found[number] = model.subgraphs[number]
        for operator in found[number].operators or ():
            options = vars(operator.builtinOptions) if operator.builtinOptions else {}
            waiting += [value for name, value in options.items() if name.lower().endswith("subgraphindex")]
    return found


def _specs(subgraph: Any, entries: Any) -> dict[str, TensorSpec]:
    return {entry.name.decode(): _spec(subgraph.tensors[entry.tensorIndex]) for entry in entries}


def _spec(tensor: Any) -> TensorSpec:
    sizes = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    sizes = [] if sizes is None else list(sizes)
    # Of unknown rank is written as a scalar is, but for this flag.
    shape = None if not sizes and not tensor.hasRank else tuple(None if size < 0 else int(size) for size in sizes)
    return TensorSpec(shape=shape, dtype=_enum("TensorType")[tensor.type].lower())


@cache
def _enum(name: str) -> dict[int, str]:
    """The names of one of the schema's enums, by value."""
    from ai_edge_litert import schema_py_generated

    members = vars(getattr(schema_py_generated, name))
    return {value: member for member, value in members.items() if isinstance(value, int)}


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
