"""A TF Lite converter that reads a SavedModel once.

`tf.lite.TFLiteConverter.from_saved_model` loads the model into Python twice and imports its graph a third time
(tensorflow/lite/python/lite.py, 2.19), for source locations that its conversion of a SavedModel does not use and for a
search for fake-quantized nodes. The conversion itself, in C++, reads the directory once more; for MobileNetV2 it takes
less than half of the time of the whole. Here the search is given the graph that the caller has read.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from converters.contract.values import SERVE


def from_saved_model(saved_model: Path, keys: Sequence[str], graph: Any) -> Any:
    """What `tf.lite.TFLiteConverter.from_saved_model` returns for these signatures; `graph` is the MetaGraphDef.

    Its `convert` raises what that one's does once the model is loaded.
    """
    return _converter_class()(graph.graph_def, str(saved_model), {SERVE}, list(keys))


@cache
def _converter_class() -> Any:
    from tensorflow.lite.python import lite

    class Once(lite.TFLiteSavedModelConverterV2):  # type: ignore[misc]
        def __init__(self, graph_def: Any, saved_model: str, tags: set[str], keys: list[str]) -> None:
            super().__init__(saved_model, tags, keys)
            self._whole_graph = graph_def

        @lite._export_metrics  # type: ignore[untyped-decorator]
        def convert(self) -> bytes:
            content: bytes = self._convert_from_saved_model(self._whole_graph)
            return content

    return Once
