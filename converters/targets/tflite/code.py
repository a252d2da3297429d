"""What of a TF Lite file would reach out of it: select TF ops that touch files, Python, the process or a network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.contract.errors import Damaged
from converters.formats import effects
from converters.targets.tflite import flatbuffer
from converters.targets.tflite.graph import select_op


def code_in(path: Path) -> list[str]:
    """Each select TF op that does something beside calculating, as a part of a sentence. Raises Damaged."""
    found: dict[str, None] = {}
    with flatbuffer.reading(path) as model:
        names = flatbuffer.op_names(model)
        for graph in model.subgraphs:
            for operator in graph.operators or ():
                name = names[operator.opcodeIndex]
                if not name.startswith(flatbuffer.FLEX):
                    continue
                for sentence in _of_operator(name.removeprefix(flatbuffer.FLEX), operator):
                    found[sentence] = None
    return list(found)


def _of_operator(op: str, operator: Any) -> Iterator[str]:
    try:
        node = select_op(b"" if operator.customOptions is None else bytes(bytearray(operator.customOptions)))
    except Damaged:
        yield f"{op} holds a definition that cannot be looked through"
        return
    touches = effects.touches_files(node.op) or (op != node.op and effects.reaches_out(op))
    if (does := effects.of_node(node) or ("touches files" if touches else None)) is not None:
        yield effects.sentence(node, does)
