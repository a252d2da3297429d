"""All that is used of TensorFlow Lite beside its public interface, so that an upgrade breaks in one place.

`tf.lite.TFLiteConverter.from_saved_model` loads the model into Python twice and imports its graph a third time
(tensorflow/lite/python/lite.py, 2.19), for source locations that its conversion of a SavedModel does not use and for a
search for fake-quantized nodes. The conversion itself, in C++, reads the directory once more; for MobileNetV2 it takes
less than half of the time of the whole. Here the search is given the graph that the caller has read.

The calibrator is given a file that it can run; see `repairs`.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest import mock

from converters.contract.values import SERVE, Tensors
from converters.targets.tflite import repairs

_MADE_OF = ["self", "saved_model_dir", "saved_model_tags", "saved_model_exported_names"]


def converter_error() -> type[Exception]:
    """What the converter says of a model raises; its quantizer and the loader raise RuntimeError, ValueError, ..."""
    from tensorflow.lite.python import convert_phase

    return getattr(convert_phase, "ConverterError", RuntimeError)


def from_saved_model(saved_model: Path, keys: Sequence[str], graph: Any) -> Any:
    """A TFLiteConverter of these signatures that reads the model once; `graph` is its MetaGraphDef.

    Where TensorFlow's own class is not as it is here known, `tf.lite.TFLiteConverter.from_saved_model`'s, which makes
    the same file in more time.
    """
    import tensorflow as tf

    once = reading_once()
    if once is None:
        return tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=list(keys), tags={SERVE})
    return once(graph.graph_def, str(saved_model), {SERVE}, list(keys))


@cache
def reading_once() -> Any | None:
    """The converter's class; None where TensorFlow's own is not as it must be."""
    from tensorflow.lite.python import lite
    from tensorflow.lite.python.optimize import calibrator

    base: Any = getattr(lite, "TFLiteSavedModelConverterV2", None)
    metrics: Any = getattr(lite, "_export_metrics", None)
    if not callable(metrics) or _arguments(base, "__init__")[:4] != _MADE_OF:
        return None
    if _arguments(base, "_convert_from_saved_model") != ["self", "graph_def"]:
        return None
    if _arguments(base, "_quantize")[:2] != ["self", "result"]:
        return None
    if _arguments(calibrator.Calibrator, "_feed_tensors") != ["self", "dataset_gen", "resize_input"]:
        return None

    class Once(base):  # type: ignore[misc]
        def __init__(self, graph_def: Any, saved_model: str, tags: set[str], keys: list[str]) -> None:
            super().__init__(saved_model, tags, keys)
            self._whole_graph = graph_def

        @metrics  # type: ignore[untyped-decorator]
        def convert(self) -> bytes:
            content: bytes = self._convert_from_saved_model(self._whole_graph)
            return content

        def _quantize(self, result: bytes, *arguments: Any, **named: Any) -> Any:
            with mock.patch.object(calibrator, "Calibrator", _resizing(calibrator.Calibrator)):
                return super()._quantize(repairs.watchable(repairs.with_own_states(result)), *arguments, **named)

    return Once


def _resizing(base: Any) -> Any:
    """A calibrator that takes samples of several sizes: TensorFlow's makes room for those of the first alone."""

    class Resizing(base):  # type: ignore[misc]
        def _feed_tensors(self, dataset_gen: Callable[[], Iterable[tuple[str, Tensors]]], resize_input: bool) -> None:
            for _, some in groupby(dataset_gen(), _size):
                super()._feed_tensors(partial(iter, some), resize_input)

    return Resizing


def _size(sample: tuple[str, Tensors]) -> tuple[str, dict[str, tuple[int, ...]]]:
    key, inputs = sample
    return key, {name: value.shape for name, value in inputs.items()}


def _arguments(owner: Any, method: str) -> list[str]:
    function = getattr(owner, method, None)
    return list(inspect.signature(function).parameters) if callable(function) else []
