"""How a TF Lite file is harmed. All of it runs in a child process."""

import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from battery_model import KEY

from converters.contract.values import Artifact
from converters.targets.tflite import ends, flatbuffer


def edit_tflite(path: Path, change: str, *args: Any) -> None:
    """Change a flatbuffer by one of the functions below, by its name: it gets the ModelT."""
    model = flatbuffer.parse(path.read_bytes())
    globals()[change](model, *args)
    path.write_bytes(flatbuffer.pack(model))


def _definition(model: Any, key: str) -> Any:
    return next(found for found in model.signatureDefs if found.signatureKey == key.encode())


def rename_tflite_signature(model: Any, old: str, new: str) -> None:
    _definition(model, old).signatureKey = new.encode()


def drop_tflite_signature(model: Any, key: str) -> None:
    model.signatureDefs = [found for found in model.signatureDefs if found.signatureKey != key.encode()]


def swap_tflite_outputs(model: Any, key: str) -> None:
    one, two = _definition(model, key).outputs
    one.tensorIndex, two.tensorIndex = two.tensorIndex, one.tensorIndex


def rename_tflite_input(model: Any, key: str, new: str) -> None:
    _definition(model, key).inputs[0].name = new.encode()


def set_tflite_dtype(model: Any, key: str, dtype: int) -> None:
    definition = _definition(model, key)
    model.subgraphs[definition.subgraphIndex].tensors[definition.outputs[0].tensorIndex].type = dtype


def fix_tflite_batch(model: Any, key: str, size: int) -> None:
    definition = _definition(model, key)
    tensor = model.subgraphs[definition.subgraphIndex].tensors[definition.inputs[0].tensorIndex]
    tensor.shape = [size, *tensor.shape[1:]]
    tensor.shapeSignature = None


def set_buffer(model: Any, index: int, value: Any) -> None:
    import numpy as np

    model.buffers[index].data = np.frombuffer(value.tobytes(), np.uint8)


def requantize(model: Any, subgraph: int, tensor: int, factor: float, offset: int) -> None:
    quantization = model.subgraphs[subgraph].tensors[tensor].quantization
    quantization.scale = [scale * factor for scale in quantization.scale]
    if offset:
        quantization.zeroPoint = [min(127, zero + offset) for zero in quantization.zeroPoint]


def drop_activation(model: Any, subgraph: int, operator: int) -> None:
    model.subgraphs[subgraph].operators[operator].builtinOptions.fusedActivationFunction = 0


def swap_operands(model: Any, subgraph: int, operator: int) -> None:
    changed = model.subgraphs[subgraph].operators[operator]
    one, two, *others = changed.inputs
    changed.inputs = [two, one, *others]


def set_option(model: Any, subgraph: int, operator: int, name: str, value: Any) -> None:
    setattr(model.subgraphs[subgraph].operators[operator].builtinOptions, name, value)


def swap_constants(model: Any, subgraph: int, one: int, other: int) -> None:
    """Two tensors of one dtype and shape have each other's elements."""
    tensors = model.subgraphs[subgraph].tensors
    tensors[one].buffer, tensors[other].buffer = tensors[other].buffer, tensors[one].buffer


def drop_operator(model: Any, subgraph: int, operator: int) -> None:
    """What it made is its first input."""
    graph = model.subgraphs[subgraph]
    dropped = graph.operators.pop(operator)
    for index in dropped.outputs:
        for other in graph.operators:
            other.inputs = [dropped.inputs[0] if given == index else given for given in other.inputs]


def rewire_output(model: Any, key: str, tensor: int) -> None:
    """The signature's first output is another tensor."""
    definition = _definition(model, key)
    graph = model.subgraphs[definition.subgraphIndex]
    graph.outputs = [tensor if index == definition.outputs[0].tensorIndex else index for index in graph.outputs]
    definition.outputs[0].tensorIndex = tensor


def flip_bits(model: Any) -> None:
    """The highest bits below the sign, of every element of the largest constant."""
    constant = [each for each in model.subgraphs[0].tensors if model.buffers[each.buffer].data is not None]
    largest = max(constant, key=lambda each: len(model.buffers[each.buffer].data))
    # FLOAT32, FLOAT16, INT32, INT64, INT8 and INT4 of schema.fbs's TensorType.
    buffer, step = model.buffers[largest.buffer], {0: 4, 1: 2, 2: 4, 4: 8, 9: 1, 17: 1}[largest.type]
    content = bytearray(buffer.data)
    for place in range(step - 1, len(content), step):
        content[place] ^= 0x40
    buffer.data = np.frombuffer(bytes(content), np.uint8)


def flip_bit(model: Any, buffer: int, bit: int) -> None:
    content = bytearray(model.buffers[buffer].data)
    content[bit // 8] ^= 1 << bit % 8
    model.buffers[buffer].data = np.frombuffer(bytes(content), np.uint8)


def each_place(model: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """A harm for each place of a file's first subgraph where one bit, number or index can be another: (change, arguments)."""
    rng, graph = np.random.default_rng(1), model.subgraphs[0]
    constant = [i for i, tensor in enumerate(graph.tensors) if len(_data(model, tensor))]
    for buffer in sorted({graph.tensors[index].buffer for index in constant}):
        for bit in rng.integers(8 * len(model.buffers[buffer].data), size=4):
            yield "flip_bit", (buffer, int(bit))
    for one, other in combinations(constant, 2):
        alike = _kind(graph.tensors[one]) == _kind(graph.tensors[other])
        if alike and bytes(_data(model, graph.tensors[one])) != bytes(_data(model, graph.tensors[other])):
            yield "swap_constants", (0, one, other)
    for index, tensor in enumerate(graph.tensors):
        if tensor.quantization is not None and tensor.quantization.scale is not None:
            yield "requantize", (0, index, *((1.5, 0) if index in constant else (0.5, 0)))
            if index not in constant:
                yield "requantize", (0, index, 16.0, 0)
                yield "requantize", (0, index, 1.0, 255)
    for number, operator in enumerate(graph.operators):
        yield "drop_operator", (0, number)
        if len(operator.inputs) > 1 and operator.inputs[0] != operator.inputs[1]:
            yield "swap_operands", (0, number)
        for name, value in sorted(vars(operator.builtinOptions).items() if operator.builtinOptions else ()):
            if isinstance(value, int | float) and name not in _OF_KERNELS:
                yield "set_option", (0, number, name, not value if isinstance(value, bool) else value + 1)
    end = _definition(model, KEY).outputs[0].tensorIndex
    made = [index for operator in graph.operators for index in operator.outputs if index != end]
    yield from (("rewire_output", (KEY, i)) for i in made if graph.tensors[i].type == graph.tensors[end].type)


def each_grid_in_loops(model: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Each grid of a loop's or branch's own values with its zero point moved by half the range, and its scale other than it is."""
    for number, graph in enumerate(model.subgraphs[1:], start=1):
        for index, tensor in enumerate(graph.tensors):
            if len(_data(model, tensor)) or tensor.quantization is None or tensor.quantization.scale is None:
                continue
            yield "requantize", (number, index, 1.0, -128 if tensor.quantization.zeroPoint[0] >= 0 else 128)
            yield "requantize", (number, index, 2.5, 0)
            yield "requantize", (number, index, 0.4, 0)


_OF_KERNELS = ("asymmetricQuantizeInputs", "quantizedBiasType", "potScaleInt16", "weightsFormat")
"""Options that change how a kernel computes, and not what."""


def _data(model: Any, tensor: Any) -> Any:
    data = model.buffers[tensor.buffer].data
    return data if data is not None else ()


def _kind(tensor: Any) -> tuple[int, list[int]]:
    return tensor.type, list(tensor.shape) if tensor.shape is not None else []


def unseen(
    folder: Path, variant: str, saved_model: Path, inputs: Any, place: Path, harms: str = "each_place"
) -> tuple[int, list[str]]:
    """How many such harms there are of a variant, and those that change what it computes and its soundness does not show."""
    from converters.contract.errors import Damaged
    from converters.reference import sound
    from converters.targets.tflite import sound as tflite_sound

    shutil.copytree(folder, place, dirs_exist_ok=True)
    content = (folder / f"{variant}.tflite").read_bytes()
    artifact = Artifact(target="tflite", variant=variant, signature=KEY, path=place / f"{variant}.tflite")
    found, places = [], list(globals()[harms](flatbuffer.parse(content)))
    for change, arguments in places:
        assert artifact.path is not None
        artifact.path.write_bytes(content)
        edit_tflite(artifact.path, change, *arguments)
        try:
            soundness = tflite_sound.soundness(artifact, saved_model, inputs)
        except Damaged:
            continue
        passes = all(finding.status == "passed" for finding in sound.check(soundness, "", calibrated=True))
        files = content, artifact.path.read_bytes(), (folder / "float32.tflite").read_bytes()
        if passes and (harms == "each_place" or _changes(*files, inputs)):
            found.append(f"{change} {arguments}")
    return len(places), found


_COARSER = 3.0
"""Times the noise of a right file that a harmed one has where more than the precision of a value is another."""


def _changes(content: bytes, harmed: bytes, float32: bytes, inputs: Any) -> bool:
    right, wrong, wanted = (_outputs(each, inputs) for each in (content, harmed, float32))
    return bool(np.sqrt(np.mean((wrong - wanted) ** 2)) > _COARSER * np.sqrt(np.mean((right - wanted) ** 2)))


def _outputs(content: bytes, inputs: Any) -> Any:
    import tensorflow as tf

    runner = tf.lite.Interpreter(model_content=content).get_signature_runner(KEY)
    made = runner(**ends.taken(inputs, runner.get_input_details()))
    numbers = ends.returned(made, runner.get_output_details())
    return np.concatenate([np.ravel(value) for _, value in sorted(numbers.items())])


BATTERY: dict[str, tuple[str, tuple[Any, ...]]] = {
    "bits flipped": ("flip_bits", ()),
    "signature renamed": ("rename_tflite_signature", (KEY, "digest")),
    "input renamed": ("rename_tflite_input", (KEY, "sound")),
    "outputs swapped": ("swap_tflite_outputs", (KEY,)),
    "dtype changed": ("set_tflite_dtype", (KEY, 2)),
    "batch fixed": ("fix_tflite_batch", (KEY, 1)),
}


def main_file(artifact: Path, variant: str) -> Path:
    """What the interpreter opens."""
    return artifact


def harm(artifact: Path, variant: str, what: str) -> None:
    """Harm it in one way of the battery."""
    change, arguments = BATTERY[what]
    edit_tflite(artifact, change, *arguments)
