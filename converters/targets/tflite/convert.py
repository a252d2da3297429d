"""Writing one TF Lite file for a variant, with every signature that it can hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from converters.contract.values import Artifact, Source, Tensors
from converters.reference import golden
from converters.targets.tflite import NAME
from converters.targets.tflite import routes as tflite_convert

if TYPE_CHECKING:
    from converters.targets.tflite.target import TFLiteOptions


def convert(source: Source, variant: str, out_dir: Path, options: "TFLiteOptions") -> list[Artifact]:
    """Write tflite/VARIANT.tflite with every signature that can be converted."""
    path = out_dir / NAME / f"{variant}.tflite"
    result = tflite_convert.convert(
        source.saved_model,
        list(source.signatures),
        variant,  # type: ignore[arg-type]
        select_ops=options.select_ops == "auto",
        calibration=lambda keys: _representative(source, keys),
    )
    if result.content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(result.content)
    return [
        Artifact(target=NAME, variant=variant, signature=key, path=None, reason=result.reasons[key])
        if key in result.reasons
        else Artifact(target=NAME, variant=variant, signature=key, path=path, reason=result.notes[key])
        for key in source.signatures
    ]


def _representative(source: Source, keys: list[str]) -> Iterator[tuple[str, Tensors]]:
    """Calibration samples, one at a time, each for its signature: the config's data, or golden's inputs."""
    given = golden.load(source.representative).cases if source.representative else {}
    known = golden.load(source.golden).cases
    for key in keys:
        for case in given.get(key) or known[key]:
            if not source.signatures[key].dynamic_batch:
                yield from _fed(key, case.inputs)
                continue
            for index in range(len(next(iter(case.inputs.values())))):
                yield from _fed(key, {name: value[index : index + 1] for name, value in case.inputs.items()})


def _fed(key: str, sample: Tensors) -> Iterator[tuple[str, Tensors]]:
    """The sample as the calibrator takes it, which reads strings from NumPy's own string type alone.

    That type drops NULs from a string's end, so a sample where this would change one is left out.
    """
    fed = {name: value.astype(np.bytes_) if value.dtype == object else value for name, value in sample.items()}
    if all(np.array_equal(fed[name].astype(object), value) for name, value in sample.items() if value.dtype == object):
        yield key, fed
