"""How much of a model its golden inputs exercise: a weight that changes no output there can be lost unnoticed.

A weight counts as reached where the gradient of the outputs by it is not zero, for some golden sample. It is zero
behind a rectifier that is off for every sample, behind a saturated activation, in an embedding's row that is never
looked up, and in a branch that is not taken. (The same idea at the level of units is neuron coverage: Pei et al.,
DeepXplore, 2017, arXiv:1705.06640.)
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from converters.contract.errors import raised
from converters.contract.values import Case, CheckResult, Frozen, Signature, Tensors
from converters.formats.variables import name_of

MOST_NAMED = 3


class Reached(Frozen):
    """Of one variable's `weights`, how many change an output."""

    name: str
    weights: int
    reached: int


class Coverage(Frozen):
    """What golden reaches: by variable, or why that cannot be told."""

    variables: tuple[Reached, ...] = ()
    problem: str | None = None

    @property
    def weights(self) -> int:
        """Weights that lead to the signature's outputs."""
        return sum(variable.weights for variable in self.variables)

    @property
    def share(self) -> float | None:
        """Share of the weights that are reached; None where it is not known."""
        return sum(variable.reached for variable in self.variables) / self.weights if self.weights else None


PASS = 2**19
"""Elements of inputs that are passed at a time, since every layer's outputs are kept meanwhile: of three images of 224 x 224."""


def measure(
    call: Callable[[dict[str, Any]], dict[str, Any]],
    variables: Sequence[Any],
    inputs: Tensors,
    *,
    batched: bool = False,
) -> Coverage:
    """Which weights change an output of `call` for one of these samples, by backward passes. Runs in TensorFlow.

    Outputs are weighed at random, so that the gradients of two samples or elements cancel in no weight but by chance.
    Variables that do not lead to an output, or only through an op without a gradient, are left out. Where inputs are
    `batched`, as many samples are passed at a time as PASS has elements.
    """
    import tensorflow as tf

    weights = [variable for variable in variables if tf.as_dtype(variable.dtype).is_floating]
    if not weights:
        return Coverage(problem="the model has no variables of floating point")
    tensors = [getattr(variable, "value", None) for variable in weights]
    watched = [t if isinstance(t, tf.Variable) else v for t, v in zip(tensors, weights, strict=True)]
    rng = np.random.default_rng(0)
    parts = _parts(inputs) if batched else [inputs]
    reaching: list[Any] = [None] * len(watched)
    try:
        for part in parts:
            found = _gradients(call, watched, part, rng)
            if len(parts) == 1:
                reaching = found
            else:  # whether it is zero, for every weight
                each = [None if one is None else tf.convert_to_tensor(one) != 0 for one in found]
                reaching = [
                    one if old is None else old if one is None else old | one
                    for old, one in zip(reaching, each, strict=True)
                ]
    except Exception as error:  # an op without a gradient, or the model's own code in a mode it was not made for
        return Coverage(problem=f"its gradient cannot be computed: {raised(error, 200)}")
    reached = [
        Reached(
            name=name_of(variable),
            weights=int(np.prod(variable.shape, dtype=np.int64)),
            reached=_nonzero(gradient),
        )
        for variable, gradient in zip(weights, reaching, strict=True)
        if gradient is not None
    ]
    if not reached:
        return Coverage(problem="no output that has a gradient depends on a variable")
    return Coverage(variables=tuple(reached))


def _parts(inputs: Tensors) -> list[Tensors]:
    samples = max((len(value) for value in inputs.values()), default=1)
    step = max(1, PASS * samples // max(1, sum(value.size for value in inputs.values())))
    starts = range(0, max(samples, 1), step)
    return [{name: value[start : start + step] for name, value in inputs.items()} for start in starts]


def _gradients(
    call: Callable[[dict[str, Any]], dict[str, Any]], watched: Sequence[Any], inputs: Tensors, rng: Any
) -> Any:
    """Of the outputs' elements, weighed and added up; None by a variable that leads to none."""
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(watched)
        outputs = call({name: tf.constant(value) for name, value in inputs.items()}).values()
        total = tf.add_n(
            [
                tf.reduce_sum(tf.cast(value, tf.float32) * rng.uniform(0.5, 1.5, value.shape).astype(np.float32))
                for value in outputs
                if value.dtype.is_floating
            ]
            or [tf.constant(0.0)]
        )
    return tape.gradient(total, watched)


def _nonzero(gradient: Any) -> int:
    import tensorflow as tf

    if isinstance(gradient, tf.IndexedSlices):
        rows = gradient.indices.numpy().ravel()
        values = gradient.values.numpy().reshape(len(rows), -1)
        order = np.argsort(rows, kind="stable")
        if not len(order):
            return 0
        starts = np.flatnonzero(np.diff(rows[order], prepend=rows[order][0] - 1))
        return int(np.count_nonzero(np.logical_or.reduceat(values[order] != 0, starts, axis=0)))
    return int(np.count_nonzero(gradient.numpy()))


def alive(cases: Sequence[Case], signature: Signature) -> tuple[int, int]:
    """Elements of the outputs (of one sample) that differ between samples, and all of them."""
    spreads = [spread_of(cases, signature, name) for name in signature.outputs]
    return sum(int(np.count_nonzero(varies)) for varies in spreads), sum(varies.size for varies in spreads)


def spread_of(cases: Sequence[Case], signature: Signature, name: str) -> np.ndarray[Any, Any]:
    """For each element of an output, whether it differs between any two samples; [1] of True where shapes differ."""
    samples = samples_of(cases, signature, name)
    if len({sample.shape for sample in samples}) != 1:
        return np.array([len(samples) > 1])
    stacked = np.stack(samples)
    differs = stacked != stacked[:1]
    if stacked.dtype.kind == "f":
        differs &= np.isfinite(stacked) & np.isfinite(stacked[:1])
    return np.asarray(differs.any(axis=0))


def samples_of(cases: Sequence[Case], signature: Signature, name: str) -> list[np.ndarray[Any, Any]]:
    """An output's samples, one after another: of all calls of the first one's batch size, or of one sample.

    Inputs of other shapes are left out, since outputs differ for them in any case, and so are further calls (edges.py).
    """
    samples: list[np.ndarray[Any, Any]] = []
    for case in cases:
        if _shapes(case, signature) != _shapes(cases[0], signature) or case.batch not in (cases[0].batch, 1):
            continue
        output = case.outputs[name]
        batched = signature.dynamic_batch and output.ndim > 0 and output.shape[0] == case.batch
        samples += [np.asarray(sample) for sample in output] if batched else [np.asarray(output)]
    return samples


def _shapes(case: Case, signature: Signature) -> dict[str, tuple[int, ...]]:
    """Of a sample of each input."""
    return {name: value.shape[signature.dynamic_batch :] for name, value in case.inputs.items()}


def check(cases: Sequence[Case], signature: Signature, coverage: Coverage | None) -> CheckResult:
    """How much of the model golden exercises, as a finding that names what it does not.

    It fails nothing: a weight may be dead whatever the input. What it names is what the other checks cannot see.
    """
    notes = [_reach(coverage)] if coverage is not None else []
    notes += [note for name in signature.outputs for note in _notes(name, cases, signature)]
    return CheckResult(
        name="exercises",
        runtime="golden",
        status="passed",
        measured=coverage.share if coverage is not None else None,
        detail="; ".join(notes) or "every element of every output differs between samples",
    )


def _reach(coverage: Coverage) -> str:
    if coverage.share is None:
        return f"which weights golden reaches is not known: {coverage.problem}"
    missed = sorted(coverage.variables, key=lambda v: v.reached / v.weights if v.weights else 1.0)
    named = [f"{v.weights - v.reached} of {v.weights} in {v.name}" for v in missed if v.reached < v.weights]
    reached = sum(variable.reached for variable in coverage.variables)
    text = f"{reached} of {coverage.weights} weights change an output"
    if not named:
        return text
    more = f", and in {len(named) - MOST_NAMED} more variables" if len(named) > MOST_NAMED else ""
    return f"{text}; not {', '.join(named[:MOST_NAMED])}{more}"


def _notes(name: str, cases: Sequence[Case], signature: Signature) -> list[str]:
    """What of one output says little."""
    samples = samples_of(cases, signature, name)
    varies = spread_of(cases, signature, name)
    notes = []
    if not varies.all():
        still = varies.size - int(np.count_nonzero(varies))
        what = f"{still} of {varies.size} elements of {name!r} are" if varies.size > 1 else f"{name!r} is"
        notes.append(f"{what} the same for every sample")
    if len({sample.shape for sample in samples}) != 1 or samples[0].dtype.kind != "f":
        return notes
    stacked = np.stack(samples).reshape(len(samples), -1)
    odd = int(np.count_nonzero(~np.isfinite(stacked)))
    if odd:
        notes.append(f"{odd} of {stacked.size} elements of {name!r} are not finite")
    alike = len(samples) - len(np.unique(stacked, axis=0))
    # The call of another batch size may hold a sample that was given before.
    if alike > len(cases) - 1:
        notes.append(f"{alike} of {len(samples)} samples give the same {name!r} as another")
    if stacked.shape[1] > 1 and len(samples[0].shape) == 1 and len(samples) > 2 and not odd:
        largest = np.unique(stacked.argmax(axis=1))
        if len(largest) == 1:
            notes.append(f"the largest element of {name!r} is always number {int(largest[0])}")
    return notes
