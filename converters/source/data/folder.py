"""A folder of images, of WAV, or of text, a file for each sample. Subfolders, where there are any, are its classes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from converters.config.data import Located
from converters.contract.values import Signature, TensorSpec
from converters.formats import digest
from converters.formats.dtypes import Array, objects
from converters.source.data import images, sounds
from converters.source.data.asked import Asked, Read, numbers_of, sample_shape, sampled

ReadFiles = Callable[[str, Sequence[Path], Asked, str | None], tuple[Array, str | None]]
"""The samples of a signature's only input, made of files, and what was assumed; the range of images may be named."""


class Kind(NamedTuple):
    """A kind of file: what it is called, its endings, whether an input takes what it holds, and how that is read.

    An input of text takes the files themselves.
    """

    title: str
    endings: tuple[str, ...]
    fits: Callable[[Signature], bool]
    read: ReadFiles | None


KINDS = (
    Kind("images", (".jpg", ".jpeg", ".png", ".bmp", ".gif"), images.fits, images.read),
    Kind("WAV files", (".wav",), sounds.fits, sounds.read),
    Kind("text files", (".txt",), lambda signature: False, None),
)


def read(located: Located, asked: Asked) -> Read:
    """Samples of every signature with one input that takes them, and labels where they are asked for. Raises BadInput."""
    folder = located.path
    kind, files, classes = _listed(folder, asked)
    chosen = {key: signature for key, signature in asked.signatures.items() if _takes(signature, kind)}
    if not chosen:
        shapes = {
            key: {name: f"{spec.dtype} {_shown(spec)}" for name, spec in signature.inputs.items()}
            for key, signature in asked.signatures.items()
        }
        raise asked.fail(f" is a folder of {kind.title}, but no signature has one input that takes them: {shapes}")
    tensors: dict[str, dict[str, Any]] = {}
    said = []
    for key, signature in chosen.items():
        ((name, spec),) = signature.inputs.items()
        if spec.dtype == "string":
            tensors[key] = {name: _contents(files, signature)}
        else:
            assert kind.read is not None
            tensors[key], sentence = _of_kind(kind.read, key, files, asked, located.values)
            said += [sentence] if sentence else []
    if not asked.labelled:
        return Read(tensors, None, tuple(dict.fromkeys(said)), (folder,))
    labels, sentence = numbers_of([_class(file, folder, asked) for file in files], classes, asked)
    return Read(tensors, labels, (*dict.fromkeys(said), *([sentence] if sentence else [])), (folder,))


def _of_kind(
    read_files: ReadFiles, key: str, files: Sequence[Path], asked: Asked, values: str | None
) -> tuple[dict[str, Any], str | None]:
    (name,) = asked.signatures[key].inputs
    array, sentence = read_files(key, files, asked, values)
    return {name: array}, sentence


def _takes(signature: Signature, kind: Kind) -> bool:
    if len(signature.inputs) != 1:
        return False
    (spec,) = signature.inputs.values()
    if spec.dtype != "string":
        return kind.fits(signature)
    return spec.shape is not None and all(size in (1, None) for size in sample_shape(spec, signature))


def _contents(files: Sequence[Path], signature: Signature) -> Array:
    """The files themselves, each an element of its own."""
    ((_, spec),) = signature.inputs.items()
    shape = (len(files), *(1 for _ in sample_shape(spec, signature)))
    return objects([file.read_bytes() for file in files]).reshape(shape)


def _listed(folder: Path, asked: Asked) -> tuple[Kind, list[Path], set[str]]:
    """The kind of file that the folder holds most of, some of those files, and the classes of all."""
    found: dict[Kind, list[Path]] = {kind: [] for kind in KINDS}
    for path in digest.visible(folder):
        for kind in KINDS:
            if path.suffix.lower() in kind.endings:
                found[kind].append(path)
    kind = max(found, key=lambda each: len(found[each]))
    if not found[kind]:
        endings = ", ".join(ending for each in KINDS for ending in each.endings)
        raise asked.fail(f" is a folder with no file that is read; put {endings} files there")
    classes = {_class(path, folder, asked) for path in found[kind]} if asked.labelled else set()
    return kind, sampled(found[kind], asked.most), classes


def _class(file: Path, folder: Path, asked: Asked) -> str:
    parts = file.relative_to(folder).parts
    if len(parts) < 2:
        raise asked.fail(f": {parts[0]} is in no subfolder; put the files of each class in a subfolder of its own")
    return parts[0]


def _shown(spec: TensorSpec) -> str:
    return "of unknown rank" if spec.shape is None else str(list(spec.shape))
