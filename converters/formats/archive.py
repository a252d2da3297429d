"""Archives and HDF5 files that others made, looked at before anything in them is read: names, sizes, ways out."""

import json
import stat
import zipfile
from collections.abc import Iterator
from typing import Any

from converters.contract.errors import Damaged
from converters.contract.names import climbs

MOST_TIMES, MOST_BESIDE = 64, 256 << 20
"""What a file may unpack to: so many times its size, and so many bytes beside. Weights hardly compress; a bomb does by 1000."""
DEEPEST = 200
"""Levels of JSON within JSON. Keras takes six for a model in a model."""
MOST_TEXT = 64 << 20
"""Bytes of a JSON member."""


def require_sound(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse an archive of `size` bytes with a member that leads out of it, or that unpacks to more than it can hold.

    Raises:
        Damaged: names the member.
    """
    total = 0
    for info in archive.infolist():
        if climbs(info.filename):
            raise Damaged(f"its member {info.filename!r} leads out of it")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise Damaged(f"its member {info.filename!r} is a symbolic link")
        total += info.file_size
    _require_size(total, size)


def json_member(archive: zipfile.ZipFile, name: str) -> Any:
    """What a member of an archive that is sound says. Raises Damaged, KeyError."""
    if archive.getinfo(name).file_size > MOST_TEXT:
        raise Damaged(f"its {name} is larger than {MOST_TEXT >> 20} MB")
    return json_of(archive.read(name))


def json_of(text: str | bytes) -> Any:
    """JSON that somebody else wrote. Raises Damaged."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"it holds no JSON that can be read: {type(error).__name__}: {error}") from error
    _require_depth(content)
    return content


def _require_depth(content: Any) -> None:
    level = [content]
    for _ in range(DEEPEST):
        values = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [item for value in values for item in value]
        if not level:
            return
    raise Damaged(f"it holds JSON that is nested more than {DEEPEST} deep")


def require_own(file: Any, size: int) -> None:
    """Refuse an HDF5 file of `size` bytes that takes data from other files, or declares more than it can hold.

    Raises:
        Damaged: names the dataset or link.
    """
    total = 0
    for name, item in _items(file, frozenset()):
        if item is None:
            raise Damaged(f"its {name!r} is a link to another file")
        if item.external or item.is_virtual:
            raise Damaged(f"its dataset {name!r} takes its values from another file")
        total += item.size * item.dtype.itemsize if item.shape is not None else 0
    _require_size(total, size)


def _items(group: Any, above: frozenset[Any]) -> Iterator[tuple[str, Any]]:
    """(path, dataset) of all below a group, and (path, None) for links to other files."""
    import h5py

    for key in group:
        link = group.get(key, getlink=True)
        name = f"{group.name.rstrip('/')}/{key}"
        if isinstance(link, h5py.ExternalLink):
            yield name, None
        elif isinstance(link, h5py.HardLink):
            item = group[key]
            if isinstance(item, h5py.Dataset):
                yield name, item
            elif isinstance(item, h5py.Group) and item.id not in above:
                yield from _items(item, above | {group.id})


def _require_size(declared: int, size: int) -> None:
    if declared > MOST_TIMES * size + MOST_BESIDE:
        raise Damaged(f"it declares {declared} bytes of content, and has {size}")
