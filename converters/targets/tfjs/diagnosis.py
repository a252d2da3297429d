"""What tensorflow.js lacks, said so that a person knows what to do."""

import re
from collections.abc import Iterable

from converters.contract.errors import MOST
from converters.formats.graph import named_ops

_TFJS_LACKS = re.compile(
    r"unknown \w+:|is not (?:yet )?(?:supported|implemented)|does not support|not supported|unsupported|"
    r"not (?:yet )?implemented|notimplemented|has not been registered|missing layer",
    re.IGNORECASE,
)


def of_ops(error: BaseException, where: dict[str, str]) -> str | None:
    """The sentence for the tensorflow.js converter's complaint about ops; None where it is another.

    `where` is op -> name of a node of that op, for those that are known.
    """
    said, _, listed = str(error).partition("\n")
    if not said.startswith("Unsupported Ops"):
        return None
    return of_lacking([op for op in listed.split(", ") if op], where)


def of_lacking(ops: Iterable[str], where: dict[str, str]) -> str:
    """The sentence for ops that tensorflow.js has not; `where` as in `of_ops`."""
    named = sorted(ops)
    remedy = "replace it, or do this part outside the model"
    if "InitializeTableFromTextFileV2" in named:
        remedy = "give the vocabulary as a list in place of a file, or do this part outside the model"
    return f"tensorflow.js has no op {named_ops(named, where)}; {remedy}"


def of_layers_model(message: str) -> str | None:
    """tensorflow.js's own words where it lacks what a layers model needs; None where it complains of anything else."""
    text = " ".join(message.split())
    if not _TFJS_LACKS.search(text):
        return None
    return (
        f"tensorflow.js cannot load it as a layers model: {text.partition(' This may be due')[0][:MOST].rstrip(' .')}"
    )
