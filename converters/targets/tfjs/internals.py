"""All that is used of tensorflow.js's converter, and of what it loads, beside their public interfaces.

So an upgrade breaks in one place. The converter's are those of tensorflowjs 4.22, in `tf_saved_model_conversion_v2.py` and
`fold_batch_norms.py`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from converters.contract.values import SERVE
from converters.formats.graph import nodes
from converters.targets.tfjs import fusion


def load(saved_model: Path) -> Any:
    """The SavedModel as the converter loads it."""
    from tensorflowjs.converters import tf_saved_model_conversion_v2 as converter

    return converter._load_model(str(saved_model), [SERVE])


def lacking(graph: Any) -> set[str]:
    """The ops of a GraphDef that tensorflow.js has not."""
    from tensorflowjs.converters import tf_saved_model_conversion_v2 as converter

    ops: set[str] = converter.validate(graph, skip_op_check=False, strip_debug_ops=False)
    return ops | not_run(graph)


_NOT_RUN = frozenset({"RaggedGather", "RaggedRange", "RaggedTensorToTensor", "BitwiseAnd", "TensorListConcatV2"})
"""Ops that the converter lists and tensorflow.js 4.22 does not run: it never reads its table of ragged ones (tfjs-converter,
operation_mapper.ts), looks for BitwiseAnd's inputs by other names than its table's (logical_executor.ts), and for the shape of a
list's elements among the attributes, where V2 has an input (control_executor.ts)."""


def not_run(graph: Any) -> set[str]:
    """Those of a GraphDef's ops that the converter takes for tensorflow.js's, and that it has not."""
    return {node.op for node in nodes(graph)} & _NOT_RUN


def optimized(definition: Any, graph: Any, signature: Any, optimizers: Sequence[str]) -> Any:
    """A GraphDef after these of grappler's passes; `graph` is that of which its collections are, `signature` its ends'."""
    from tensorflow.core.protobuf import config_pb2
    from tensorflowjs.converters import tf_saved_model_conversion_v2 as converter

    for info in signature.outputs.values():  # grappler learns from this collection what is fetched
        graph.add_to_collection("train_op", graph.get_operation_by_name(info.name.split(":")[0]))
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.optimizers[:] = optimizers
    config.graph_options.rewrite_options.min_graph_nodes = -1
    return converter._run_grappler(config, definition, graph, signature)


def inputs(signature: Any) -> dict[str, Any]:
    """A loaded signature's tensors by name, paired as its own call does, one by one; what it captured follows them."""
    return dict(zip(signature._arg_keywords, signature.inputs, strict=False))


@contextmanager
def converting(
    loaded: Any,
    optimizing: Callable[[Any, Any], Any],
    extracting: Callable[[Any], None],
    extracted: Callable[[dict[str, Any]], None],
) -> Iterator[None]:
    """Until the end of the block the converter converts `loaded`, and shows the GraphDefs it is about to work on.

    `optimizing` gets the frozen graph and its SignatureDef, and returns the graph to convert; `extracting` may change the
    optimized one and that of the tables' initializer, `extracted` gets the weights of both by name, before they are quantized.

    The converter matches the signature's names with the graph's tensors by dtype and shape, so of two alike neither is
    named, and of two it takes for the same one is lost. Here tensors keep their own names.
    """
    from tensorflowjs.converters import tf_saved_model_conversion_v2 as converter

    optimize, extract, improve = converter.optimize_graph, converter.extract_weights, converter._run_grappler

    def optimizes(graph: Any, signature: Any, **kwargs: Any) -> Any:
        return optimize(optimizing(graph, signature), signature, **kwargs)

    def extracts(graph: Any, initializer: Any = None) -> Any:
        for each in (graph, initializer):
            if each is not None:
                extracting(each)
        groups = extract(graph, initializer)
        extracted({weight["name"]: weight["data"] for group in groups for weight in group})
        return groups

    def improves(*arguments: Any) -> Any:
        improved = improve(*arguments)
        fusion.split_whole(improved)  # before it is looked for ops that tensorflow.js has not
        return improved

    replaced: dict[str, Any] = {"_load_model": lambda *_: loaded, "optimize_graph": optimizes}
    replaced |= {
        "_find_signature_def_name": lambda tensor, _: tensor.name,
        "extract_weights": extracts,
        "_run_grappler": improves,
    }
    with mock.patch.multiple(converter, **replaced), folding_at_once():
        yield


@contextmanager
def folding_at_once() -> Iterator[None]:
    """Until the end of the block the converter folds batch normalisation into weights without looping over elements.

    It scales a kernel element by element in a Python loop over `numpy.nditer`, which for MobileNetV2 is most of a
    conversion. The loop's body holds for arrays as well as for numbers, so here it is run a single time, for all
    elements together. The result is the same to the last bit.
    """
    from tensorflowjs.converters import fold_batch_norms

    with mock.patch.object(fold_batch_norms, "np", _Numpy()):
        yield


class _AllAtOnce:
    """What the loop uses of `numpy.nditer`: one step, whose element is the whole array and whose index is every index."""

    def __init__(self, array: np.ndarray[Any, Any], flags: Any, op_flags: Any) -> None:
        self._array = array
        self.multi_index = np.ix_(*(np.arange(size) for size in array.shape))
        self.finished = array.size == 0

    def __getitem__(self, operand: int) -> np.ndarray[Any, Any]:
        return self._array

    def __setitem__(self, operand: int, value: np.ndarray[Any, Any]) -> None:
        self._array[...] = value

    def iternext(self) -> bool:
        self.finished = True
        return False


class _Numpy:
    nditer = _AllAtOnce

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)
