"""Arrays: what a user's function returns, .npz and .npy files. Nothing is unpickled."""

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from converters.config.data import Located
from converters.contract.errors import raised
from converters.formats.dtypes import Array
from converters.processes import userland
from converters.source.data.asked import Asked, Read

MOST_BYTES = 8 << 30
"""Of the samples of one array that are read: as much memory as a build may take, unless its limits are raised."""


def of_function(located: Located, base: Path, asked: Asked, field: str) -> Read:
    """What the function returns: `{input: array}`, or that by signature, and labels beside."""
    data = userland.call(located.text, base, field)
    if not isinstance(data, Mapping):
        wanted = "{input: array, labels: array}" if asked.labelled else "{input name: array}"
        raise asked.fail(f" returned {type(data).__name__}; return {wanted}")
    return _by_signature(data, asked)


def of_npz(located: Located, asked: Asked) -> Read:
    """Arrays by name: an input's, or SIGNATURE/INPUT, and labels; of each the first samples."""
    try:
        with zipfile.ZipFile(located.path) as archive:
            names = {name.removesuffix(".npy"): name for name in archive.namelist()}
            wanted = {asked.labels} | {
                form
                for key, signature in asked.signatures.items()
                for name in signature.inputs
                for form in (name, f"{key}/{name}")
            }
            data: dict[str, Any] = {}
            for name, member in names.items():
                with archive.open(member) as file:
                    # What is not asked for is named in messages alone.
                    held = archive.getinfo(member).file_size
                    data[name] = _first(file, asked, name, held) if name in wanted else None
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:  # RuntimeError: encrypted
        raise asked.fail(f" cannot be read as .npz: {raised(error)}") from error
    nested = {
        key: {name: data[f"{key}/{name}"] for name in signature.inputs if f"{key}/{name}" in data}
        for key, signature in asked.signatures.items()
        if any(f"{key}/{name}" in data for name in signature.inputs)
    }
    if nested:
        return _by_signature(nested | {name: data[name] for name in (asked.labels,) if name in data}, asked)
    return _by_signature(data, asked)


def of_npy(located: Located, asked: Asked) -> Read:
    """The array of signatures that have one input."""
    chosen = {key: signature for key, signature in asked.signatures.items() if len(signature.inputs) == 1}
    if not chosen:
        raise asked.fail(f" is one array, but the inputs by signature are {asked.inputs()}; give an .npz file of them")
    if asked.labelled:
        raise asked.fail(f" holds no {asked.labels!r}; give an .npz file of inputs and labels")
    try:
        with located.path.open("rb") as file:
            array = _first(file, asked, located.path.name, located.path.stat().st_size)
    except (OSError, EOFError) as error:
        raise asked.fail(f" cannot be read as .npy: {raised(error)}") from error
    return Read({key: {next(iter(signature.inputs)): array} for key, signature in chosen.items()})


def _first(file: IO[bytes], asked: Asked, name: str, held: int) -> Array:
    """The first samples of an array in NumPy's format, of `held` bytes; no more of the file is read than they take."""
    try:
        version = npy.read_magic(file)  # type: ignore[no-untyped-call]
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read_header(file)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise asked.fail(f": {name!r} cannot be read as an array: {error}") from error
    if dtype.hasobject:
        raise asked.fail(f": {name!r} holds Python objects, which are not unpickled; save numbers, or text as bytes")
    rows = min(shape[0], asked.most) if shape and not fortran_order else None
    wanted = shape if rows is None else (rows, *shape[1:])
    size = math.prod(wanted) * dtype.itemsize
    if not 0 <= size <= min(held, MOST_BYTES):
        raise asked.fail(f": {name!r} declares {size} bytes, and has {held}; {MOST_BYTES} are the most")
    content = file.read(size)
    if len(content) != size:
        raise asked.fail(f": {name!r} ends after {len(content)} of {size} bytes")
    array = np.frombuffer(content, dtype)
    if not fortran_order:
        return array.reshape(wanted)
    return np.asarray(array.reshape(wanted[::-1]).T[: asked.most])


def _by_signature(data: Mapping[str, Any], asked: Asked) -> Read:
    if any(isinstance(value, Mapping) for value in data.values()):
        chosen = {key: data[key] for key in asked.signatures if isinstance(data.get(key), Mapping)}
        inner = next((given[asked.labels] for given in chosen.values() if asked.labels in given), None)
    else:
        chosen = {key: data for key, signature in asked.signatures.items() if set(signature.inputs) & set(data)}
        inner = None
    labels = data.get(asked.labels, inner) if asked.labelled else None
    if asked.labelled and labels is None:
        raise asked.fail(f" has no {asked.labels!r}; it gives {sorted(data)}")
    if asked.labelled and not chosen:
        name = next(name for signature in asked.signatures.values() for name in signature.inputs)
        raise asked.fail(f" gives no array for input {name!r}; it gives {sorted(data)}")
    if not chosen:
        raise asked.fail(f" gives {sorted(data)}, but the inputs by signature are {asked.inputs()}")
    return Read({key: dict(given) for key, given in chosen.items()}, labels)
