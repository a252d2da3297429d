"""Making one TF Lite file of a kind, with every signature that it can hold."""

import copy
from collections.abc import Mapping
from pathlib import Path

from converters.contract.errors import Unsupported
from converters.contract.values import Frozen, Signature
from converters.formats import saved_model
from converters.processes.once import once
from converters.targets.tflite import flatbuffer, kernels, quantizing, repairs, trial
from converters.targets.tflite.diagnosis import Diagnosis
from converters.targets.tflite.flatbuffer import Uses
from converters.targets.tflite.options import CONVERTED, QUANTIZED, RECIPE, TFLiteOptions
from converters.targets.tflite.quantizing import STATIC, Recipe
from converters.targets.tflite.routes import Calibration, Routes, Way
from converters.targets.tflite.routes import Made as ByRoute
from converters.targets.tflite.size import too_large

_CONTENT, _TOLD = "content", "made.json"


class File(Frozen):
    """A file with the signatures it holds and a note on each, and why it does not hold the others."""

    content: bytes | None
    notes: dict[str, str | None]
    reasons: dict[str, str]


class Made(Frozen):
    """What a conversion by TensorFlow's converter came to: a flatbuffer and the way it was made, and why not for others."""

    content: bytes | None
    way: Way = Way()
    reasons: dict[str, str]


def float32(saved_model: Path, key: str, calibration: Calibration, scratch: Path) -> File:
    """A float32 file of one signature."""
    return Maker(saved_model, [key], TFLiteOptions(), calibration, scratch).file("float32")


def named(saved_model: Path) -> str:
    """What tells a SavedModel from others of this run; of one that is missing, its reader says so."""
    written = saved_model.stat() if saved_model.exists() else None
    return f"{saved_model} {written and (written.st_ino, written.st_mtime_ns)}"


def _is_better(one: Made, other: Made, kind: str) -> bool:
    """Whether one leaves less in float32 than another; of equal ones, the first is."""
    assert one.content is not None
    assert other.content is not None
    return quantizing.lacks(one.content, kind) <= quantizing.lacks(other.content, kind)


class Maker:
    """Makes the files of a SavedModel's signatures.

    The float32 file is converted once for all that the quantizer makes of it; where it cannot, TensorFlow's converter makes
    the variants that it has from the SavedModel again.
    """

    def __init__(
        self, saved_model: Path, keys: list[str], options: TFLiteOptions, calibration: Calibration, scratch: Path
    ) -> None:
        self._path, self._keys, self._options = saved_model, keys, options
        self._calibration, self._scratch = calibration, scratch

    def file(self, kind: str) -> File:
        """One file with as many of the signatures as TF Lite can hold."""
        base = self._shared()
        if kind == "float32" or base.content is None:
            return self._finished(base, kind)
        keys = [key for key in self._keys if key not in base.reasons]
        made = self._quantized(base, kind, keys)
        # What TensorFlow's converter makes for activations of 16 bits may end the program that runs it.
        if isinstance(made, Made) and (kind == "int16x8" or not quantizing.lacks(made.content or b"", kind)):
            return self._finished(made, kind)
        # TensorFlow's converter has kernels of more ops in mind, but takes the SavedModel for each variant anew.
        again = self._converted(kind) if kind in CONVERTED else Made(content=None, reasons=base.reasons)
        if isinstance(made, Made) and (again.content is None or _is_better(made, again, kind)):
            return self._finished(made, kind)
        if again.content is None and kind not in CONVERTED:
            return File(content=None, notes={}, reasons=base.reasons | dict.fromkeys(keys, str(made)))
        return self._finished(again, kind)

    def _quantized(self, base: Made, kind: str, keys: list[str]) -> Made | str:
        """Of the float32 file, or why not.

        Where signatures share their weights, the quantizer puts casts between layers that fit to neither side: what results
        is tried, and of files whose activations are quantized, which may compute all the same, it makes those of one alone.
        """
        assert base.content is not None
        if len(keys) > 1 and kind in STATIC:
            return "the quantizer takes one signature in a file"
        try:
            content = quantizing.quantized(base.content, self._recipe(kind, base.content), self._calibration(keys))
        except Unsupported as error:
            return str(error)
        content = repairs.with_equal_grids(content)
        if any(use.half_ops for use in flatbuffer.uses(flatbuffer.parse(content)).values()):
            return base.model_copy(update={"content": content})  # it would end this process; see _not_quantized
        signatures = saved_model.signatures(saved_model.read(self._path))
        found = trial.problem(content, keys, signatures, self._calibration(keys))
        return base.model_copy(update={"content": content}) if found is None else found.sentence

    def _recipe(self, kind: str, content: bytes) -> Recipe:
        if kind != RECIPE:
            return quantizing.recipe(kind, content)
        assert isinstance(self._options.recipe, list)
        return self._options.recipe

    def _shared(self) -> Made:
        """The float32 file."""
        name = f"float32 of {named(self._path)} {self._keys} {self._options.select_ops}"
        folder = once(name, self._write, self._scratch)
        told = Made.model_validate_json((folder / _TOLD).read_bytes())
        content = (folder / _CONTENT).read_bytes() if (folder / _CONTENT).exists() else None
        return told.model_copy(update={"content": content})

    def _write(self, folder: Path) -> None:
        made = self._converted("float32")
        if made.content is not None:
            (folder / _CONTENT).write_bytes(made.content)
        (folder / _TOLD).write_text(made.model_copy(update={"content": None}).model_dump_json())

    def _converted(self, kind: str) -> Made:
        """By TensorFlow's converter."""
        routes = Routes(
            self._path,
            kind,
            select_ops=self._options.select_ops == "auto",
            calibration=self._calibration,
            scratch=self._scratch,
        )
        reasons = _too_large(routes, self._keys)
        made, refused = _all_that_can(routes, [key for key in self._keys if key not in reasons])
        reasons |= refused
        if made is None:
            return Made(content=None, reasons=reasons)
        held = [key for key in self._keys if key not in reasons]
        content = _with_twins(made.content, held, saved_model.signatures(routes.graph))
        content = repairs.with_equal_grids(content) if kind in STATIC else content
        return Made(content=content, way=made.way, reasons=reasons)

    def _finished(self, made: Made, kind: str) -> File:
        """The file with a note on each signature, without those in which there was nothing to quantize."""
        reasons = dict(made.reasons)
        if made.content is None:
            return File(content=None, notes={}, reasons=reasons)
        keys = [key for key in self._keys if key not in reasons]
        model = flatbuffer.parse(made.content)
        uses = flatbuffer.uses(model)
        if kind in QUANTIZED:
            reasons |= {
                key: _not_quantized(uses[key], kind)
                for key in keys
                if key in uses and not _is_quantized(uses[key], kind)
            }
        every = sorted({op for use in uses.values() for op in use.select_ops})
        notes = {
            key: _joined(_note(uses.get(key), every, made.way, kind), kernels.note(model, key) if key in uses else None)
            for key in keys
            if key not in reasons
        }
        return File(content=made.content if notes else None, notes=notes, reasons=reasons)


def _too_large(routes: Routes, keys: list[str]) -> dict[str, str]:
    """Why signatures are too large, each alone or all together."""
    reasons = {key: why for key in keys if (why := too_large(routes.graph, [key], routes.variant))}
    others = [key for key in keys if key not in reasons]
    why = too_large(routes.graph, others, routes.variant) if others else None
    return reasons | dict.fromkeys(others, f"with the other signatures {why}") if why else reasons


def _all_that_can(routes: Routes, keys: list[str]) -> tuple[ByRoute | None, dict[str, str]]:
    """A file of all signatures, or else of those that can be converted alone; and why not the others."""
    if not keys:
        return None, {}
    together = routes.attempt(keys, routes.first(keys))
    if isinstance(together, ByRoute):
        return together, {}
    if len(keys) == 1:
        return None, {keys[0]: together.sentence}
    outcomes = {key: routes.attempt([key], routes.first([key])) for key in keys}
    alone = {key: outcome for key, outcome in outcomes.items() if isinstance(outcome, ByRoute)}
    reasons = {key: outcome.sentence for key, outcome in outcomes.items() if isinstance(outcome, Diagnosis)}
    if len(alone) < 2:
        return next(iter(alone.values()), None), reasons
    start = routes.first(list(alone), [made.way for made in alone.values()])
    # Where all of them survived, this is what has just failed.
    again = together if not reasons and not start.frozen else routes.attempt(list(alone), start)
    if isinstance(again, ByRoute):
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


def _is_quantized(use: Uses, kind: str) -> bool:
    return QUANTIZED[kind][0] in use.dtypes and not use.half_ops


def _not_quantized(use: Uses, kind: str) -> str:
    remedy = QUANTIZED[kind][1]
    if use.half_ops:  # the file would end the program that runs it: the quantizer gives these ops float32
        return f"it computes {', '.join(use.half_ops)} in float16, which TF Lite does not quantize; build it in float32"
    if use.float_ops:
        return f"no op of it has {_kernel(kind)} ({', '.join(use.float_ops)}); use {remedy}"
    if use.select_ops:
        return f"select TF ops ({', '.join(use.select_ops)}) have no int8 kernels; use float32"
    return "it computes nothing in floating point, so there is nothing to quantize; use float32"


def _kernel(kind: str) -> str:
    return {"int16x8": "a kernel for int16", "int4": "weights of 4 bits", "weight-only-int8": "weights of 8 bits"}.get(
        kind, "an int8 kernel"
    )


def _note(use: Uses | None, every: list[str], way: Way, kind: str) -> str | None:
    notes = []
    if use is not None and use.select_ops:
        notes.append(f"uses select TF ops ({', '.join(use.select_ops)}): the app needs the Flex delegate")
    elif every:
        notes.append(f"shares its file with select TF ops ({', '.join(every)}): the app needs the Flex delegate")
    if use is not None and kind in STATIC and use.float_ops:
        notes.append(f"{', '.join(use.float_ops)} stays in float32, having no {_kernel(kind).partition(' ')[2]}")
    if way.alone is not None:
        notes.append(f"select TF ops in place of all built-in ones, since {way.alone.partition(';')[0]}")
    if way.frozen is not None:
        notes.append(f"converted from its frozen graph, since {way.frozen}")
    return "; ".join(notes) or None


def _joined(*notes: str | None) -> str | None:
    return "; ".join(filter(None, notes)) or None
