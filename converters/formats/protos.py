"""TensorFlow's and TF Serving's generated protocol buffer modules, without Python's TensorFlow.

Importing one by its name would first run tensorflow/__init__.py, which is all of TensorFlow and takes seconds.
"""

import importlib
import importlib.machinery
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from converters.contract.errors import MissingRuntime

REMEDY = "Install a TensorFlow wheel for Linux or macOS: pip install tensorflow==2.19.0"


def tensorflow_package() -> Path:
    """The installed TensorFlow package's folder, found without importing it. Raises MissingRuntime."""
    spec = importlib.machinery.PathFinder.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise MissingRuntime(f"TensorFlow is not installed here. {REMEDY}")
    return Path(spec.submodule_search_locations[0])


@cache
def load(name: str) -> ModuleType:
    """The module `name`, such as tensorflow.core.protobuf.meta_graph_pb2. Raises MissingRuntime.

    Where TensorFlow is not imported yet, an empty package stands in for it, and leaves again with what was imported
    below it: a later `import tensorflow` finds the real one.
    """
    if "tensorflow" in sys.modules:
        return importlib.import_module(name)
    stand_in = ModuleType("tensorflow")
    stand_in.__path__ = [str(tensorflow_package())]
    sys.modules["tensorflow"] = stand_in
    try:
        return importlib.import_module(name)
    finally:
        for module in [key for key in sys.modules if key.partition(".")[0] == "tensorflow"]:
            del sys.modules[module]
