"""What a child process has loaded before its work arrives; the fork server imports this once.

jax and TensorFlow Decision Forests are imported by tf.lite and tensorflowjs at their top although nothing here
uses them, and cost seconds: jax is hidden from the import system, and what tensorflowjs names is replaced by
empty modules. TensorFlow Hub too is imported by tensorflowjs, for a command that is not used; and scikit-learn and
matplotlib by Keras 3, if it can, for wrappers and plots that no model is made of. These are hidden while TensorFlow is
imported, and are there for the user's code after that.
"""

import importlib
import os
import sys
import tempfile
import types

from converters.processes import collector

# A child converts for other machines: a GPU of this one must neither be claimed nor change the numbers.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

_UNTIL_LOADED: dict[str, types.ModuleType | None] = {
    "sklearn": None,
    "matplotlib": None,
    "tensorflow_hub": types.ModuleType("tensorflow_hub"),
}
"""What stands for them meanwhile: None, which an import takes for a module that is not installed, or an empty module."""


def _hide_unused() -> None:
    for name, module in {"jax": None, **_UNTIL_LOADED}.items():
        sys.modules.setdefault(name, module)  # type: ignore[arg-type]
    for name in ("tensorflow_decision_forests", "tensorflowjs.converters.jax_conversion"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["tensorflowjs.converters.jax_conversion"].convert_jax = None  # type: ignore[attr-defined]


def _import_quietly() -> None:
    """Import TensorFlow; its start-up messages are shown only when the import fails.

    They are written by C++ to file descriptor 2, before any logging can be configured.
    """
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow
            import tensorflow.lite.python.lite  # noqa: F401
            import tensorflowjs.converters.tf_saved_model_conversion_v2  # noqa: F401
            import tf_keras  # noqa: F401
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _show_again() -> None:
    for name, module in _UNTIL_LOADED.items():
        if sys.modules.get(name) is module:
            sys.modules.pop(name, None)


with collector.importing():
    _hide_unused()
    _import_quietly()
    _show_again()
    importlib.import_module("converters.source.build")  # nearly all that a child may be asked to do
