"""Kotlin's and Swift's types of what a TF Lite file takes and returns.

Kotlin's are those of LiteRT's Java API (org.tensorflow.lite.DataType; arrays, since they alone resize an input), Swift's those
of `Tensor.DataType` (tensorflow/lite/swift/Sources/Tensor.swift).
"""

import re
from collections.abc import Iterable

from converters.release.explain import quoting
from converters.release.explain.facts import Call, Port

_KOTLIN = {
    "float32": "Float", "int32": "Int", "int64": "Long", "uint8": "Byte", "int8": "Byte", "int16": "Short", "bool": "Boolean",
}  # fmt: skip
_SWIFT = {
    "float32": "Float32", "float64": "Float64", "int32": "Int32", "int64": "Int64", "uint8": "UInt8", "int8": "Int8",
    "int16": "Int16", "bool": "Bool",
}  # fmt: skip
_BUFFERS = {"float32": "Float", "int32": "Int", "int64": "Long", "int16": "Short"}
"""What a scalar is written to, since a number is a value."""
_TEXT = "string"


def lacks(calls: tuple[Call, ...], language: str) -> str | None:
    """Which input or output a language's runtime has no type for, as a phrase; None where it has all."""
    known = {*_KOTLIN, _TEXT} if language == "Kotlin" else {*_SWIFT}
    return next(
        (f"{port.name} is {port.dtype}" for call in calls for port in call.ports if port.dtype not in known), None
    )


def kotlin_type(port: Port) -> str:
    """Array<Array<FloatArray>> for an input of [1, 8, 8]; a scalar's is the number's."""
    element = "String" if port.dtype == _TEXT else _KOTLIN[port.dtype]
    if not port.sample:
        return element
    innermost = f"Array<{element}>" if port.dtype == _TEXT else f"{element}Array"
    return "Array<" * (len(port.sample) - 1) + innermost + ">" * (len(port.sample) - 1)


def kotlin_array(port: Port) -> str:
    """What an output of the example's shape is written to: Array(1) { FloatArray(10) }."""
    if not port.sample:
        return f"java.nio.{_BUFFERS.get(port.dtype, 'Byte')}Buffer.allocate(1)"
    last = port.sample[-1]
    text = f'Array({last}) {{ "" }}' if port.dtype == _TEXT else f"{_KOTLIN[port.dtype]}Array({last})"
    for size in reversed(port.sample[:-1]):
        text = f"Array({size}) {{ {text} }}"
    return text


def swift_type(port: Port) -> str:
    """Float32 for float32."""
    return _SWIFT[port.dtype]


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """A name for a function or parameter, in camel case, by each name: servingDefault. No two are the same, and none a keyword."""
    made: dict[str, str] = {}
    for number, name in enumerate(names, 1):
        first, *others = re.findall(r"[A-Za-z0-9]+", name) or ["value"]
        plain = first[:1].lower() + first[1:] + "".join(word[:1].upper() + word[1:] for word in others)
        plain = plain if plain[0].isalpha() else f"value{plain}"
        made[name] = f"{plain}{number}" if plain in _TAKEN or plain in made.values() else plain
    return made


_WORDS = """
    as break case class continue default defer do else enum extension false file for fun func guard if import in init inputs
    interface internal interpreter is let nil null object operator outputs package path private public quantized dequantized
    repeat return runner self static struct super switch this throw true try typealias typeof val var when where while
"""
_TAKEN = frozenset(_WORDS.split())
"""Keywords of both languages, and names that the examples use."""


def scaled(port: Port) -> str:
    """What an integer stands for, as the end of a comment."""
    return "" if port.scale is None else f"; as {port.scale.dtype}, number = {quoting.number_of(port.scale, 'integer')}"


def prepared(port: Port) -> str:
    """What raw values become, as the end of a comment."""
    told = []
    if port.scaling is not None:
        how = quoting.normalized(port.scaling.mean, port.scaling.std)
        told.append(f"of pixels of 0 to 255, perhaps, {how}" if port.scaling.guessed else how)
    if port.preprocessing is not None:
        told += [quoting.one_line(port.preprocessing.description)] if port.preprocessing.description else []
        told += [port.preprocessing.color] if port.preprocessing.color else []
    return "".join(f"; {each}" for each in told)
