"""Lambda layers: what they call, where it is Python bytecode, and how a function that is given takes its place."""

import binascii
import codecs
import copy
import marshal
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from converters.formats.keras_config import objects

_CLASSES = ("Lambda",)


def function_of(layer: Mapping[str, Any]) -> str | None:
    """The name of the function that a Lambda layer (its serialized object) calls; None where the file holds the function."""
    function, kind = _config(layer).get("function"), _config(layer).get("function_type", "function")
    if isinstance(function, Mapping) and function.get("class_name") == "function":
        function = function.get("config")
    return function if isinstance(function, str) and kind == "function" else None


def layers(config: Any) -> Iterator[Mapping[str, Any]]:
    """The Lambda layers in a model's config."""
    yield from (item for item in objects(config) if item["class_name"] in _CLASSES)


def names(config: Any) -> list[str]:
    """What they are called."""
    return [str(_config(layer).get("name")) for layer in layers(config)]


def is_meant(finding: str) -> bool:
    """Whether a finding about code in a model, which begins with a class, is about a Lambda layer."""
    return finding.startswith(_CLASSES)


def with_functions(config: Any, known: Collection[str], *, keras_3: bool) -> Any:
    """The config with each Lambda layer calling the function of its own name, where that is known; itself where none does."""
    if not any(name in known for name in names(config)):
        return config
    changed = copy.deepcopy(config)
    for layer in layers(changed):
        inner, name = layer["config"], layer["config"].get("name")
        if name not in known:
            continue
        if keras_3:
            inner["function"] = {
                "class_name": "function",
                "config": name,
                "module": "builtins",
                "registered_name": "function",
            }
            inner.pop("output_shape", None)
        else:
            inner |= {"function": name, "function_type": "function", "module": None}
            inner |= {"output_shape": None, "output_shape_type": "raw", "output_shape_module": None}
            inner.pop("mask", None)
    return changed


def unreadable(config: Any) -> list[str]:
    """The Lambda layers whose bytecode this Python cannot read, by name: another version's has other fields (`marshal`)."""
    return [str(_config(layer).get("name")) for layer in layers(config) if _is_unreadable(_code(layer))]


def _code(layer: Mapping[str, Any]) -> str | None:
    """Python's `marshal` of a function's code, as either Keras writes it: in base64, and long ago as text."""
    function = _config(layer).get("function")
    if isinstance(function, Mapping) and function.get("class_name") == "__lambda__":
        function = function.get("config")
    code = function.get("code") if isinstance(function, Mapping) else function
    code = code[0] if isinstance(code, list) and code else code
    return code if isinstance(code, str) and function_of(layer) is None else None


def _is_unreadable(code: str | None) -> bool:
    if code is None:
        return False
    try:
        raw = codecs.decode(code.encode("ascii"), "base64")
    except (UnicodeEncodeError, binascii.Error):
        raw = code.encode("raw_unicode_escape")
    try:
        marshal.loads(raw)  # reads, and runs nothing
    except (EOFError, ValueError, TypeError):
        return True
    return False


def _config(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = layer.get("config")
    return inner if isinstance(inner, Mapping) else {}
