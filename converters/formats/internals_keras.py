"""All that is used of either Keras (tf_keras 2.19, Keras 3) beside its public interface, so that an upgrade breaks in one
place.
"""

from typing import Any


def layers_within(model: Any) -> list[Any]:
    """The model and all layers in it, however deep, those in lists and of subclassed models too.

    `_flatten_layers`. Without it the model alone, which may say that it is built when layers of it are not: golden's
    first call then gives them their weights.
    """
    flatten = getattr(model, "_flatten_layers", None)
    return list(flatten()) if callable(flatten) else [model]
