"""Running a TF Lite file in TF Lite Micro's interpreter, on this machine: the kernels that a microcontroller has.

It takes a file of one signature with fixed sizes, and whatever its kernels are not made for is a limit of its own.
"""

import importlib.util
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from converters.contract.errors import MissingRuntime, said
from converters.contract.target import Cases
from converters.contract.values import Artifact, Ends, Prediction, Signature, Tensors
from converters.processes.timing import predicted
from converters.targets.tflite import ends, flatbuffer

NAME = "tflite-micro"
ARENA = 2**26
"""Bytes of its only memory: more than any microcontroller has, since it is the kernels that are asked about."""


def takes(signatures: dict[str, Signature]) -> bool:
    """Whether the interpreter, which knows neither signatures nor dynamic sizes, can be given a file of these."""
    specs = [spec for each in signatures.values() for spec in (*each.inputs.values(), *each.outputs.values())]
    return len(signatures) == 1 and all(spec.shape is not None and None not in spec.shape for spec in specs)


def find() -> str:
    """Its version. Raises MissingRuntime where there is no wheel of it for this machine."""
    if importlib.util.find_spec("tflite_micro") is None:
        raise MissingRuntime("TF Lite Micro is not on this machine. Install the Python package tflite-micro.")
    return version("tflite-micro")


def run(artifacts: Sequence[Artifact], cases: Cases, seconds: float) -> list[Prediction]:
    """What its kernels make of the only signature of the file. Raises MissingRuntime, Damaged."""
    name = f"tflite micro {find()}"
    from tflite_micro import runtime

    (artifact,) = artifacts
    assert artifact.path is not None
    key = artifact.signature or ""
    with flatbuffer.reading(artifact.path) as model:
        scales, order = ends.quantized(model)[key], _order(model, key)
    try:
        interpreter = runtime.Interpreter.from_file(str(artifact.path), arena_size=ARENA)
        return [predicted(name, lambda inputs: _answer(interpreter, inputs, scales, order), cases[key])]
    except (RuntimeError, ValueError) as error:
        return [Prediction(runtime=name, error=f"{key}: {said(error)}", lacks=True)]


def _answer(interpreter: Any, inputs: Tensors, scales: Ends, order: tuple[list[str], list[str]]) -> Tensors:
    given = ends.taken(inputs, ends.details(scales.inputs))
    for number, name in enumerate(order[0]):
        interpreter.set_input(given[name], number)
    interpreter.invoke()
    made = {name: interpreter.get_output(number) for number, name in enumerate(order[1])}
    return ends.returned(made, ends.details(scales.outputs))


def _order(model: Any, key: str) -> tuple[list[str], list[str]]:
    """The names of inputs and outputs in the order in which the interpreter has them."""
    definition = flatbuffer.definitions(model)[key]
    subgraph = model.subgraphs[definition.subgraphIndex]
    sides = ((subgraph.inputs, definition.inputs), (subgraph.outputs, definition.outputs))
    inputs, outputs = (
        [{int(e.tensorIndex): e.name.decode() for e in entries}[int(index)] for index in indices]
        for indices, entries in sides
    )
    return inputs, outputs
