"""The forms of data that are read, in one table, and the function that reads them."""

from collections.abc import Callable
from pathlib import Path

from converters.config.data import Form, Located, locate
from converters.source.data import arrays, examples, folder, table
from converters.source.data.asked import Asked, Read

_READERS: dict[Form, Callable[[Located, Asked], Read]] = {
    "npz": arrays.of_npz,
    "npy": arrays.of_npy,
    "table": table.read,
    "records": examples.read,
    "folder": folder.read,
}
"""A function's file is beside them: it is run, and not read."""


def read(reference: str, base: Path, field: str, asked: Asked) -> Read:
    """The data that a config's field names, as they are asked for. A relative path is below `base`.

    Raises:
        BadInput: they are not there, cannot be read, or do not fit the model; BuilderFailed where the user's code raised.
    """
    located = locate(reference, base, field)
    if located.form == "function":
        return arrays.of_function(located, base, asked, field)
    return _READERS[located.form](located, asked)
