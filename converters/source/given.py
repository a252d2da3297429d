"""A SavedModel that somebody handed over, as a live model."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput, Damaged, raised
from converters.contract.values import SERVE, Signature, Tensors
from converters.formats import saved_model
from converters.reference import dataflow, hints
from converters.source.live import Endpoint, Live


def from_saved_model(path: Path, spec: ModelSpec) -> Live:
    """A SavedModel's signatures, run in a session.

    The TF 1 loader runs every SavedModel, those of TF 2 and those that `tf.saved_model.load` refuses (reference
    variables behind a signature) alike.
    """
    import tensorflow as tf

    try:
        definition = saved_model.read(path)
    except Damaged as error:
        raise BadInput(str(error)) from error
    known, refused = _known_signatures(definition, spec, path)
    if saved_model.lacks_values(definition, path):
        raise BadInput(f"{path} cannot be loaded: it has variables, but {saved_model.VALUES} is missing")
    session = tf.compat.v1.Session(graph=tf.Graph())
    try:
        with session.graph.as_default(), tf.device("/cpu:0"):
            tf.compat.v1.saved_model.load(session, list(definition.meta_info_def.tags) or [SERVE], str(path))
    except Exception as error:  # the loader raises OSError, ValueError, and every tf.errors.OpError
        raise BadInput(f"{path} cannot be loaded: {raised(error, 400)}") from error
    # Before any other op is added; shapes as the loader infers them.
    scope = dataflow.root(session.graph.as_graph_def(add_shapes=True))

    def endpoint(key: str) -> Endpoint:
        signature = definition.signature_def[key]
        names = {name: info.name for name, info in signature.inputs.items()}

        def call(tensors: dict[str, Any]) -> dict[str, Any]:
            feeds = {names[name]: np.asarray(value) for name, value in tensors.items()}
            fetched: Tensors = session.run({n: info.name for n, info in signature.outputs.items()}, feeds)
            return fetched

        return Endpoint(key, known[key].inputs, call, known[key], hints=lambda: hints.of_session(session, names, scope))

    @cache
    def loaded() -> Any:
        with tf.device("/cpu:0"):
            return tf.saved_model.load(str(path), tags=list(definition.meta_info_def.tags) or [SERVE])

    def differentiable(key: str) -> tuple[Callable[[dict[str, Any]], dict[str, Any]], list[Any]]:
        function = loaded().signatures[key]
        return lambda tensors: function(**tensors), list(function.variables)

    return Live(
        "saved_model",
        path,
        {key: endpoint(key) for key in known},
        refused=refused,
        differentiable=differentiable,
    )


def _known_signatures(definition: Any, spec: ModelSpec, path: Path) -> tuple[dict[str, Signature], dict[str, str]]:
    """The signatures to take, by key, and the reasons of those left out.

    Raises:
        BadInput: there are none, or the config names one that is not there or cannot be taken.
    """
    known, refused = saved_model.signatures(definition), saved_model.refused(definition)
    for key in spec.signatures:
        if key in refused:
            raise BadInput(f"signatures.{key}: {path}: {refused[key]}")
        if key not in known:
            raise BadInput(f"signatures.{key}: {path} has no such signature; it has {', '.join(known) or 'none'}")
    if not known:
        reasons = "".join(f"; {key!r} is left out: {reason}" for key, reason in refused.items())
        raise BadInput(
            f"{path} has no signatures{' that can be taken' if refused else ''}; export it with "
            f"tf.saved_model.save(..., signatures=...){reasons}"
        )
    return {key: known[key] for key in spec.signatures or known}, {} if spec.signatures else refused
