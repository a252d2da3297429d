"""The float32 file of the same model that a lossy one is compared with."""

import tempfile
from pathlib import Path

from converters.contract.errors import Damaged, Unsupported
from converters.formats import saved_model as saved_models
from converters.processes import resident
from converters.targets.tflite import flatbuffer, maker, sizes
from converters.targets.tflite.ends import as_numbers, quantized
from converters.targets.tflite.options import TFLiteOptions


def beside(path: Path) -> Path:
    """Where a release has it: the file of the same sizes."""
    kind = TFLiteOptions.kind_of(path.stem)
    return path.with_name(f"float32{path.stem.removeprefix(kind)}{path.suffix}")


def converted(saved_model: Path, path: Path, key: str) -> bytes:
    """A signature converted anew, in the sizes that the file at `path` has; once, by a child that stays. Raises Damaged."""
    with flatbuffer.reading(path) as model:
        if key not in (held := flatbuffer.signatures(model)):
            raise Damaged(f"there is no signature {key!r} in the file")
        signature = as_numbers(held[key], quantized(model)[key])
    kept = resident.own()
    shapes = {name: spec.shape for name, spec in signature.inputs.items()}
    name = f"float32 of {maker.named(saved_model)} {key} {shapes}"
    if kept is not None and name in kept:
        return bytes(kept[name])
    with tempfile.TemporaryDirectory(prefix="fanout-tflite-") as scratch:
        given = saved_models.signatures(saved_models.read(saved_model))[key]
        if {name: spec.shape for name, spec in given.inputs.items()} != shapes:
            fixed = Path(scratch) / "fixed"
            try:
                sizes.write(saved_model, {key: signature}, fixed)
            except Unsupported as error:
                raise Damaged(f"there is no float32 graph to compare with: {error}") from error
            saved_model = fixed
        file = maker.float32(saved_model, key, lambda keys: iter(()), Path(scratch))
    if file.content is None:
        raise Damaged(f"there is no float32 graph to compare with: {file.reasons[key]}")
    if kept is not None:
        kept[name] = file.content
    return file.content
