"""Running a TF Lite file in LiteRT.js, in headless Chromium: in WebAssembly, and in WebGPU where the machine has a GPU.

LiteRT.js takes files of fixed sizes alone. What else it cannot run is a limit of its own, since LiteRT is asked too.
"""

from collections.abc import Sequence
from pathlib import Path

from converters.contract.errors import ChildDied
from converters.contract.target import Cases
from converters.contract.values import Artifact, Ends, Prediction, Signature, Tensors
from converters.javascript import programs, runner
from converters.javascript.messages import Request
from converters.targets.tflite import ends, flatbuffer

NAME = "litert-js"
PROGRAM = "litert.js"
NO_GPU = " without a GPU"
"""How js/litert.mjs ends the description of a browser that has no WebGPU, or one in software."""


def takes(signatures: dict[str, Signature]) -> bool:
    """Whether LiteRT.js loads a file of these: it looks at every signature, and allocates every output before a call."""
    specs = [spec for each in signatures.values() for spec in (*each.inputs.values(), *each.outputs.values())]
    return all(spec.shape is not None and None not in spec.shape for spec in specs)


def find() -> Path:
    """Chromium. Raises MissingRuntime where it, Node or LiteRT.js is not on this machine."""
    programs.find_node()
    programs.litert_js_version()
    return programs.find_chromium()


def run(artifacts: Sequence[Artifact], cases: Cases, seconds: float) -> list[Prediction]:
    """What WebAssembly makes of each, and WebGPU too, if there is a GPU. Raises MissingRuntime."""
    path = artifacts[0].path
    assert path is not None
    with flatbuffer.reading(path) as model:
        scales = ends.quantized(model)
    keys = [artifact.signature or "" for artifact in artifacts]
    requests = [request(path, key, scales[key], cases[key]) for key in keys]
    answers = _answers("litert-wasm", requests)
    if not all(answer.runtime.endswith(NO_GPU) for answer in answers):
        pairs = zip(answers, _answers("litert-webgpu", requests), strict=True)
        answers = [answer.model_copy(update={"also": [*answer.also, other]}) for answer, other in pairs]
    return [numbers(answer, scales[key]) for key, answer in zip(keys, answers, strict=True)]


def request(path: Path, key: str, scales: Ends, calls: Sequence[Tensors]) -> Request:
    """What a page is asked: calls of a signature, whose numbers the file may take as integers."""
    taken = [ends.taken(inputs, ends.details(scales.inputs)) for inputs in calls]
    return Request(path, "tflite", taken, signature=key)


def _answers(runtime: runner.LiteRT, requests: Sequence[Request]) -> list[Prediction]:
    """Errors are limits: also of a page that died."""
    try:
        answers = runner.run(runtime, requests, seconds=None)
    except ChildDied as error:
        answers = [Prediction(runtime=runtime, error=str(error)) for _ in requests]
    return [answer.model_copy(update={"lacks": answer.error is not None}) for answer in answers]


def numbers(answer: Prediction, scales: Ends) -> Prediction:
    """The answer with the numbers that its integers stand for."""
    outputs = [ends.returned(each, ends.details(scales.outputs)) for each in answer.outputs]
    return answer.model_copy(update={"outputs": outputs, "also": [numbers(each, scales) for each in answer.also]})
