"""Reading a servable back, and running it in TensorFlow's C++ loader."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from converters.contract.errors import Damaged
from converters.contract.target import Cases
from converters.contract.values import Artifact, Prediction, Structure, Tensors
from converters.targets.saved_model import check
from converters.targets.serving import model_server
from converters.targets.serving.layout import WARMUP
from converters.targets.serving.warmup import requests as warmup_requests

if TYPE_CHECKING:
    from converters.targets.saved_model.c_api import Model

_WARMUP_RUNTIME = "warmup replay"


def inspect(artifact: Artifact) -> Structure:
    """The signatures of the servable, whose directory must be named as the ModelServer wants it."""
    assert artifact.path is not None
    if not (artifact.path.name.isdigit() and int(artifact.path.name) > 0):
        raise Damaged(f"{artifact.path.name!r} is no version: the ModelServer loads directories named 1, 2, 3, ...")
    others = [found.name for found in artifact.path.parent.iterdir() if found.name.isdigit() and found != artifact.path]
    if others:
        listed = ", ".join(sorted(others, key=int))
        raise Damaged(f"beside version {artifact.path.name} is {listed}: the ModelServer would load the newest of them")
    structure = check.inspect(artifact)
    return structure.model_copy(update={"runtimes": ("c-loader", "warmup", model_server.NAME)})


def replay(artifacts: Sequence[Artifact], cases: Cases, seconds: float) -> list[Prediction]:
    """Run the servable on the inputs in its own warmup requests.

    Raises Damaged where a warmup request is for no signature of the servable: the ModelServer sends them all, and gives
    up loading when one fails.
    """
    assert artifacts[0].path is not None
    recorded = warmup_requests(artifacts[0].path / WARMUP)
    with check.loaded(artifacts[0].path) as model:
        unknown = recorded.keys() - model.signatures.keys() - model.refused.keys()
        if unknown:
            listed = ", ".join(map(repr, sorted(unknown)))
            raise Damaged(f"{WARMUP.name} holds a request for signature {listed}, which the servable lacks")
        return [_replayed(model, artifact.signature or "", recorded, cases) for artifact in artifacts]


def _replayed(model: "Model", key: str, recorded: Mapping[str, Tensors], cases: Cases) -> Prediction:
    """What the servable returns for its own request, which must be golden's last case."""
    if key not in recorded:
        return Prediction(runtime=_WARMUP_RUNTIME, error=f"no warmup request is for signature {key!r}")
    try:
        outputs = [model.run(key, recorded[key])]
    except Damaged as error:
        return Prediction(runtime=_WARMUP_RUNTIME, error=str(error))
    return Prediction(runtime=_WARMUP_RUNTIME, outputs=outputs, answered=(len(cases[key]) - 1,))
