"""Masks that Keras makes and tensorflow.js loses: of padded steps in a sequence, which layers are to skip.

Read from tfjs-layers 4.22: `execute` (engine/executor.ts) gives a layer the mask of its first input, or where that has none
the last mask that any layer before it was given; `computeMask` (layers/merge.ts) leaves out the last input's.
"""

from collections.abc import Iterator
from typing import Any

from converters.formats.internals_keras import Call, calls_within, mask_of

_OBEYED = frozenset({"LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM2D", "Bidirectional", "Softmax"})
"""Layers that read `kwargs['mask']` there (layers/{recurrent,wrappers,advanced_activations}.ts)."""
_PASSED_ON = frozenset({"TimeDistributed"})
"""Layers that give it to the layer within, which takes it to be its own step's."""


def lost(model: Any) -> str | None:
    """What tensorflow.js does not do with a mask of a tf_keras model, Functional or Sequential; None where it does it all."""
    return next(_losses(model), None)


def _losses(model: Any) -> Iterator[str]:
    made = False
    for call in _executed(model):
        masks = [mask_of(tensor) for tensor in call.inputs]
        own = [mask for mask in masks if mask is not None]
        kind = type(call.layer).__name__
        named = f"layer {call.layer.name!r} ({kind})"
        within = getattr(call.layer, "layer", None) if kind in _PASSED_ON else None
        reads = call.reads_mask if within is None else _reads(within)
        if own and reads and (kind not in _OBEYED or masks[0] is None):
            yield f"tensorflow.js ignores the mask that {named} is given"
        if made and not own and kind in _OBEYED:
            yield f"tensorflow.js gives {named} the mask of an earlier layer, and Keras gives it none"
        if len({id(mask) for mask in own}) > 1 and any(mask_of(tensor) is not None for tensor in call.outputs):
            yield f"tensorflow.js does not join the masks of all inputs of {named}"
        made = made or bool(own)


def _executed(model: Any) -> Iterator[Call]:
    """The calls in the order in which tensorflow.js makes them: depth first from the outputs, a call's last input first."""
    import tensorflow as tf

    producers = {id(tensor): call for call in calls_within(model) for tensor in call.outputs}
    ready: set[int] = set()
    waiting = [(tensor, False) for tensor in reversed(tf.nest.flatten(model.outputs))]
    while waiting:
        tensor, complete = waiting.pop()
        call = producers[id(tensor)]
        if complete:
            yield call
        elif id(tensor) not in ready:
            ready |= {id(each) for each in call.outputs}
            waiting.append((tensor, True))
            waiting += [(each, False) for each in call.inputs if each is not tensor]


def _reads(layer: Any) -> bool:
    return type(layer).__name__ in _OBEYED
