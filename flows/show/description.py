"""What a model file holds, as a tree for a terminal."""

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from converters.targets.describe import Description, counted

_SHOWN_OPS = 12
"""How many kinds of ops and layers a terminal shows; the JSON has all."""


def render(description: Description) -> RenderableType:
    """A tree for a terminal of 80 columns or more."""
    title = Text.assemble((description["format"], "bold"), "  ", _size(description["bytes"]))
    tree = Tree(Group(title, Text(description["path"], style="dim", overflow="fold")), guide_style="dim")
    for label, key in (
        ("Keras", "keras"),
        ("class", "class"),
        ("converted by", "converted_by"),
        ("TensorFlow", "tensorflow"),
        ("needs TF Lite", "min_runtime"),
    ):
        if description.get(key):
            tree.add(_fact(label, str(description[key])))
    if "parameters" in description:
        count = f" in {_plural(description['variables'], 'variable')}" if "variables" in description else ""
        tree.add(_fact("parameters", f"{description['parameters']:,}{count}"))
    for part in (_tag_sets, _signature_nodes, _layer_node, _op_nodes, _weight_nodes, _dataset_node):
        for node in part(description):
            tree.add(node)
    return tree


def _tag_sets(description: Description) -> Iterator[RenderableType]:
    if description.get("assets"):
        yield _fact("assets", ", ".join(description["assets"]))
    for tag_set in description.get("tag_sets", ()):
        written = f"  written by TensorFlow {tag_set['tensorflow']}" if tag_set["tensorflow"] else ""
        title = Text.assemble(("tag-set ", "dim"), ("{" + ", ".join(tag_set["tags"]) + "}", "bold"), (written, "dim"))
        tree = Tree(title, guide_style="dim")
        for node in (*_signature_nodes(tag_set), *_op_nodes(tag_set)):
            tree.add(node)
        yield tree


def _signature_nodes(description: Description) -> Iterator[RenderableType]:
    for key, signature in description.get("signatures", {}).items():
        grid = Table.grid(padding=(0, 2))
        for side, label in (("inputs", "in"), ("outputs", "out")):
            for name, spec in signature[side].items():
                grid.add_row(Text(label, "dim"), Text(name, "cyan"), spec["dtype"], Text(_shape(spec["shape"])))
        yield Group(Text.assemble(("signature ", "dim"), (key, "bold")), grid)


def _layer_node(description: Description) -> Iterator[RenderableType]:
    if description.get("layers"):
        classes = counted(layer["class"] for layer in description["layers"])
        yield _counts(_plural(len(description["layers"]), "layer"), classes)


def _op_nodes(description: Description) -> Iterator[RenderableType]:
    if description.get("ops"):
        yield _counts(_plural(sum(description["ops"].values()), "op"), description["ops"])
    if len(description.get("subgraphs", ())) > 1:
        yield _counts(
            _plural(len(description["subgraphs"]), "subgraph"), {s["name"]: s["ops"] for s in description["subgraphs"]}
        )
    for key, label in (("select_tf_ops", "select TF ops (need Flex)"), ("custom_ops", "custom ops")):
        if description.get(key):
            yield _fact(label, ", ".join(description[key]))


def _weight_nodes(description: Description) -> Iterator[RenderableType]:
    for group in description.get("weights", ()):
        grid = Table.grid(padding=(0, 2))
        for name, size in group["shards"].items():
            grid.add_row(Text(name, "cyan"), Text(_size(size), justify="right"))
        yield Group(_counts(_plural(group["tensors"], "weight"), group["dtypes"]), grid)


def _dataset_node(description: Description) -> Iterator[RenderableType]:
    if description.get("datasets"):
        grid = Table.grid(padding=(0, 2))
        for name, spec in description["datasets"].items():
            grid.add_row(Text(name, "cyan", overflow="fold"), spec["dtype"], Text(_shape(spec["shape"])))
        yield Group(Text(_plural(len(description["datasets"]), "dataset"), "dim"), grid)


def _fact(label: str, value: str) -> Text:
    return Text.assemble((f"{label} ", "dim"), value)


def _counts(title: str, counts: Mapping[str, int]) -> Text:
    """`title: a×3, b×2 and 5 more`: the largest counts."""
    shown = list(counts.items())[:_SHOWN_OPS]
    more = len(counts) - len(shown)
    text = Text.assemble((f"{title}: ", "dim"))
    for index, (name, count) in enumerate(shown):
        text.append(f"{', ' if index else ''}{name}×{count:,}")
    return text.append(f" and {more} more", "dim") if more else text


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _shape(shape: list[int | None] | None) -> str:
    return "unknown" if shape is None else "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
