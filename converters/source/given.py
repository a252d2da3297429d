"""A SavedModel that somebody handed over, as a live model."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput, Damaged, raised
from converters.contract.values import Signature, Tensors
from converters.formats import flat, saved_model, savers, variables
from converters.formats.flat import Flat
from converters.formats.portable import leave_out_second_names
from converters.formats.variables import Variables
from converters.reference import coverage, dataflow, hints
from converters.reference.coverage import Coverage
from converters.reference.dataflow import Scope
from converters.reference.drawing import Hint
from converters.source import state
from converters.source.live import Endpoint, Live


def from_saved_model(path: Path, spec: ModelSpec) -> Live:
    """A SavedModel's signatures, run in a session.

    The TF 1 loader runs every SavedModel, those of TF 2 and those that `tf.saved_model.load` refuses (reference
    variables behind a signature) alike.
    """
    import tensorflow as tf

    try:
        meta_graph = saved_model.read(path, spec.tags)
    except Damaged as error:
        raise BadInput(str(error)) from error
    saved_model.require_names(meta_graph, path)
    savers.require_own_assets(meta_graph, path)
    leave_out_second_names(meta_graph)  # as in what is exported
    signatures, refused = _signatures(meta_graph, spec, path)
    if saved_model.lacks_values(meta_graph, path):
        raise BadInput(f"{path} cannot be loaded: it has variables, but {saved_model.VALUES} is missing")
    session = tf.compat.v1.Session(graph=tf.Graph())
    try:
        with session.graph.as_default(), tf.device("/cpu:0"):
            tf.compat.v1.saved_model.load(session, _tags(meta_graph), str(path))
    except Exception as error:  # the loader raises OSError, ValueError, and every tf.errors.OpError
        raise BadInput(f"{path} cannot be loaded: {raised(error, 400)}") from error
    # Before any other op is added; shapes as the loader infers them.
    scope = dataflow.root(session.graph.as_graph_def(add_shapes=True))
    endpoints: dict[str, Endpoint] = {
        key: _InSession(key, signature, meta_graph.signature_def[key], session, scope)
        for key, signature in signatures.items()
    }
    return _Given(path, endpoints, refused, meta_graph)


class _InSession(Endpoint):
    """A signature (and its SignatureDef) of a SavedModel that is loaded in a session, where nothing need be traced."""

    def __init__(self, key: str, signature: Signature, definition: Any, session: Any, scope: Scope) -> None:
        super().__init__(key, signature.inputs, self._run)
        self.signature = signature
        self._session, self._scope = session, scope
        self._inputs, self._outputs = (
            {name: info.name for name, info in side.items()} for side in (definition.inputs, definition.outputs)
        )

    def trace(self) -> None:
        """Find what its calls may write; the graph is there."""
        self.state = state.of_session(self._session, self._scope, self._outputs)

    def hints(self) -> dict[str, Hint]:
        """What the graph says of the inputs."""
        return hints.of_session(self._session, self._inputs, self._scope)

    def flat(self) -> Flat:
        """Its graph, flattened. Raises whatever TensorFlow does."""
        return flat.of_session(self._session, self._inputs, self._outputs)

    def _run(self, tensors: dict[str, Any]) -> dict[str, Any]:
        feeds = {self._inputs[name]: np.asarray(value) for name, value in tensors.items()}
        outputs: Tensors = self._session.run(self._outputs, feeds)
        return outputs


class _Given(Live):
    """The SavedModel at `model`. What a session runs cannot be differentiated, so it is loaded again for that."""

    def __init__(self, path: Path, endpoints: dict[str, Endpoint], refused: dict[str, str], meta_graph: Any) -> None:
        super().__init__("saved_model", path, endpoints, refused=refused)
        self._meta_graph = meta_graph

    def weights(self) -> Variables:
        """The values of its variables."""
        return variables.of_saved_model(self.model)

    def graphs(self) -> list[Any]:
        """What computes the signatures, and whatever else is in it."""
        return [self._meta_graph.graph_def]

    def function(self, endpoint: Endpoint) -> Any:
        """What computes an endpoint, as a tf.ConcreteFunction. Raises what TF 2's loader raises."""
        return self._loaded.signatures[endpoint.key]

    def reach(self, endpoint: Endpoint, inputs: Tensors) -> Coverage:
        """Which weights change an output of an endpoint for these inputs."""
        try:
            function = self.function(endpoint)
        except Exception as error:  # what a session runs, TF 2's loader may refuse in many ways
            return Coverage(problem=f"it cannot be loaded to be differentiated: {raised(error, 200)}")
        batched = endpoint.signature.dynamic_batch
        return coverage.measure(lambda tensors: function(**tensors), list(function.variables), inputs, batched=batched)

    @cached_property
    def _loaded(self) -> Any:
        import tensorflow as tf

        with tf.device("/cpu:0"):
            return tf.saved_model.load(str(self.model), tags=_tags(self._meta_graph))


def _tags(meta_graph: Any) -> list[str]:
    return list(meta_graph.meta_info_def.tags)


def _signatures(meta_graph: Any, spec: ModelSpec, path: Path) -> tuple[dict[str, Signature], dict[str, str]]:
    """The signatures to take, by key, and the reasons of those left out.

    Raises:
        BadInput: there are none, or the config names one that is not there or cannot be taken.
    """
    known, refused = saved_model.signatures(meta_graph), saved_model.refused(meta_graph)
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
