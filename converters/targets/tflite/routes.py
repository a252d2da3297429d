"""Writing TF Lite files: which signatures one can hold, by which route, and why not the others.

The routes, each tried only where the one before says that it is needed: built-in ops; select TF ops, which an app runs
through the Flex delegate; and either of them from the signatures' frozen graph.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from converters.contract.errors import Unsupported
from converters.contract.values import Frozen, Tensors
from converters.formats import frozen
from converters.formats import saved_model as meta_graph
from converters.targets.tflite import diagnosis
from converters.targets.tflite import once as tflite_once
from converters.targets.tflite.diagnosis import Diagnosis
from converters.targets.tflite.flatbuffer import Uses, uses
from converters.targets.tflite.size import Variant, too_large

_OF_VARIABLES = frozenset({"VarHandleOp", "ReadVariableOp", "AssignVariableOp", "VariableV2", "Variable", "Assign"})

Calibration = Callable[[list[str]], Iterator[tuple[str, Tensors]]]
"""Signature keys -> calibration samples, each with its signature's key."""


class Way(Frozen):
    """How a conversion is done: with select TF ops, for tensor lists too, and from the frozen graph (`frozen` says why).

    Tensor lists, in which a loop collects its steps, are otherwise replaced by tensors of a fixed shape
    (tensorflow/compiler/mlir/lite/transforms/lower_static_tensor_list.cc).
    """

    select: bool = False
    lists: bool = False
    frozen: str | None = None


class Made(Frozen):
    """A flatbuffer and the way it was made."""

    content: bytes
    way: Way


class Result(Frozen):
    """A file with the signatures it holds and a note on each, and why it does not hold the others."""

    content: bytes | None
    notes: dict[str, str | None]
    reasons: dict[str, str]


def convert(
    saved_model: Path, keys: list[str], variant: Variant, *, select_ops: bool, calibration: Calibration
) -> Result:
    """One file with as many of the signatures as TF Lite can hold."""
    with tempfile.TemporaryDirectory(prefix="fanout-tflite-") as scratch:
        return _Conversion(saved_model, variant, select_ops, calibration, Path(scratch)).run(keys)


class _Conversion:
    def __init__(
        self, saved_model: Path, variant: Variant, select_ops: bool, calibration: Calibration, scratch: Path
    ) -> None:
        self.saved_model = saved_model
        self.variant = variant
        self.select_ops = select_ops
        self.calibration = calibration
        self.scratch = scratch
        self.graph = meta_graph.read(saved_model)
        self.written: dict[tuple[str, ...], Path | Unsupported] = {}

    def run(self, keys: list[str]) -> Result:
        reasons = {key: why for key in keys if (why := too_large(self.graph, [key], self.variant))}
        keys = [key for key in keys if key not in reasons]
        if keys and (why := too_large(self.graph, keys, self.variant)):
            reasons |= dict.fromkeys(keys, f"with the other signatures {why}")
            keys = []
        made = self._all_that_can(keys, reasons) if keys else None
        if made is None:
            return Result(content=None, notes={}, reasons=reasons)
        made = made.model_copy(update={"content": self._with_twins(made.content, set(keys) - set(reasons))})
        notes = self._notes(made, [key for key in keys if key not in reasons], reasons)
        return Result(content=made.content if notes else None, notes=notes, reasons=reasons)

    def _all_that_can(self, keys: list[str], reasons: dict[str, str]) -> Made | None:
        """A file of all signatures, or else of those that can be converted alone; `reasons` gets the others."""
        together = self._attempt(keys, self._first_way(keys))
        if isinstance(together, Made):
            return together
        if len(keys) == 1:
            reasons[keys[0]] = together.sentence
            return None
        alone: dict[str, Made] = {}
        for key in keys:
            made = self._attempt([key], self._first_way([key]))
            if isinstance(made, Made):
                alone[key] = made
            else:
                reasons[key] = made.sentence
        if len(alone) < 2:
            return next(iter(alone.values()), None)
        survivors = list(alone)
        first = self._first_way(survivors)
        why = first.frozen
        if why is None and not frozen.uses_tables(self.graph, survivors):
            why = next((made.way.frozen for made in alone.values() if made.way.frozen), None)
        ways = [made.way for made in alone.values()]
        start = Way(select=any(way.select for way in ways), lists=any(way.lists for way in ways), frozen=why)
        # Where all of them survived, this is what has just failed.
        again = together if len(survivors) == len(keys) and not start.frozen else self._attempt(survivors, start)
        if isinstance(again, Made):
            return again
        chosen = survivors[0]
        for key in survivors[1:]:
            reasons[key] = f"it can be converted alone, but not in one file with {chosen!r}: {again.sentence}"
        return alone[chosen]

    def _with_twins(self, content: bytes, keys: set[str]) -> bytes:
        """The file with every one of the signatures, where the converter wrote one of several that are the same function.

        Keras 3's `export` gives its function the keys `serve` and `serving_default`, and only one of them is written.
        A signature gets the subgraph of one with the same names; that it computes the same is for the check to find.
        """
        from tensorflow.lite.python import schema_py_generated as schema
        from tensorflow.lite.tools import flatbuffer_utils

        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        written = {definition.signatureKey.decode(): definition for definition in model.signatureDefs or ()}
        signatures = meta_graph.signatures(self.graph)
        added = []
        for key in sorted(keys - written.keys()):
            twin = next((other for name, other in written.items() if signatures[name] == signatures[key]), None)
            if twin is not None:
                copied = schema.SignatureDefT()
                copied.inputs, copied.outputs, copied.subgraphIndex = twin.inputs, twin.outputs, twin.subgraphIndex
                copied.signatureKey = key.encode()
                added.append(copied)
        if not added:
            return content
        model.signatureDefs = [*model.signatureDefs, *added]
        return bytes(flatbuffer_utils.convert_object_to_bytearray(model))

    def _first_way(self, keys: list[str]) -> Way:
        return Way(frozen=frozen.reason_to(self.graph, keys))

    def _attempt(self, keys: list[str], way: Way) -> Made | Diagnosis:
        """The file by the first way that succeeds, from `way` on; or the most telling of the reasons."""
        tried: list[Way] = []
        best: Diagnosis | None = None
        following: Way | None = way
        while following is not None and following not in tried:
            tried.append(following)
            outcome = self._once(keys, following)
            if isinstance(outcome, bytes):
                return Made(content=outcome, way=following)
            # Without ops it says least, except where what the ops needed has been given to them.
            if best is None or outcome.ops or best.need in ("select", "lists"):
                best = outcome
            following = self._next(following, outcome, frozen_first=way.frozen is not None)
        assert best is not None
        return best

    def _next(self, way: Way, problem: Diagnosis, *, frozen_first: bool) -> Way | None:
        if problem.need == "select":
            return _with(way, select=True) if self.select_ops and not way.select else None
        if problem.need == "lists":
            return _with(way, select=True, lists=True) if self.select_ops and not way.lists else None
        if problem.need == "quantize":
            return None
        if problem.need == "custom" and not set(problem.ops) <= _OF_VARIABLES:
            return None
        if way.frozen is not None:
            return _with(way, frozen=None) if frozen_first else None
        if frozen_first:
            return None
        return _with(way, frozen="as it is it cannot be converted")

    def _once(self, keys: list[str], way: Way) -> bytes | Diagnosis:
        import tensorflow as tf
        from tensorflow.lite.python.convert_phase import ConverterError

        try:
            saved_model = self.saved_model if way.frozen is None else self._freeze(keys)
        except Unsupported as error:
            return Diagnosis(need="other", sentence=str(error))
        try:
            content: bytes = self._converter(saved_model, keys, way).convert()
            return content
        # ConverterError is what the converter says; its quantizer and the loader raise the others.
        except (ConverterError, RuntimeError, ValueError, KeyError, tf.errors.OpError) as error:
            return diagnosis.of_tflite(error)

    def _freeze(self, keys: list[str]) -> Path:
        """The signatures' frozen SavedModel, written once. Raises Unsupported."""
        group = tuple(keys)
        if group not in self.written:
            folder = self.scratch / f"frozen-{len(self.written)}"
            try:
                self.written[group] = frozen.write(self.saved_model, keys, folder)
            except Unsupported as error:
                self.written[group] = error
        found = self.written[group]
        if isinstance(found, Unsupported):
            raise found
        return found

    def _converter(self, saved_model: Path, keys: list[str], way: Way) -> Any:
        import tensorflow as tf

        graph = self.graph if saved_model == self.saved_model else meta_graph.read(saved_model)
        converter = tflite_once.from_saved_model(saved_model, keys, graph)
        builtins = tf.lite.OpsSet.TFLITE_BUILTINS
        if self.variant != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if self.variant == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if self.variant == "int8":
            builtins = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
            converter.representative_dataset = lambda: self.calibration(keys)
        converter.target_spec.supported_ops = [builtins, tf.lite.OpsSet.SELECT_TF_OPS] if way.select else [builtins]
        converter._experimental_lower_tensor_list_ops = not way.lists
        return converter

    def _notes(self, made: Made, keys: list[str], reasons: dict[str, str]) -> dict[str, str | None]:
        """What is to be said of each signature that the file holds; `reasons` gets those it holds in name only."""
        from tensorflow.lite.python import schema_py_generated as schema

        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(made.content, 0))
        found = uses(model, schema)
        every = sorted({op for use in found.values() for op in use.select_ops})
        notes: dict[str, str | None] = {}
        for key in keys:
            use = found.get(key)
            if self.variant == "int8" and use is not None and (use.half_ops or not use.int8):
                reasons[key] = _not_quantized(use)
                continue
            notes[key] = _note(use, every, made.way, self.variant)
        return notes


def _with(way: Way, **changed: object) -> Way:
    return way.model_copy(update=changed)


def _not_quantized(use: Uses) -> str:
    if use.half_ops:  # the file would end the program that runs it: the quantizer gives these ops float32
        return f"it computes {', '.join(use.half_ops)} in float16, which TF Lite does not quantize; build it in float32"
    if use.float_ops:
        return f"no op of it has an int8 kernel ({', '.join(use.float_ops)}); use dynamic or float32"
    if use.select_ops:
        return f"select TF ops ({', '.join(use.select_ops)}) have no int8 kernels; use float32"
    return "it computes nothing in floating point, so there is nothing to quantize; use float32"


def _note(use: Uses | None, every: list[str], way: Way, variant: Variant) -> str | None:
    notes = []
    if use is not None and use.select_ops:
        notes.append(f"uses select TF ops ({', '.join(use.select_ops)}): the app needs the Flex delegate")
    elif every:
        notes.append(f"shares its file with select TF ops ({', '.join(every)}): the app needs the Flex delegate")
    if use is not None and variant == "int8" and use.float_ops:
        notes.append(f"{', '.join(use.float_ops)} stays in float32, having no int8 kernel")
    if way.frozen is not None:
        notes.append(f"converted from its frozen graph, since {way.frozen}")
    return "; ".join(notes) or None
