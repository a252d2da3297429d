"""TF Lite's flatbuffer as Python objects: ops and dtypes by name, signatures, subgraphs."""

from typing import Any

from converters.contract.values import Frozen, TensorSpec


def specs(subgraph: Any, entries: Any, schema: Any) -> dict[str, TensorSpec]:
    types = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    specs = {}
    for entry in entries:
        tensor = subgraph.tensors[entry.tensorIndex]
        sizes = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
        sizes = [] if sizes is None else list(sizes)
        # Of unknown rank is written as a scalar is, but for this flag.
        shape = None if not sizes and not tensor.hasRank else tuple(None if size < 0 else int(size) for size in sizes)
        specs[entry.name.decode()] = TensorSpec(shape=shape, dtype=types[tensor.type])
    return specs


FLEX = "Flex"
"""Prefix of the custom op under which a select TF op is stored (tensorflow/lite/delegates/flex)."""
_FLOATS = ("float16", "float32", "float64", "complex64", "complex128")
_NO_COMPUTATION = frozenset({"QUANTIZE", "DEQUANTIZE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"})


class Uses(Frozen):
    """What one signature of a file runs on: select TF ops (and those that read float16), float ops, int8 tensors."""

    select_ops: tuple[str, ...]
    half_ops: tuple[str, ...]
    float_ops: tuple[str, ...]
    int8: bool


def uses(model: Any, schema: Any) -> dict[str, Uses]:
    """Signature key -> what it runs on, loops and branches included. `model` is the flatbuffer's ModelT."""
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    types = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    found = {}
    for definition in model.signatureDefs or ():
        select: dict[str, None] = {}
        half: dict[str, None] = {}
        floats: dict[str, None] = {}
        int8 = False
        for subgraph in reached(model, definition.subgraphIndex):
            int8 = int8 or any(types[tensor.type] == "int8" for tensor in subgraph.tensors)
            for operator in subgraph.operators or ():
                code = model.operatorCodes[operator.opcodeIndex]
                custom = code.customCode.decode() if code.customCode else None
                name = custom or names[max(code.builtinCode, code.deprecatedBuiltinCode)]
                outputs = {types[subgraph.tensors[index].type] for index in operator.outputs if index >= 0}
                if custom and custom.startswith(FLEX):
                    select[custom.removeprefix(FLEX)] = None
                    if "float16" in {types[subgraph.tensors[index].type] for index in operator.inputs if index >= 0}:
                        half[custom.removeprefix(FLEX)] = None
                elif outputs & set(_FLOATS) and name not in _NO_COMPUTATION:
                    floats[name] = None
        found[definition.signatureKey.decode()] = Uses(
            select_ops=tuple(select), half_ops=tuple(half), float_ops=tuple(floats), int8=int8
        )
    return found


def reached(model: Any, index: int) -> list[Any]:
    """The subgraph and those its control-flow ops run."""
    seen, waiting = {}, [index]
    while waiting:
        number = waiting.pop()
        if number in seen:
            continue
        seen[number] = model.subgraphs[number]
        for operator in model.subgraphs[number].operators or ():
            options = vars(operator.builtinOptions) if operator.builtinOptions else {}
            waiting += [value for name, value in options.items() if name.lower().endswith("subgraphindex")]
    return list(seen.values())
