"""What a model is that may be deployed, before there is a config of it: as `fanout inspect` reads it, and as a deploy would."""

from typing import Any

from converters.config.spec import ModelSpec
from converters.contract.values import Frozen, Signature
from converters.formats import describing
from converters.source.bring_up import code_in
from converters.source.build import traced
from converters.source.live import Live
from converters.targets.describe import Description, describe


class Found(Frozen):
    """What was found.

    `code` is what it would do beside calculating, parts of a sentence; unless that is trusted nothing is loaded, and there are
    no `signatures`.
    """

    description: Description
    signatures: dict[str, Signature] = {}
    code: tuple[str, ...] = ()


def look(spec: ModelSpec) -> Found:
    """Read the model, then bring it up as a deploy does. Call it in a child process: a builder is run.

    Raises:
        BadInput: there is no model, or none that can be deployed; says why.
        BuilderFailed: the user's builder raised.
    """
    if spec.built_by_python:
        live = traced(spec)
        return Found(description=_of_live(live, spec.model), signatures=live.signatures)
    path = (spec.base / spec.model).resolve()
    description = describe(path)
    found = () if spec.trust_code else tuple(code_in(spec))
    return Found(description=description, code=found, signatures={} if found else traced(spec).signatures)


def _of_live(live: Live, path: str) -> dict[str, Any]:
    weights = live.weights().values()
    return {
        "path": path,
        "format": {"tf_keras": "Keras 2 model", "keras": "Keras 3 model"}.get(live.kind, "tf.Module"),
        "bytes": sum(int(value.nbytes) for value in weights),
        "class": type(live.model).__name__,
        "parameters": sum(int(value.size) for value in weights),
        "signatures": describing.signatures(live.signatures),
    }
