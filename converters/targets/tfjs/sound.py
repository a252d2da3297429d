"""Is a quantized graph model converted right? It must be the float graph model, with weights rounded and nothing else.

Nothing of it depends on what the model's inputs are like. The reference is the float graph model of the same release, which
may be damaged itself or still be written: what does not agree with it is judged again by one that is converted anew. What
a runtime makes of the weights is seen by another float model, which holds the file's own weights, dequantized here.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.contract.errors import Damaged, Unsupported, raised
from converters.contract.soundness import Soundness, WeightError
from converters.contract.values import Artifact, Prediction, Tensors
from converters.javascript import messages, runner
from converters.processes import resident
from converters.reference import sound
from converters.targets.tfjs import graph_model, matching, weights
from converters.targets.tfjs.weights import Weight

REFERENCE = "graph"
"""The variant that loses nothing."""


@dataclass(frozen=True)
class _Model:
    document: Any
    weights: Mapping[str, Weight]


def soundness(artifact: Artifact, saved_model: Path, inputs: Tensors) -> Soundness:
    """How the graph model of one signature stands to the float one; `inputs` are of one call. Runs in a child process.

    Raises:
        Damaged: the file cannot be read, there is no float graph model, or tensorflow.js does not run that.
        MissingRuntime, ChildDied: as `runner.run`.
    """
    path, key = artifact.path, artifact.signature or ""
    assert path is not None
    deployed = _read(path)
    reference, found = _beside(deployed, path.parents[2] / REFERENCE / path.parent.name / path.name)
    if reference is None or not _holds(found):
        reference = _converted(saved_model, key)
        found = _against(deployed, reference)
    if not _holds(found):
        return found
    twin, model = _computed([deployed, reference], inputs)
    return found.model_copy(update={"lossless": REFERENCE, "twin": twin, "model": model})


def _holds(found: Soundness) -> bool:
    if not found.weights:
        return not found.problems
    return all(finding.status == "passed" for finding in sound.check(found, ""))


def _read(path: Path) -> _Model:
    try:
        document = json.loads(path.read_text())
        return _Model(document, weights.read(document, path.parent))
    except (OSError, KeyError, TypeError, ValueError, NotImplementedError) as error:
        raise Damaged(f"{path.name} cannot be read: {raised(error)}") from error


def _beside(deployed: _Model, path: Path) -> tuple[_Model | None, Soundness]:
    """The float graph model of the release and what it says of the file, where it can be read."""
    try:
        reference = _read(path)
        return reference, _against(deployed, reference)
    except Damaged:  # there is none, it is being written, or it has a row of its own that says so
        return None, Soundness()


def _converted(saved_model: Path, key: str) -> _Model:
    """The signature's float graph model, which a child that stays makes once. Raises Damaged."""
    kept, name = resident.own(), f"{REFERENCE} of {saved_model} of {saved_model.stat().st_mtime_ns} {key}"
    if kept is not None and name in kept:
        made: _Model = kept[name]
        return made
    with tempfile.TemporaryDirectory(prefix="fanout-tfjs-") as scratch:
        try:
            graph_model.write(saved_model, REFERENCE, key, Path(scratch))
        except Unsupported as error:
            raise Damaged(f"there is no float graph model to compare with: {error}") from error
        made = _read(Path(scratch) / "model.json")
    if kept is not None:
        kept[name] = made
    return made


def _against(deployed: _Model, reference: _Model) -> Soundness:
    """Raises Damaged."""
    try:
        matched = matching.match(deployed.document, reference.document)
        errors = [
            WeightError(name=name, steps=weights.steps(deployed.weights[name], reference.weights[other]))
            for name, other in matched.weights
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Damaged(f"model.json is no graph model: {raised(error)}") from error
    return Soundness(weights=errors, problems=matched.problems)


def _computed(models: list[_Model], inputs: Tensors) -> list[Prediction]:
    """What tensorflow.js computes with each model's weights as floats. Raises Damaged."""
    with tempfile.TemporaryDirectory(prefix="fanout-tfjs-") as scratch:
        requests = []
        for number, model in enumerate(models):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            document = {**model.document, "weightsManifest": weights.write(model.weights, folder)}
            (folder / "model.json").write_text(json.dumps(document))
            requests.append(messages.Request(folder / "model.json", "graph", [inputs], timed=False))
        answers = runner.run("node-wasm", requests, seconds=None)
        if any(answer.lacks for answer in answers):
            answers = runner.run("node-cpu", requests, seconds=None)
    for answer in answers:
        if answer.error is not None:
            raise Damaged(f"the float graph model does not run in {answer.runtime}: {answer.error}")
    return answers
