"""Batch normalisation folded at once is what tensorflow.js's own loop makes of it, to the last bit."""

import pytest

from converters.processes import child as isolate


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

    from converters.targets.tfjs import folding as tfjs_folding

    rng = np.random.default_rng(0)
    kernel = rng.normal(size=shape).astype(np.float32)
    channels = shape[2] * shape[3] if convolution == "depthwise_conv2d" else shape[3]
    gamma, beta, mean, variance = rng.uniform(0.5, 2.0, (4, channels)).astype(np.float32)
    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.float32, (1, 8, 8, shape[2]))
        features = getattr(tf.nn, convolution)(images, kernel, strides=[1, 1, 1, 1], padding="SAME")
        tf.compat.v1.nn.fused_batch_norm(features, gamma, beta, mean, variance, is_training=False)
    theirs = fold_batch_norms.fold_batch_norms(graph.as_graph_def())
    with tfjs_folding.at_once():
        ours = fold_batch_norms.fold_batch_norms(graph.as_graph_def())
    ops = {node.op for node in ours.node}
    return theirs == ours, "FusedBatchNormV3" not in ops and "BiasAdd" in ops


def test_the_converter_has_numpy_itself_again_afterwards() -> None:
    assert isolate.run(numpy_is_restored).value


def numpy_is_restored() -> bool:
    """Whether the converter's module has NumPy itself again."""
    import numpy as np
    from tensorflowjs.converters import fold_batch_norms

    from converters.targets.tfjs import folding as tfjs_folding

    with tfjs_folding.at_once():
        pass
    return fold_batch_norms.np is np
