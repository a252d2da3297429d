"""The routes by which signatures become a TF Lite file.

Each is tried only where the one before says that it is needed: built-in ops; select TF ops, which an app runs through the
Flex delegate, for what has no built-in one; select TF ops alone, where a built-in one does not run; and any of them from the
signatures' frozen graph.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from converters.contract.errors import Unsupported
from converters.contract.values import Frozen, Tensors
from converters.formats import frozen, saved_model
from converters.targets.tflite import diagnosis, internals, repairs, trial
from converters.targets.tflite.diagnosis import Diagnosis
from converters.targets.tflite.options import INTEGER_ENDS

_STATIC = {
    "int8": "TFLITE_BUILTINS_INT8",
    "int8-io": "TFLITE_BUILTINS_INT8",
    "int16x8": "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",
}
"""The ops (tf.lite.OpsSet) of kinds whose activations are quantized."""
_OF_VARIABLES = frozenset({"VarHandleOp", "ReadVariableOp", "AssignVariableOp", "VariableV2", "Variable", "Assign"})

Calibration = Callable[[list[str]], Iterator[tuple[str, Tensors]]]
"""Signature keys -> calibration samples, each with its signature's key."""


class Way(Frozen):
    """How a conversion is done: with select TF ops, for tensor lists too, and from the frozen graph (`frozen` says why).

    `alone` says why there are no built-in ops beside the select TF ops.

    Tensor lists, in which a loop collects its steps, are otherwise replaced by tensors of a fixed shape
    (tensorflow/compiler/mlir/lite/transforms/lower_static_tensor_list.cc).
    """

    select: bool = False
    lists: bool = False
    alone: str | None = None
    frozen: str | None = None


class Made(Frozen):
    """A flatbuffer and the way it was made."""

    content: bytes
    way: Way


class Routes:
    """The ways to a file of one variant, for any of a SavedModel's signatures. Frozen graphs are written to `scratch`."""

    def __init__(self, path: Path, variant: str, *, select_ops: bool, calibration: Calibration, scratch: Path) -> None:
        """Raises BadInput, Damaged where `path` is no SavedModel with tag-set `serve`."""
        self.path = path
        self.variant = variant
        self.select_ops = select_ops
        self.calibration = calibration
        self.scratch = scratch
        self.graph = saved_model.read(path)
        self._signatures = saved_model.signatures(self.graph)
        self._written: dict[tuple[str, ...], Path | Unsupported] = {}
        self._doubtful: dict[tuple[str, ...], Made] = {}

    def first(self, keys: list[str], alone: Iterable[Way] = ()) -> Way:
        """Where to begin: what the graph needs at once, and what each of the signatures `alone` needed."""
        ways = list(alone)
        why = frozen.reason_to(self.graph, keys)
        if why is None and ways and not frozen.uses_tables(self.graph, keys):
            why = next((way.frozen for way in ways if way.frozen), None)
        return Way(
            select=any(way.select for way in ways),
            lists=any(way.lists for way in ways),
            alone=next((way.alone for way in ways if way.alone), None),
            frozen=why,
        )

    def attempt(self, keys: list[str], way: Way) -> Made | Diagnosis:
        """The file by the first way that succeeds, from `way` on; or the most telling of the reasons.

        Where none makes one that runs with a sample, and no known limit of a kernel's is the cause, it is the first that was
        converted at all: what is wrong with it is for the checks to tell.
        """
        tried: list[Way] = []
        best: Diagnosis | None = None
        following: Way | None = way
        while following is not None and following not in tried:
            tried.append(following)
            outcome = self._once(keys, following)
            if isinstance(outcome, bytes):
                return Made(content=outcome, way=following)
            # Without ops it says least, except where what the ops needed has been given to them.
            if best is None or (outcome.ops and best.need != "run") or best.need in ("select", "lists"):
                best = outcome
            following = self._next(following, outcome, frozen_first=way.frozen is not None)
        assert best is not None
        return self._doubtful.get(tuple(keys), best)

    def _next(self, way: Way, problem: Diagnosis, *, frozen_first: bool) -> Way | None:
        if problem.need == "select":
            return _with(way, select=True) if self.select_ops and not way.select else None
        if problem.need == "lists":
            return _with(way, select=True, lists=True) if self.select_ops and not way.lists else None
        if problem.need == "run":
            # Select TF ops have no int8 kernels.
            possible = self.select_ops and self.variant not in _STATIC and way.alone is None
            return _with(way, select=True, lists=True, alone=problem.sentence) if possible else None
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

        try:
            path = self.path if way.frozen is None else self._freeze(keys)
        except Unsupported as error:
            return Diagnosis(need="other", sentence=str(error))
        try:
            content = repairs.with_own_states(self._converter(path, keys, way).convert())
            content = repairs.with_equal_grids(content) if self.variant in _STATIC else content
        except (internals.converter_error(), RuntimeError, ValueError, KeyError, tf.errors.OpError) as error:
            return diagnosis.of_tflite(error)
        # For these there is no other way, and what the quantizer gets wrong may end the process that runs it.
        samples = None if self.variant in _STATIC else self.calibration(keys)
        problem = trial.problem(content, keys, self._signatures, samples)
        if problem is None:
            return content
        if not problem.known:
            self._doubtful.setdefault(tuple(keys), Made(content=content, way=way))
        return Diagnosis(need="run", sentence=problem.sentence)

    def _freeze(self, keys: list[str]) -> Path:
        """The signatures' frozen SavedModel, written once. Raises Unsupported."""
        group = tuple(keys)
        if group not in self._written:
            folder = self.scratch / f"frozen-{len(self._written)}"
            try:
                self._written[group] = frozen.write(self.path, keys, folder)
            except Unsupported as error:
                self._written[group] = error
        found = self._written[group]
        if isinstance(found, Unsupported):
            raise found
        return found

    def _converter(self, path: Path, keys: list[str], way: Way) -> Any:
        import tensorflow as tf

        graph = self.graph if path == self.path else saved_model.read(path)
        converter = internals.from_saved_model(path, keys, graph)
        builtins = tf.lite.OpsSet.TFLITE_BUILTINS
        if self.variant != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if self.variant == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if self.variant in _STATIC:
            builtins = getattr(tf.lite.OpsSet, _STATIC[self.variant])
            converter.representative_dataset = lambda: self.calibration(keys)
        if self.variant == INTEGER_ENDS:
            converter.inference_input_type = converter.inference_output_type = tf.int8
        select = [tf.lite.OpsSet.SELECT_TF_OPS] if way.select else []
        converter.target_spec.supported_ops = select if way.alone else [builtins, *select]
        converter._experimental_lower_tensor_list_ops = not way.lists
        return converter


def _with(way: Way, **changed: object) -> Way:
    return way.model_copy(update=changed)
