"""Inputs that look like life when none are given: fitted by gradient until a model's activations have the means and
variances that its normalisations hold of the data it was trained on.

The idea is ZeroQ's (Cai et al., CVPR 2020, arXiv:2001.00281, whose Adam and batch of 64 these are too). As in DeepInversion
(Yin et al., CVPR 2020, arXiv:1912.08795) the moments are a batch's and not each sample's, so that samples differ, and
images are smooth to begin with, as their neighbouring pixels are alike.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.contract.values import Tensors
from converters.reference.constants import Array
from converters.reference.goal import Goal
from converters.reference.statistics import Statistic

SAMPLES = 64
FEWEST = 4
"""Samples of a model that is large: a channel's moments are taken over an image's pixels too."""
STEPS = 100
FEWEST_STEPS = 5
WORK = 20e9
"""Multiply-adds of all passes, a second or two of two cores."""
SECONDS = 10.0
"""After this long no step is begun, whatever the work was thought to be."""
MATCHED = 0.15
"""Means and deviations are then off by 0.27 of a deviation (0.27 ** 2 twice), averaged over channels and layers. Real data
are off by 0.0005 to 0.03, standard normal numbers by 1 to 12, and fitted inputs by 0.0002 to 0.01 where there is time."""
CLASSES = 0.1
"""Weight of how unsure a classifier is (DeepInversion's class term): no normalisation tells what its last layer returns."""
RATE = 0.1
"""Of Adam, in deviations of what it starts from."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """Calls whose inputs were fitted; how far the moments were from the statistics before and are now; steps taken."""

    calls: list[Tensors]
    before: float
    after: float
    steps: int

    @property
    def matched(self) -> bool:
        """Whether they have the statistics, as far as real data would."""
        return self.after <= MATCHED


def budget(work: int) -> tuple[int, int] | None:
    """Samples and steps for a model of so many multiply-adds a sample; None where it is too large for any.

    A step is three passes: forward, and backward by activations at twice the cost.
    """
    most = WORK / (3 * max(work, 1))
    samples = int(min(SAMPLES, max(FEWEST, most // STEPS)))
    steps = int(min(STEPS, most // samples))
    return (samples, steps) if steps >= FEWEST_STEPS else None


class Moments:
    """How far the inputs of calls are from a goal. All calls have the shapes of `calls`."""

    def __init__(self, goal: Goal, calls: Sequence[Sequence[Array]]) -> None:
        import tensorflow as tf

        tensors = [tensor for entry in goal.entries.values() for tensor in entry]
        wanted = [*(statistic.tensor for statistic in goal.statistics), *(logits for logits, _ in goal.classes)]
        self._calls = len(calls)

        def moments(index: Any, inputs: Sequence[Any]) -> tuple[Any, Any, Any]:
            each = [value for value, entry in zip(inputs, goal.entries.values(), strict=True) for _ in entry]
            mapping = dict(zip(tensors, each, strict=True))
            found = tf.graph_util.import_graph_def(goal.graph.graph_def, mapping, wanted, name="")
            pairs = [_moments(*pair) for pair in zip(found, goal.statistics, strict=False)]
            unsure = [self._unsure(index, *pair) for pair in zip(found[len(pairs) :], goal.classes, strict=True)]
            first, second = (tf.concat(side, 0) for side in zip(*pairs, strict=True))
            return first, second, tf.add_n(unsure) if unsure else tf.constant(0.0)

        # Only what is a function can be called more than once, and one more costs a large model a second.
        self._moments = tf.function(moments, autograph=False) if len(calls) > 1 else moments
        deviations = [np.sqrt(s.variance + _added(s)).ravel() for s in goal.statistics]
        self._deviations = np.concatenate(deviations).astype(np.float32)
        wanted_variances = np.concatenate([s.variance.ravel() for s in goal.statistics])
        self._wanted = (np.sqrt(wanted_variances) / self._deviations).astype(np.float32)
        self._weights = np.concatenate([np.full(d.size, 1 / d.size / len(deviations), np.float32) for d in deviations])
        self._evaluate = tf.function(self._evaluated, autograph=False)

    def distance(self, calls: Sequence[Sequence[Array]]) -> float:
        """How far the statistics are: the mean, over layers, of the channels' mean squared differences of mean and of
        deviation, in deviations.
        """
        return float(self._evaluate(_tensors(calls))[0])

    def descend(self, calls: Sequence[Sequence[Array]]) -> tuple[float, list[list[Array]]]:
        """What is to be small, and its gradient by every input of every call."""
        _, loss, gradients = self._evaluate(_tensors(calls))
        return float(loss), [[np.asarray(gradient) for gradient in call] for call in gradients]

    def _evaluated(self, calls: Sequence[Sequence[Any]]) -> tuple[Any, Any, list[list[Any]]]:
        import tensorflow as tf

        found = [self._moments(tf.constant(index), call) for index, call in enumerate(calls)]
        first, second, unsure = (tf.add_n([moment[i] for moment in found]) / len(found) for i in range(3))
        first, second = first / self._deviations, second / self._deviations**2
        deviation = tf.sqrt(tf.maximum(second - first * first, 0.0) + 1e-6)
        distance = tf.reduce_sum(self._weights * (first * first + (deviation - self._wanted) ** 2))
        loss = distance + CLASSES * unsure
        # A tape would not see what is imported.
        zero = tf.UnconnectedGradients.ZERO
        return distance, loss, [tf.gradients(loss, call, unconnected_gradients=zero) for call in calls]

    def _unsure(self, index: Any, logits: Any, of: tuple[str, int]) -> Any:
        """Mean cross-entropy of a call's samples with classes that differ from sample to sample."""
        import tensorflow as tf

        samples, classes = tf.shape(logits)[0], of[1]
        numbers = index * samples + tf.range(samples)
        labels = numbers * max(1, classes // (self._calls * int(logits.shape[0] or 1))) % classes
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.cast(logits, tf.float32)))


def _tensors(calls: Sequence[Sequence[Array]]) -> list[list[Any]]:
    import tensorflow as tf

    return [[tf.constant(value) for value in call] for call in calls]


def _added(statistic: Statistic) -> float:
    """To a variance, so that a channel that was all but constant does not count for more than all others."""
    return float(max(statistic.epsilon, 1e-3 * statistic.variance.mean(), 1e-12))


def _moments(value: Any, statistic: Statistic) -> tuple[Any, Any]:
    """By channel, the mean difference from the statistic's mean, and the mean squared one."""
    import tensorflow as tf

    difference = tf.cast(value, tf.float32) - statistic.mean
    sizes = (1,) * (difference.shape.rank - statistic.mean.ndim) + statistic.mean.shape
    axes = [axis for axis, size in enumerate(sizes) if size == 1]
    first, second = tf.reduce_mean(difference, axes), tf.reduce_mean(tf.square(difference), axes)
    if first.shape.rank == 1:
        return first, second
    return tf.reshape(first, [-1]), tf.reshape(second, [-1])


@contextmanager
def _as_written() -> Iterator[None]:
    """Without TensorFlow's optimizers of graphs, which take longer than the few steps of a large model are worth."""
    import tensorflow as tf

    option = "disable_meta_optimizer"
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    tf.config.optimizer.set_experimental_options({option: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: before})


def fit(goal: Goal, start: Sequence[Tensors], steps: int, clock: Callable[[], float] = time.monotonic) -> Fitted:
    """The calls `start`, all of one shape, with inputs fitted to the goal; those that are none of the goal's stay.

    It begins with what is nearest of `start` and of what the goal says of inputs, and takes at most so many steps, none
    after SECONDS, and none that change little. The same start gives the same inputs.

    Raises whatever TensorFlow does where the graph cannot be differentiated.
    """
    names = list(goal.entries)
    ends = clock() + SECONDS
    given = [[np.asarray(call[name], np.float32) for name in names] for call in start]
    moments = Moments(goal, given)
    with _as_written():
        before = best = moments.distance(given)
    for begun in _beginnings(goal, given):
        distance = moments.distance(begun)
        if distance < best:
            best, given = distance, begun
        if clock() > ends:
            break
    taken, given = _descended(moments, goal, given, steps, lambda: clock() > ends)
    rounded = [dict(zip(names, call, strict=True)) for call in given]
    calls = [
        {name: _as_given(rounded[i].get(name, value), value) for name, value in call.items()}
        for i, call in enumerate(start)
    ]
    after = moments.distance([[np.asarray(call[name], np.float32) for name in names] for call in calls])
    return Fitted(calls, before, after, taken)


def _descended(
    moments: Moments, goal: Goal, calls: list[list[Array]], steps: int, late: Callable[[], bool]
) -> tuple[int, list[list[Array]]]:
    """How many steps of Adam (Kingma and Ba, 2014) were taken, with a rate that falls to nothing, and the best of them."""
    names = list(goal.entries)
    widths = [
        goal.known[name][1] if name in goal.known else np.std([call[i] for call in calls]) or 1.0
        for i, name in enumerate(names)
    ]
    first, second = ([[np.zeros_like(value) for value in call] for call in calls] for _ in range(2))
    best, kept, seen = np.inf, calls, []
    for step in range(steps + 1):
        loss, gradients = moments.descend(calls)
        seen.append(loss)
        if loss < best:
            best, kept = loss, [list(call) for call in calls]
        if step == steps or late() or _settled(seen):
            break
        rate = RATE * (1 + np.cos(np.pi * step / steps)) / 2
        for c, call in enumerate(calls):
            for i, gradient in enumerate(gradients[c]):
                first[c][i] = 0.9 * first[c][i] + 0.1 * gradient
                second[c][i] = 0.999 * second[c][i] + 0.001 * gradient**2
                scaled = np.sqrt(second[c][i] / (1 - 0.999 ** (step + 1))) + 1e-12
                moved = call[i] - rate * widths[i] * first[c][i] / (1 - 0.9 ** (step + 1)) / scaled
                call[i] = np.clip(moved, *goal.limits.get(names[i], (-np.inf, np.inf))).astype(np.float32)
    return step, kept


def _settled(seen: Sequence[float]) -> bool:
    """Whether the last _PATIENCE steps won less than a fiftieth."""
    return len(seen) > _PATIENCE and min(seen[-_PATIENCE:]) > 0.98 * min(seen[:-_PATIENCE])


_PATIENCE = 15


def _beginnings(goal: Goal, calls: list[list[Array]]) -> Iterator[list[list[Array]]]:
    """What inputs of these shapes may be by what the goal says of them, or, where it says nothing, in each of some places."""
    names = list(goal.entries)
    settled = all(name in goal.known or name in goal.limits for name in names)
    for centre, width in _PLACES[:1] if settled else _PLACES:
        rng = np.random.default_rng(0)
        yield [
            [_placed(goal, name, _texture(rng, v.shape), centre, width) for name, v in zip(names, call, strict=True)]
            for call in calls
        ]


_PLACES = ((0.0, 1.0), (0.5, 0.25), (127.5, 64.0))
"""Centre and deviation of numbers of which the graph says nothing: standardised, in [0, 1], and pixels."""


def _placed(goal: Goal, name: str, standard: Array, centre: float, width: float) -> Array:
    """Standard normal numbers where the input's lie."""
    low, high = goal.limits.get(name, (-np.inf, np.inf))
    if name in goal.known:
        mean, deviation = goal.known[name]
        placed = mean + deviation * standard
    elif name in goal.limits:
        placed = (low + high) / 2 + (high - low) / 4 * standard
    else:
        placed = centre + width * standard
    return np.asarray(np.clip(placed, low, high), np.float32)


def _texture(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers; in an image [n, height, width, channels], patches of a size and brightness of its own."""
    noise: Array = rng.normal(size=shape)
    if len(shape) != 4 or min(shape[1:3]) < _SMALLEST:
        return noise
    _, height, width, channels = shape
    for image in noise:
        cells = int(rng.integers(2, min(height, width) // 4))
        patches = image[:cells, :cells] * rng.uniform(0.5, 1.2) + rng.normal(size=channels) * 0.5
        image[:] = patches[np.arange(height) * cells // height][:, np.arange(width) * cells // width]
    return noise


_SMALLEST = 16
"""Pixels of an image's side from which patches are another thing than noise."""


def _as_given(value: Array, given: Array) -> Array:
    """Of the dtype of what was given, and within it."""
    if given.dtype.kind not in "iu":
        return value.astype(given.dtype)
    within = np.iinfo(given.dtype)
    return np.clip(np.round(value), within.min, within.max).astype(given.dtype)
