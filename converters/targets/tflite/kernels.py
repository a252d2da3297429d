"""Kernels of TF Lite that compute something else than TensorFlow's ops of their name, or not all of it."""

from typing import Any

from converters.contract.values import Signature, TensorSpec
from converters.targets.tflite import flatbuffer

_SUPPRESSION = ("NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5")


def cannot(model: Any, key: str, expected: Signature) -> str | None:
    """Why TF Lite does not compute a signature of the file whatever its inputs are; None where nothing is known."""
    for op, operator, subgraph in flatbuffer.operators(model, key):
        if op == "RFFT2D" and (length := _refused_length(model, operator, subgraph)) is not None:
            return (
                f"TF Lite's RFFT2D takes lengths that are powers of two (tensorflow/lite/kernels/rfft2d.cc), and one here is "
                f"{length}; choose such a length, or do this part outside the model"
            )
        if op in _SUPPRESSION and (output := _padded(flatbuffer.signatures(model)[key], expected)) is not None:
            return (
                f"TF Lite's {op} returns its largest number of entries, padded, where output {output!r} of the model has as "
                "many as are kept; pad them in the model (tf.image.non_max_suppression_padded), or do this part outside it"
            )
    return None


def note(model: Any, key: str) -> str | None:
    """What is to be known of a signature's kernels; it is for the checks to find whether it matters."""
    padding: set[str] = set()
    keeping: set[str] = set()
    for op, operator, subgraph in flatbuffer.operators(model, key):
        padding |= {op} & {*_SUPPRESSION}
        keeping |= {op for index in operator.inputs if index >= 0 and subgraph.tensors[index].isVariable}
    notes = [f"{', '.join(sorted(padding))} returns its largest number of entries, padded"] if padding else []
    if keeping:
        how = "call the interpreter's reset_all_variables after each"
        notes.append(f"{', '.join(sorted(keeping))} keeps its state from call to call: {how}")
    return "; ".join(notes) or None


def _refused_length(model: Any, operator: Any, subgraph: Any) -> int | None:
    lengths = flatbuffer.constant(model, subgraph, operator.inputs[1])
    odd = [int(length) for length in lengths if length & (length - 1)] if lengths is not None else []
    return odd[0] if odd else None


def _padded(declared: Signature, expected: Signature) -> str | None:
    """An output with a dimension that the model leaves to the values: all inputs are of fixed shape, or the file fixes it."""
    fixed = all(_fixed(spec) for spec in expected.inputs.values())
    for name, spec in expected.outputs.items():
        held = declared.outputs[name].shape if name in declared.outputs else None
        pairs = zip(spec.shape or (), held or (), strict=False)
        if not _fixed(spec) and (fixed or any(size is None and has is not None for size, has in pairs)):
            return name
    return None


def _fixed(spec: TensorSpec) -> bool:
    return spec.shape is not None and None not in spec.shape
