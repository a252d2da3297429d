"""Lists of tensors that loops fill, kept alive.

When a function's body has run, tensorflow.js frees every tensor that a node of it made, but for what the body returns, even
those that were put into a list which lives on (tfjs-converter/src/executor/graph_executor.ts, _executeAsync, frees without
looking at `kept`). Whether the list's elements are among what is returned depends on the order in which nodes happened to
run. So each loop is made to return them: a variable of the loop that nobody reads.
"""

from collections.abc import Iterator
from typing import Any

from converters.formats.graph import functions, node_of, nodes

_LOOPS = frozenset({"While", "StatelessWhile"})
_FILL = {"TensorListSetItem": 2, "TensorListPushBack": 1}
"""Ops that put a tensor into a list -> which of their inputs it is."""


def keep(graph: Any) -> None:
    """Have the GraphDef's loops return what their bodies put into lists, in place."""
    library = functions(graph)
    bodies: dict[str, list[tuple[str, int]]] = {}
    for loop in [node for node in nodes(graph) if node.op in _LOOPS]:
        body, condition = (library[loop.attr[name].func.name] for name in ("body", "cond"))
        name = body.signature.name
        if name not in bodies:
            bodies[name] = list(_put(body))
            for number, (tensor, dtype) in enumerate(bodies[name]):
                for function in (body, condition):
                    argument = function.signature.input_arg.add(name=f"kept_{number}")
                    argument.type = dtype
                result = body.signature.output_arg.add(name=f"keeps_{number}")
                result.type = dtype
                body.ret[result.name] = tensor
        _give(graph, loop, [dtype for _, dtype in bodies[name]], within=_owner(graph, loop))


def _put(body: Any) -> Iterator[tuple[str, int]]:
    """The tensors that a body puts into lists, with their dtypes; none that are its arguments."""
    made = {node.name for node in body.node_def}
    seen = set()
    for node in body.node_def:
        if node.op in _FILL:
            tensor = node.input[_FILL[node.op]]
            if node_of(tensor) in made and tensor not in seen:
                seen.add(tensor)
                yield tensor, node.attr["element_dtype"].type


def _owner(graph: Any, loop: Any) -> Any:
    """The function that a loop is in; None where it is in the graph itself."""
    return next((each for each in graph.library.function if any(node is loop for node in each.node_def)), None)


def _give(graph: Any, loop: Any, dtypes: list[int], within: Any) -> None:
    """Initial values for the variables that were added: zeros."""
    import tensorflow as tf

    for number, dtype in enumerate(dtypes):
        place = graph.node if within is None else within.node_def
        zero = place.add(name=f"{loop.name}/kept_{number}", op="Const")
        zero.attr["dtype"].type = dtype
        zero.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(0, tf.as_dtype(dtype)))
        end = next((i for i, name in enumerate(loop.input) if name.startswith("^")), len(loop.input))
        loop.input.insert(end, zero.name if within is None else f"{zero.name}:output:0")
        loop.attr["T"].list.type.append(dtype)
        if "output_shapes" in loop.attr and loop.attr["output_shapes"].list.shape:
            loop.attr["output_shapes"].list.shape.add().unknown_rank = True
