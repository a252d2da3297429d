"""What a model file holds, for a person or as JSON: signatures, ops, parameters, weights. Nothing in it is run."""

from pathlib import Path
from typing import Any, TypeAlias

from converters.contract.errors import BadInput, Damaged
from converters.formats import recognise
from converters.targets.registry import TARGETS

Description: TypeAlias = dict[str, Any]
"""JSON-ready. Always `path`, `format` and `bytes`; the rest depends on the format."""


def describe(path: Path) -> Description:
    """What the file or directory holds. Call it in a child process: it imports TensorFlow for some formats.

    Raises:
        BadInput: the path is missing, of no known format, or damaged; says which.
    """
    readers = {key: reader for target in TARGETS.values() for key, reader in target.describe.items()}
    known = f"give one of {', '.join(readers)}, or a directory with one of these names in it"
    if not path.exists():
        raise BadInput(f"{path} does not exist; {known}")
    file = next((path / name for name in readers if (path / name).is_file()), None) if path.is_dir() else path
    reader = None if file is None else readers.get(file.name) or readers.get(recognise.ending(file))
    if file is None or reader is None:
        raise BadInput(f"{path} is of no known format; {known}")
    try:
        return {"path": str(path), **reader(file)}
    except Damaged as error:
        raise BadInput(f"{path}: {error}") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
