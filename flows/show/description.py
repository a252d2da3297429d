"""What a model file holds, as a tree for a terminal: whatever its description has, tensors in aligned rows."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from converters.targets.describe import Description

_MOST = 12
"""How many entries of a list or a count a terminal shows; the JSON has all."""
_TITLE = ("path", "format", "bytes")


def render(description: Description) -> RenderableType:
    """A tree for a terminal of 80 columns or more."""
    title = Text.assemble((description["format"], "bold"), "  ", decimal(description["bytes"]))
    tree = Tree(Group(title, Text(description["path"], style="dim", overflow="fold")), guide_style="dim")
    _grow(tree, {key: value for key, value in description.items() if key not in _TITLE})
    return tree


def _grow(tree: Tree, items: Mapping[str, Any]) -> None:
    """What fits a line comes first, its labels aligned."""
    lines = {key: line for key, value in items.items() if (line := _line(key, value))}
    for key, line in lines.items():
        row = Table.grid(padding=(0, 2))
        row.add_row(Text(_label(key).ljust(max(map(len, lines))), style="dim"), Text(line))
        tree.add(row)
    for key, value in items.items():
        if not value or key in lines:
            continue
        if (rows := _rows(value)) is not None:
            tree.add(Group(Text(key, style="bold"), rows))
        else:
            for part in [value] if isinstance(value, Mapping) else value:
                _grow(tree.add(Text(_label(key), style="dim")), part)


def _label(key: str) -> str:
    return key.replace("_", " ")


def _line(key: str, value: Any) -> str | None:
    """A figure, a list, or counts, the first of them; None where a line cannot hold it."""
    if isinstance(value, Mapping) and all(isinstance(count, int) for count in value.values()):
        value = [f"{name} {decimal(n)}" if key == "shards" else f"{name}×{n:,}" for name, n in value.items()]
    if isinstance(value, list):
        told = [_figure(item) for item in value]
        if None in told:
            return None
        return ", ".join(filter(None, told[:_MOST])) + (f" and {len(told) - _MOST} more" if len(told) > _MOST else "")
    return _figure(value)


def _figure(value: Any) -> str | None:
    """Text, or a number; None for anything else."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else value if isinstance(value, str) else None


def _rows(value: Any) -> RenderableType | None:
    """Tensors by name, a signature's inputs and outputs, or entries of a few figures; None where it is none of these."""
    grid = Table.grid(padding=(0, 2))
    if isinstance(value, list):
        if any(isinstance(figure, list | Mapping) for item in value for figure in item.values()):
            return None
        for item in value[:_MOST]:
            grid.add_row(
                *(Text(f"{figure:,} {key}" if isinstance(figure, int) else str(figure)) for key, figure in item.items())
            )
        return Group(grid, Text(f"and {len(value) - _MOST} more", "dim")) if len(value) > _MOST else grid
    if not isinstance(value, Mapping):
        return None
    sides = {"": value} if _are_tensors(value) else value
    for side, tensors in sides.items():
        if not _are_tensors(tensors):
            return None
        for number, (name, spec) in enumerate(tensors.items()):
            label = [Text("" if number else side, style="dim")] if side else []
            grid.add_row(*label, Text(name, style="cyan", overflow="fold"), spec["dtype"], _shape(spec["shape"]))
    return grid


def _are_tensors(value: Any) -> bool:
    items = value.values() if isinstance(value, Mapping) else [None]
    return all(isinstance(item, Mapping) and item.keys() == {"dtype", "shape"} for item in items)


def _shape(shape: list[int | None] | None) -> Text:
    return Text("unknown" if shape is None else f"[{', '.join('?' if size is None else str(size) for size in shape)}]")
