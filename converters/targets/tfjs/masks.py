"""Masks that Keras makes and tensorflow.js loses: of padded steps in a sequence, which layers are to skip.

Read from tfjs-layers 4.22: `execute` (engine/executor.ts) gives a layer the mask of its first input, or where that has none
the last mask that any layer before it was given; `computeMask` (layers/merge.ts) leaves out the last input's.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from converters.formats.internals_keras import Call, calls_within, mask_of

_OBEYED = frozenset({"LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM2D", "Bidirectional", "Softmax"})
"""Layers that read `kwargs['mask']` there (layers/{recurrent,wrappers,advanced_activations}.ts)."""
_IN_TRAINING = frozenset({"BatchNormalization"})
"""Layers of Keras that read a mask in training alone."""
_UNASKED = frozenset({"MultiHeadAttention"})
"""Layers of Keras that read the masks of their inputs without an argument for it."""


def lost(model: Any) -> str | None:
    """What tensorflow.js does not do with a mask of a tf_keras model, Functional or Sequential; None where it does it all."""
    return next(_losses(model), None)


def _losses(model: Any) -> Iterator[str]:
    calls = list(_executed(model))
    made = False
    for call in calls:
        masks = [mask_of(tensor) for tensor in call.inputs]
        own = [mask for mask in masks if mask is not None]
        kind = type(call.layer).__name__
        named = f"layer {call.layer.name!r} ({kind})"
        if own and _reads(call) and (kind not in _OBEYED or masks[0] is None):
            yield f"tensorflow.js ignores the mask that {named} is given"
        if made and not own and kind in _OBEYED:
            yield f"tensorflow.js gives {named} the mask of an earlier layer, and Keras gives it none"
        if len({id(mask) for mask in own}) > 1 and any(mask_of(tensor) is not None for tensor in call.outputs):
            yield f"tensorflow.js does not join the masks of all inputs of {named}"
        if own and _zeroes(call.layer) and _shows(call, calls, model):
            yield f"tensorflow.js does not return zeros for the masked steps of {named}"
        made = made or bool(own)


def _reads(call: Call) -> bool:
    """Whether Keras's layer does something else with a mask than without, and not only passes it on."""
    kind = type(call.layer).__name__
    if kind == "TimeDistributed":  # it gives it to the layer within, which takes it there to be its own step's
        return type(call.layer.layer).__name__ in _OBEYED
    return kind in _UNASKED or (call.reads_mask and kind not in _IN_TRAINING)


def _zeroes(layer: Any) -> bool:
    """Whether a recurrent layer returns zeros for masked steps, as Bidirectional makes both of its layers do."""
    inner = getattr(layer, "forward_layer", layer)
    return bool(getattr(inner, "zero_output_for_mask", False) and inner.return_sequences)


def _shows(call: Call, calls: Sequence[Call], model: Any) -> bool:
    """Whether anything reads a call's masked steps: an output of the model, or a layer that neither skips nor passes them on."""
    import tensorflow as tf

    outputs = {id(tensor) for tensor in tf.nest.flatten(model.outputs)}
    waiting = list(call.outputs)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in outputs:
            return True
        for reader in (each for each in calls if any(given is tensor for given in each.inputs)):
            if type(reader.layer).__name__ in _OBEYED:
                continue
            if reader is not call and all(mask_of(made) is None for made in reader.outputs):
                return True
            waiting += [made for made in reader.outputs if made is not tensor]
    return False


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
