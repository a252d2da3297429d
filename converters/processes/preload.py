"""What a child process has loaded before its work arrives; the fork server imports this once."""

import importlib
import os
import tempfile

from converters.processes import serve
from converters.processes.imports import uncollected, without_unused

# A child converts for other machines: a GPU of this one must neither be claimed nor change the numbers.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
serve.tell_keras()


def _import_quietly() -> None:
    """Import TensorFlow; its start-up messages are shown only when the import fails.

    They are written by C++ to file descriptor 2, before any logging can be configured.
    """
    descriptor = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import ai_edge_quantizer.quantizer  # noqa: F401
            import tensorflow
            import tensorflow.lite.python.lite  # noqa: F401
            import tensorflowjs.converters.tf_saved_model_conversion_v2  # noqa: F401
            import tf_keras  # noqa: F401
        except BaseException:
            said.seek(0)
            os.write(descriptor, said.read())
            raise
        finally:
            os.dup2(descriptor, 2)
            os.close(descriptor)


with uncollected():
    with without_unused():
        _import_quietly()
    importlib.import_module("converters.source.build")  # nearly all that a child may be asked to do
