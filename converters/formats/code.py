"""Code that comes with a model: what loading or running it would do beside calculating. Answered by reading alone."""

from collections.abc import Collection, Iterable
from pathlib import Path

from converters.contract.errors import BadInput
from converters.formats import effects, keras_file, saved_model, savers

TRUST = "trust_code: true in a config, or --trust-code"
MOST = 5
"""Findings that are named."""


def of_saved_model(folder: Path) -> list[str]:
    """What its graphs do beside calculating, in every tag-set and function; as parts of a sentence. Raises Damaged."""
    found: list[str] = []
    for meta_graph in saved_model.read_all(folder):
        found += [*effects.of_graph(meta_graph.graph_def), *savers.foreign(meta_graph)]
    return list(dict.fromkeys(found))


def of_keras(path: Path, known: Collection[str] = ()) -> list[str]:
    """What the classes and functions in a .keras or .h5 file are beside Keras's own and those known; likewise. Raises Damaged."""
    return keras_file.code_in(path, known)


def require_none(where: str, found: Iterable[str], instead: str = "") -> None:
    """Refuse what does something beside calculating. `instead` ends the sentence with what may be done as well.

    Raises:
        BadInput: names what, and how to say that its maker is trusted.
    """
    listed = list(found)
    if listed:
        more = f", and {len(listed) - MOST} more" if len(listed) > MOST else ""
        raise BadInput(
            f"{where} comes with code that is not run unasked: {'; '.join(listed[:MOST])}{more}; if you trust whoever "
            f"made it, say so: {TRUST}{instead}"
        )
