"""How a TF Lite file is harmed. All of it runs in a child process."""

from pathlib import Path
from typing import Any

import numpy as np
from battery_model import KEY

from converters.targets.tflite import flatbuffer


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


def flip_bits(model: Any) -> None:
    """The highest bits below the sign, of every element of the largest constant."""
    constant = [each for each in model.subgraphs[0].tensors if model.buffers[each.buffer].data is not None]
    largest = max(constant, key=lambda each: len(model.buffers[each.buffer].data))
    buffer, step = model.buffers[largest.buffer], {0: 4, 1: 2, 9: 1}[largest.type]  # TensorType: FLOAT32, FLOAT16, INT8
    content = bytearray(buffer.data)
    for place in range(step - 1, len(content), step):
        content[place] ^= 0x40
    buffer.data = np.frombuffer(bytes(content), np.uint8)


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
