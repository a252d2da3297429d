"""Writing one TF Lite file for a variant."""

import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from converters.contract.errors import BadInput
from converters.contract.values import Artifact, Signature, Source, Tensors
from converters.processes.once import once
from converters.reference import golden
from converters.targets.tflite import NAME, sizes
from converters.targets.tflite.described import described
from converters.targets.tflite.maker import File, Maker, named
from converters.targets.tflite.options import TFLiteOptions
from converters.targets.tflite.sizes import Sizes


def convert(source: Source, variant: str, out_dir: Path, options: TFLiteOptions) -> list[Artifact]:
    """Write tflite/VARIANT.tflite with every signature that can be converted.

    Raises BadInput where no signature can have the variant's sizes.
    """
    path = out_dir / NAME / f"{variant}.tflite"
    given, kind = options.sizes_of(variant), options.kind_of(variant)
    signatures = source.signatures
    reasons: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="fanout-tflite-") as scratch:
        saved = source.saved_model
        if given is not None:
            signatures, reasons = _of_sizes(source.signatures, given)
            if signatures:
                saved = once(f"{named(saved)} {given.label}", partial(sizes.write, saved, signatures), Path(scratch))
        maker = Maker(
            saved,
            list(signatures),
            options,
            lambda keys: samples_of(source, {key: signatures[key] for key in keys}),
            Path(scratch),
        )
        file = maker.file(kind) if signatures else File(content=None, notes={}, reasons={})
    if file.content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: a check of another variant may look for it at the same time.
        part = path.with_name(f".{path.name}")
        part.write_bytes(described(file.content, source, golden.load(source.golden).cases))
        part.replace(path)
    reasons |= file.reasons
    return [
        Artifact(target=NAME, variant=variant, signature=key, path=None, reason=reasons[key])
        if key in reasons
        else Artifact(target=NAME, variant=variant, signature=key, path=path, reason=file.notes[key])
        for key in source.signatures
    ]


def _of_sizes(signatures: Mapping[str, Signature], given: Sizes) -> tuple[dict[str, Signature], dict[str, str]]:
    """Those that have open sizes, with these in their place, and why the others are left out. Raises BadInput."""
    chosen, reasons, faults = {}, {}, []
    for key, signature in signatures.items():
        now = sizes.fixed(signature, given)
        if (why := sizes.fault(signature, given)) is not None:
            reasons[key] = why
            faults.append(why)
        elif now == signature:
            reasons[key] = "its sizes are fixed in the model already, and so in the file without them in its name"
        else:
            chosen[key] = now
    if faults and not chosen:
        raise BadInput(faults[0])
    return chosen, reasons


def samples_of(source: Source, signatures: Mapping[str, Signature]) -> Iterator[tuple[str, Tensors]]:
    """Calibration samples, one call at a time, each for its signature: the config's data, or golden's inputs.

    `signatures` are those of the file, in whose sizes the calls are.
    """
    given = golden.load(source.representative).cases if source.representative else {}
    known = golden.load(source.golden)
    for key, signature in signatures.items():
        own, every = source.signatures[key], [given.get(key, []), known.cases[key]]
        if signature != own:  # nobody looks at the answers, so that any batch is cut
            every = [golden.in_sizes(cases, own, signature, apart=True) for cases in every]
        cases = next((each for each in every if each), [])
        for case in cases:
            if not signature.dynamic_batch:
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
