"""What is used of tensorflow.js's converter's inside is there, and batch normalisation folded at once has its very bits.

Where one of these fails after an upgrade, `converters/targets/tfjs/internals.py` is what has to follow it.
"""

from pathlib import Path

import pytest
from samples import Sample

from converters.processes import child as isolate

pytestmark = pytest.mark.tensorflow

CONVERTER = "tensorflowjs.converters.tf_saved_model_conversion_v2"
FUNCTIONS = {
    "_load_model": ["saved_model_dir", "saved_model_tags"],
    "_find_signature_def_name": ["tensor", "signature_map"],
    "optimize_graph": ["graph"],
    "extract_weights": ["graph_def", "initializer_graph_def"],
    "validate": ["graph_def", "skip_op_check", "strip_debug_ops"],
}
"""The converter's functions that are called or replaced, with the arguments they are known to begin with."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_converter_has_the_function_that_is_used_of_it(name: str) -> None:
    assert isolate.run(arguments, name).value[: len(FUNCTIONS[name])] == FUNCTIONS[name]


def arguments(name: str) -> list[str]:
    """Those of a function of the converter's module; none where there is no such function."""
    import importlib
    import inspect

    function = getattr(importlib.import_module(CONVERTER), name, None)
    return list(inspect.signature(function).parameters) if function else []


def test_a_loaded_signature_has_its_inputs_by_name(module_sample: Sample) -> None:
    assert isolate.run(input_shapes, module_sample.source.saved_model).value == {"signal": [None, 4]}


def input_shapes(path: Path) -> dict[str, list[int | None]]:
    """Those of `serving_default`, as the converter's loader and TensorFlow's own names have them."""
    from converters.targets.tfjs import internals

    tensors = internals.inputs(internals.load(path).signatures["serving_default"])
    return {name: tensor.shape.as_list() for name, tensor in tensors.items()}


@pytest.mark.parametrize("shape", [(3, 3, 4, 5), (3, 3, 4, 2)])
@pytest.mark.parametrize("convolution", ["conv2d", "depthwise_conv2d"])
def test_folding_at_once_gives_the_bits_of_the_converters_own_loop(convolution: str, shape: tuple[int, ...]) -> None:
    alike, folded = isolate.run(fold_both_ways, convolution, shape).value
    assert folded, "the converter did not fold at all"
    assert alike


def fold_both_ways(convolution: str, shape: tuple[int, ...]) -> tuple[bool, bool]:
    """Whether both ways give one graph, and whether it is without batch normalisation."""
    import numpy as np
    import tensorflow as tf
    from tensorflowjs.converters import fold_batch_norms

    from converters.targets.tfjs import internals

    rng = np.random.default_rng(0)
    kernel = rng.normal(size=shape).astype(np.float32)
    channels = shape[2] * shape[3] if convolution == "depthwise_conv2d" else shape[3]
    gamma, beta, mean, variance = rng.uniform(0.5, 2.0, (4, channels)).astype(np.float32)
    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.float32, (1, 8, 8, shape[2]))
        features = getattr(tf.nn, convolution)(images, kernel, strides=[1, 1, 1, 1], padding="SAME")
        tf.compat.v1.nn.fused_batch_norm(features, gamma, beta, mean, variance, is_training=False)
    theirs = fold_batch_norms.fold_batch_norms(graph.as_graph_def())
    with internals.folding_at_once():
        ours = fold_batch_norms.fold_batch_norms(graph.as_graph_def())
    ops = {node.op for node in ours.node}
    return theirs == ours, "FusedBatchNormV3" not in ops and "BiasAdd" in ops


def test_the_converter_has_numpy_itself_again_afterwards() -> None:
    assert isolate.run(numpy_is_restored).value


def numpy_is_restored() -> bool:
    """Whether the converter's module has NumPy itself again."""
    import numpy as np
    from tensorflowjs.converters import fold_batch_norms

    from converters.targets.tfjs import internals

    with internals.folding_at_once():
        pass
    return fold_batch_norms.np is np
