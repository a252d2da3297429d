"""A signature's graph without variables and function calls, in which every tensor can be read and differentiated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from converters.formats import graph, internals_tf
from converters.formats.graph import node_of


@dataclass(frozen=True, eq=False)
class Flat:
    """A GraphDef with shapes, and the signature's inputs in it: names -> tensors ("node:0")."""

    graph_def: Any
    inputs: Mapping[str, str]


def of_concrete(concrete: Any, inputs: Mapping[str, str]) -> Flat:
    """Of a traced function, whose inputs keep their names. Raises whatever TensorFlow does."""
    return Flat(internals_tf.frozen_function(concrete).graph.as_graph_def(add_shapes=True), inputs)


def of_session(session: Any, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Flat:
    """Of a graph in a session, between its tensors. Raises whatever TensorFlow does."""
    import tensorflow as tf

    v1 = tf.compat.v1
    names = sorted({node_of(name) for name in outputs.values()})
    definition = v1.graph_util.extract_sub_graph(session.graph.as_graph_def(), names)
    graph.drop_unused_functions(definition)
    frozen = v1.graph_util.convert_variables_to_constants(session, definition, names)
    for node in graph.nodes(frozen):
        node.device = ""
    wrapped = v1.wrap_function(lambda: tf.import_graph_def(frozen, name=""), [])
    feeds, fetches = ([wrapped.graph.get_tensor_by_name(name) for name in side.values()] for side in (inputs, outputs))
    return of_concrete(wrapped.prune(feeds, fetches), inputs)
