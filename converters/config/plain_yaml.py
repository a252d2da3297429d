"""YAML as a config needs it: data without Python's objects, that are not larger than they look."""

from typing import Any

import yaml

from converters.contract.errors import said

MOST_BYTES = 1 << 20
MOST_VALUES = 100_000
"""Values, those that aliases stand for counted each time: a few lines of aliases of aliases mean a billion."""


class NotPlain(Exception):
    """It is no YAML, or not plain data; the text says why."""


def load(content: bytes) -> Any:
    """What the document holds. Raises NotPlain."""
    if len(content) > MOST_BYTES:
        raise NotPlain(f"it has {len(content)} bytes, and a config no more than {MOST_BYTES}")
    try:
        loader = yaml.SafeLoader(content.decode())
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count(node, {}, ())
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # dates and numbers that are none are ValueErrors
        raise NotPlain(said(error, 400) or type(error).__name__) from error


def _count(node: yaml.Node, counted: dict[int, int], above: tuple[int, ...]) -> int:
    if id(node) in counted:
        return counted[id(node)]
    if id(node) in above:
        raise NotPlain("an alias stands for what it is in")
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        inner = node.value
    elif isinstance(node, yaml.MappingNode):
        inner = [each for pair in node.value for each in pair]
    size = 1 + sum(_count(each, counted, (*above, id(node))) for each in inner)
    if size > MOST_VALUES:
        raise NotPlain(f"its aliases stand for more than {MOST_VALUES} values")
    counted[id(node)] = size
    return size
