"""Does a converted file run? What its kernels refuse as they are prepared or run shows while another route can be taken."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from converters.contract.errors import said
from converters.contract.values import Frozen, Signature, Tensors
from converters.targets.tflite import ends, flatbuffer, kernels


class Problem(Frozen):
    """Why a file does not compute its signatures. One that is `known` is a kernel's limit, whatever the inputs are."""

    sentence: str
    known: bool


def problem(
    content: bytes,
    keys: Sequence[str],
    signatures: Mapping[str, Signature],
    samples: Iterable[tuple[str, Tensors]] | None,
) -> Problem | None:
    """What keeps TF Lite from computing any of the signatures, each with its first sample, if it has one.

    Without `samples` (None) the file is looked at, and not run.

    The interpreter is LiteRT's, whose kernels are newer, or TensorFlow's own where there are select TF ops.
    """
    model = flatbuffer.parse(content)
    written = flatbuffer.definitions(model).keys() & set(keys)
    for key in sorted(written):
        if (why := kernels.cannot(model, key, signatures[key])) is not None:
            return Problem(sentence=why, known=True)
    if samples is None:
        return None
    try:
        _run(content, written, samples)
    except (ValueError, RuntimeError, TypeError) as error:
        return Problem(sentence=f"TF Lite does not run what it was converted to: {said(error)}", known=False)
    return None


def _run(content: bytes, written: Iterable[str], samples: Iterable[tuple[str, Tensors]]) -> None:
    interpreter: Any = flatbuffer.interpreter(flatbuffer.parse(content))(model_content=content)
    waiting = set(written)  # each is prepared by its own runner, for the sizes of its sample
    for key, sample in samples:
        if key in waiting:
            waiting.remove(key)
            # The calibrator is given strings in NumPy's own type, and a runner in Python's.
            fed = {name: value.astype(object) if value.dtype.kind == "S" else value for name, value in sample.items()}
            runner = interpreter.get_signature_runner(key)
            runner(**ends.taken(fed, runner.get_input_details()))
        if not waiting:
            break
