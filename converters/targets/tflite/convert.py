"""Writing one TF Lite file for a variant, with every signature that it can hold."""

import copy
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from converters.contract.values import Artifact, Frozen, Signature, Source, Tensors
from converters.formats import saved_model
from converters.reference import golden
from converters.targets.tflite import NAME, flatbuffer, kernels
from converters.targets.tflite.diagnosis import Diagnosis
from converters.targets.tflite.flatbuffer import Uses
from converters.targets.tflite.options import TFLiteOptions
from converters.targets.tflite.routes import Calibration, Made, Routes, Way
from converters.targets.tflite.size import too_large


class File(Frozen):
    """A file with the signatures it holds and a note on each, and why it does not hold the others."""

    content: bytes | None
    notes: dict[str, str | None]
    reasons: dict[str, str]


def convert(source: Source, variant: str, out_dir: Path, options: TFLiteOptions) -> list[Artifact]:
    """Write tflite/VARIANT.tflite with every signature that can be converted."""
    path = out_dir / NAME / f"{variant}.tflite"
    file = of_saved_model(
        source.saved_model,
        list(source.signatures),
        variant,
        select_ops=options.select_ops == "auto",
        calibration=lambda keys: _representative(source, keys),
    )
    if file.content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: a check of another variant may look for it at the same time.
        part = path.with_name(f".{path.name}")
        part.write_bytes(file.content)
        part.replace(path)
    return [
        Artifact(target=NAME, variant=variant, signature=key, path=None, reason=file.reasons[key])
        if key in file.reasons
        else Artifact(target=NAME, variant=variant, signature=key, path=path, reason=file.notes[key])
        for key in source.signatures
    ]


def of_saved_model(path: Path, keys: list[str], variant: str, *, select_ops: bool, calibration: Calibration) -> File:
    """One file with as many of the signatures as TF Lite can hold."""
    with tempfile.TemporaryDirectory(prefix="fanout-tflite-") as scratch:
        routes = Routes(path, variant, select_ops=select_ops, calibration=calibration, scratch=Path(scratch))
        reasons = _too_large(routes, keys)
        made, refused = _all_that_can(routes, [key for key in keys if key not in reasons])
    reasons |= refused
    if made is None:
        return File(content=None, notes={}, reasons=reasons)
    keys = [key for key in keys if key not in reasons]
    content = _with_twins(made.content, keys, saved_model.signatures(routes.graph))
    model = flatbuffer.parse(content)
    uses = flatbuffer.uses(model)
    if variant == "int8":
        reasons |= {key: _not_quantized(uses[key]) for key in keys if key in uses and not _is_quantized(uses[key])}
    every = sorted({op for use in uses.values() for op in use.select_ops})
    notes = {
        key: _joined(_note(uses.get(key), every, made.way, variant), kernels.note(model, key) if key in uses else None)
        for key in keys
        if key not in reasons
    }
    return File(content=content if notes else None, notes=notes, reasons=reasons)


def _too_large(routes: Routes, keys: list[str]) -> dict[str, str]:
    """Why signatures are too large, each alone or all together."""
    reasons = {key: why for key in keys if (why := too_large(routes.graph, [key], routes.variant))}
    others = [key for key in keys if key not in reasons]
    why = too_large(routes.graph, others, routes.variant) if others else None
    return reasons | dict.fromkeys(others, f"with the other signatures {why}") if why else reasons


def _all_that_can(routes: Routes, keys: list[str]) -> tuple[Made | None, dict[str, str]]:
    """A file of all signatures, or else of those that can be converted alone; and why not the others."""
    if not keys:
        return None, {}
    together = routes.attempt(keys, routes.first(keys))
    if isinstance(together, Made):
        return together, {}
    if len(keys) == 1:
        return None, {keys[0]: together.sentence}
    outcomes = {key: routes.attempt([key], routes.first([key])) for key in keys}
    alone = {key: outcome for key, outcome in outcomes.items() if isinstance(outcome, Made)}
    reasons = {key: outcome.sentence for key, outcome in outcomes.items() if isinstance(outcome, Diagnosis)}
    if len(alone) < 2:
        return next(iter(alone.values()), None), reasons
    start = routes.first(list(alone), [made.way for made in alone.values()])
    # Where all of them survived, this is what has just failed.
    again = together if not reasons and not start.frozen else routes.attempt(list(alone), start)
    if isinstance(again, Made):
        return again, reasons
    chosen, *others = alone
    why = f"it can be converted alone, but not in one file with {chosen!r}: {again.sentence}"
    return alone[chosen], reasons | dict.fromkeys(others, why)


def _with_twins(content: bytes, keys: list[str], signatures: Mapping[str, Signature]) -> bytes:
    """The file with every one of the signatures, where the converter wrote one of several that are the same function.

    Keras 3's `export` gives its function the keys `serve` and `serving_default`, and only one of them is written.
    A signature gets the subgraph of one with the same names; that it computes the same is for the check to find.
    """
    model = flatbuffer.parse(content)
    written = flatbuffer.definitions(model)
    twins = []
    for key in sorted(set(keys) - written.keys()):
        twin = next((other for name, other in written.items() if signatures[name] == signatures[key]), None)
        if twin is not None:
            twins.append(copy.copy(twin))
            twins[-1].signatureKey = key.encode()
    if not twins:
        return content
    model.signatureDefs = [*model.signatureDefs, *twins]
    return flatbuffer.pack(model)


def _is_quantized(use: Uses) -> bool:
    return use.int8 and not use.half_ops


def _not_quantized(use: Uses) -> str:
    if use.half_ops:  # the file would end the program that runs it: the quantizer gives these ops float32
        return f"it computes {', '.join(use.half_ops)} in float16, which TF Lite does not quantize; build it in float32"
    if use.float_ops:
        return f"no op of it has an int8 kernel ({', '.join(use.float_ops)}); use dynamic or float32"
    if use.select_ops:
        return f"select TF ops ({', '.join(use.select_ops)}) have no int8 kernels; use float32"
    return "it computes nothing in floating point, so there is nothing to quantize; use float32"


def _note(use: Uses | None, every: list[str], way: Way, variant: str) -> str | None:
    notes = []
    if use is not None and use.select_ops:
        notes.append(f"uses select TF ops ({', '.join(use.select_ops)}): the app needs the Flex delegate")
    elif every:
        notes.append(f"shares its file with select TF ops ({', '.join(every)}): the app needs the Flex delegate")
    if use is not None and variant == "int8" and use.float_ops:
        notes.append(f"{', '.join(use.float_ops)} stays in float32, having no int8 kernel")
    if way.alone is not None:
        notes.append(f"select TF ops in place of all built-in ones, since {way.alone.partition(';')[0]}")
    if way.frozen is not None:
        notes.append(f"converted from its frozen graph, since {way.frozen}")
    return "; ".join(notes) or None


def _joined(*notes: str | None) -> str | None:
    return "; ".join(filter(None, notes)) or None


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
