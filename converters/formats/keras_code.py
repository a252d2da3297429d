"""What a Keras model's config would run, or read, beside the layers of Keras itself."""

import builtins
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from converters.contract.errors import Damaged
from converters.formats import effects, keras_lambda
from converters.formats.archive import json_of
from converters.formats.keras_config import custom_class, objects

_CODE = {
    "Lambda": "holds Python code",
    "__lambda__": "holds Python code",
    "TFSMLayer": "loads and runs a SavedModel from elsewhere",
    "TorchModuleWrapper": "holds a pickled object",
    "JaxLayer": "holds Python code",
    "FlaxLayer": "holds Python code",
}
_MODULES = frozenset({
    "layers", "models", "initializers", "regularizers", "constraints", "activations", "optimizers", "losses", "metrics",
    "dtype_policies", "quantizers", "random", "ops", "engine", "mixed_precision", "feature_column", "premade_models",
    "distillation",
})  # fmt: skip
"""What below Keras's own modules a model is made of; others, such as `utils`, open files and addresses."""
_LAYERS = frozenset({
    "applications.convnext.LayerScale", "applications.convnext.StochasticDepth",
    "applications.inception_resnet_v2.CustomScaleLayer",
})  # fmt: skip
"""The layers beside them; what else is there downloads weights."""
_PREFIXES = frozenset({"keras", "tf_keras", "src", "api", "_tf_keras", "legacy"})
_CALCULATES = frozenset({
    "", "math", "math.special", "nn", "linalg", "linalg.experimental", "image", "strings", "signal", "random", "sparse",
    "ragged", "bitwise", "quantization", "sets", "audio", "dtypes", "__operators__", "experimental.numpy", "keras.backend",
})  # fmt: skip
"""TensorFlow's modules whose functions only calculate, but for those whose names say otherwise."""
_TOUCHES = re.compile(r"py_func|numpy_function|print|file|load|save|import|Reader|device|function", re.IGNORECASE)
_SOME = {"io": ("decode_", "encode_", "parse_", "serialize_tensor"), "debugging": ("assert", "check_numerics")}
"""Modules of which only functions that begin so are calculations."""


def of_config(config: Any, known: Collection[str] = ()) -> list[str]:
    """Each object of a model's config that does something beside calculating, and what, as a sentence's part.

    Classes of those names are `known`, and Lambda layers of those names call a function of that name: they are given
    beside the file.

    Raises Damaged.
    """
    return list(
        dict.fromkeys(
            f"{name} {does}"
            for item in objects(config)
            if not _is_given(item, known)
            for name, does in _of_object(item)
        )
    )


def _is_given(item: Mapping[str, Any], known: Collection[str]) -> bool:
    """Whether its code comes from what is known, and not from the file."""
    kind = str(item["class_name"]).rpartition(">")[2]
    if kind == "Lambda":
        return keras_lambda.function_of(item) in known
    return kind in known and kind not in _CODE and custom_class(item)


def _of_object(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind = str(item["class_name"]).rpartition(">")[2]
    inner = item.get("config")
    layer = str(inner["name"]) if isinstance(inner, Mapping) and isinstance(inner.get("name"), str) else ""
    name = f"{kind} (layer {layer})" if layer and layer != kind else kind
    if kind in _CODE:
        yield name, _CODE[kind]
    elif custom_class(item):
        yield name, "is a class of its own, whose Python would run"
    elif not _of_a_model(item.get("module"), kind):
        yield name, f"is taken from {item.get('module')}, which is no part of a model"
    if kind == "function" and item.get("module") == "builtins" and hasattr(builtins, str(inner)):
        yield name, f"runs Python's {inner}"
    if not isinstance(inner, Mapping):
        return
    if kind in ("TFOpLambda", "TensorFlowOpLayer") and not _calculates(kind, inner):
        yield name, f"runs {inner.get('function', 'an op')}, which may reach out of the model"
    if isinstance(inner.get("vocabulary"), str):
        yield name, f"reads the file {inner['vocabulary']}"


def _of_a_model(module: object, kind: str) -> bool:
    if not isinstance(module, str) or module == "builtins":
        return module is None or module == "builtins"
    parts = [part for part in module.split(".") if part not in _PREFIXES]
    return not parts or parts[0] in _MODULES or ".".join([*parts, kind]) in _LAYERS


def _calculates(kind: str, config: Mapping[str, Any]) -> bool:
    if kind == "TensorFlowOpLayer":
        return not effects.reaches_out(_op_of(config.get("node_def")))
    module, _, function = re.sub(r"^compat\.v[12]\.", "", str(config.get("function", ""))).rpartition(".")
    if module == "raw_ops":
        return not effects.reaches_out(function)
    if module in _SOME:
        return function.startswith(_SOME[module])
    return bool(function) and module in _CALCULATES and not _TOUCHES.search(function)


def _op_of(node_def: object) -> str:
    """The op of a NodeDef in JSON, as text or parsed."""
    parsed = json_of(node_def) if isinstance(node_def, str) else node_def
    op = parsed.get("op") if isinstance(parsed, Mapping) else None
    if not isinstance(op, str):
        raise Damaged("it holds a TensorFlow op that cannot be read")
    return op
