"""Is a lossy TF Lite file converted right? Its constants and layers against those of the same model's float32 file.

Nothing of it depends on what the model's inputs are like. The reference is the float32 file of the same release, which may
be damaged itself: what does not agree with it is judged again by one that is converted anew.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from converters.contract.errors import Damaged
from converters.contract.soundness import GridFit, LayerNoise, Soundness
from converters.contract.values import Artifact, Tensors
from converters.reference import sound
from converters.targets.tflite import flatbuffer, grids, matching, noise, reference, weights
from converters.targets.tflite.graph import CASTS
from converters.targets.tflite.matching import Pair
from converters.targets.tflite.options import WEIGHTS_ALONE, TFLiteOptions
from converters.targets.tflite.running import Known, Running

SAMPLES = 2
"""Samples of a batch that layers are given: each of them is thousands of numbers, unless the model is tiny."""
BYTES = 2**27
"""Of a graph's values for these samples; where they take more, a single one has to do."""


RANGE_BYTES = 2**27
"""Bytes of values from which ranges are known well enough: five images of MobileNetV2."""

RANGE_STEPS = 1000
"""The same for runs of a graph and its loops: 24 samples of an RNN of 20 steps."""


def soundness(artifact: Artifact, saved_model: Path, inputs: Tensors) -> Soundness:
    """How the file's constants and layers stand to the model's, for one signature. Runs in a child process.

    `inputs` are of one call, of which SAMPLES samples are used where the batch is dynamic.

    Raises:
        Damaged: the file cannot be read as what it is or run, or there is no float32 graph to compare it with.
    """
    path, key = artifact.path, artifact.signature or ""
    assert path is not None
    with flatbuffer.reading(path) as deployed:
        if TFLiteOptions.kind_of(artifact.variant) == WEIGHTS_ALONE and (problems := _of_activations(deployed, key)):
            return Soundness(problems=problems)
        beside = reference.beside(path)
        if beside.is_file() and (found := _by(deployed, beside, key, inputs)) is not None:
            return found
        return _against(deployed, flatbuffer.parse(reference.converted(saved_model, path, key)), key, inputs)


def _of_activations(deployed: Any, key: str) -> list[str]:
    """A sentence for each operator that reads quantized weights as they are: its kernel rounds its float inputs too."""
    return [
        f"{op} {subgraph.tensors[operator.outputs[0]].name.decode()!r} rounds its inputs to 8 bits, in a file of weights alone"
        for op, operator, subgraph in flatbuffer.operators(deployed, key)
        if op not in CASTS
        and {"INT8", "FLOAT32"} <= {flatbuffer.dtype_name(subgraph.tensors[i].type) for i in operator.inputs if i >= 0}
    ]


def _by(deployed: Any, beside: Path, key: str, inputs: Tensors) -> Soundness | None:
    """By another file of the release, if it is sound by that."""
    try:
        with flatbuffer.reading(beside) as model:
            found = _against(deployed, model, key, inputs)
    except Damaged:  # it is not known which of the two is
        return None
    return found if all(finding.status == "passed" for finding in sound.check(found, "")) else None


def _against(deployed: Any, model: Any, key: str, inputs: Tensors) -> Soundness:
    pairs = matching.pairs(deployed, model, key)
    problems = [problem for pair in pairs for problem in (*pair.problems, *grids.problems(pair))]
    if problems:
        return Soundness(problems=problems)
    entries = {int(entry.tensorIndex): entry.name.decode() for entry in flatbuffer.definitions(model)[key].inputs}
    given = {index: inputs[name] for index, name in entries.items()}
    dynamic = flatbuffer.signatures(model)[key].dynamic_batch
    runs = Running(pairs[0].reference)
    enough = SAMPLES if flatbuffer.samples_held(model, key, inputs, BYTES) >= SAMPLES else 1
    layers = _layers(pairs, runs, {index: value[:enough] for index, value in given.items()} if dynamic else given)
    # Without operators outputs are inputs, and were found to be the right ones.
    ends = [LayerNoise(layer=name, op="output", ratio=0.0) for name in flatbuffer.signatures(model)[key].outputs]
    fits = _grids(pairs, runs, _one_by_one(given) if dynamic else iter([given]))
    numbers = [pair.reference.number for pair in pairs]
    idle = [f"nothing ran {pair.reference.name!r}" for pair in pairs if pair.reference.number not in runs.ran]
    return Soundness(
        weights=[error for pair in pairs for error in weights.errors(pair)],
        layers=layers or ends,
        grids=fits,
        partly=[*dict.fromkeys(runs.partly[number] for number in numbers if number in runs.partly), *idle],
    )


def _layers(pairs: Sequence[Pair], runs: Running, inputs: Known) -> list[LayerNoise]:
    noises = [noise.Noise(pair) for pair in pairs]
    for number, known in runs.values(inputs):
        for each in noises:
            if each.pair.reference.number == number:
                each.see(known)
    return [layer for each in noises for layer in each.layers()]


def _grids(pairs: Sequence[Pair], runs: Running, samples: Iterator[Known]) -> list[GridFit]:
    if not any(grids.any_in(pair) for pair in pairs):
        return []
    spans: dict[int, dict[int, grids.Span]] = {}
    size = steps = 0
    for sample in samples:
        for number, known in runs.values(sample):
            grids.widen(spans.setdefault(number, {}), known)
            size, steps = size + sum(value.nbytes for value in known.values()), steps + 1
        if size > RANGE_BYTES or steps > RANGE_STEPS:
            break
    return [
        fit
        for pair in pairs
        for fit in grids.fits(pair, spans.get(pair.reference.number, {}), partly=pair.reference.number in runs.partly)
    ]


def _one_by_one(given: Known) -> Iterator[Known]:
    """Single samples, as calibration has them: a model may make other values of a sample in a batch."""
    for number in range(len(next(iter(given.values())))):
        yield {index: value[number : number + 1] for index, value in given.items()}
