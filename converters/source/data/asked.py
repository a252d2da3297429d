"""What is asked of a user's data, what reading them gives, and what all forms share."""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from converters.contract.errors import BadInput
from converters.contract.settings import EvaluationSpec
from converters.contract.values import Signature, TensorSpec
from converters.formats.dtypes import Array, as_bytes, objects

Item = TypeVar("Item")
BYTES = 64 << 20
"""What samples that only calibration needs may take in memory."""
LABELS: str = EvaluationSpec.model_fields["labels"].default
Expected = Callable[[str, Mapping[str, Array]], tuple[str, str]]
"""Of a signature's key and some images, by the range that they are in (LOW..HIGH, caffe or torch): the range in which its
only input takes them, and why it is that."""


@dataclass(frozen=True)
class Asked:
    """What the data are read for.

    `where` names the config's field and the data in messages. At most `most` samples are read, of a stream or folder
    evenly from all of it, and beyond `least` only as many as BYTES hold. `labels` is what the labels are called; they are
    read where it is `labelled`, and left out of the inputs in any case. Text is numbered where `numbered`.
    """

    where: str
    signatures: Mapping[str, Signature]
    most: int
    least: int
    expected: Expected
    labels: str = LABELS
    labelled: bool = False
    numbered: bool = True

    def fail(self, sentence: str) -> BadInput:
        """What is wrong with the data, for a person."""
        return BadInput(f"{self.where}{sentence}")

    def affordable(self, sample_bytes: int) -> int:
        """How many samples of that size to read at most."""
        return min(self.most, max(self.least, BYTES // max(1, sample_bytes)))

    def inputs(self) -> dict[str, list[str]]:
        """The names of the inputs by signature, for messages."""
        return {key: sorted(signature.inputs) for key, signature in self.signatures.items()}


class Read(NamedTuple):
    """Samples along the first dimension of each input's array, by signature.

    `said` is what was assumed, a sentence each. `folders` are those whose files were listed, and with them what was read.
    """

    tensors: dict[str, dict[str, Any]]
    labels: Any = None
    said: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()


def sampled(items: Iterable[Item], most: int) -> list[Item]:
    """At most so many of a stream, each as likely as any other, in an order that tells nothing; the same every time.

    Data are often sorted by class, so that the first of them say little. Algorithm R (Vitter, Random Sampling with a
    Reservoir, ACM TOMS 1985).
    """
    rng = random.Random(0)
    kept: list[Item] = []
    for seen, item in enumerate(items):
        if seen < most:
            kept.append(item)
        elif (place := rng.randrange(seen + 1)) < most:
            kept[place] = item
    rng.shuffle(kept)
    return kept


def sample_shape(spec: TensorSpec, signature: Signature) -> tuple[int | None, ...]:
    """The shape of what one sample is of an input of known rank: without the batch, where that is dynamic."""
    assert spec.shape is not None
    return spec.shape[1:] if signature.dynamic_batch else spec.shape


def fitted(values: Array, shape: Sequence[int | None]) -> Array | None:
    """One sample's values in a shape, whose dynamic dimension takes what is left; None where they do not fit."""
    if values.shape and len(values.shape) == len(shape):
        fits = all(wanted in (None, size) for wanted, size in zip(shape, values.shape, strict=True))
        return values if fits else None
    unknown = sum(size is None for size in shape)
    known = math.prod(size for size in shape if size is not None)
    if unknown > 1 or (values.size != known if not unknown else not known or values.size % known):
        return None
    return values.reshape([-1 if size is None else size for size in shape])


def stacked(samples: Sequence[Array], asked: Asked, name: str) -> Array:
    """The samples of one input along a new first dimension. Raises BadInput where they are of several shapes."""
    shapes = {sample.shape for sample in samples}
    if len(shapes) > 1:
        one, other = sorted(shapes)[:2]
        raise asked.fail(f": samples of input {name!r} are of several shapes, such as {list(one)} and {list(other)}")
    if samples[0].dtype == object:
        flat = objects([item for sample in samples for item in sample.ravel()])
        return flat.reshape(len(samples), *samples[0].shape)
    return np.stack(samples)


def numbers_of(texts: Sequence[str], classes: Iterable[str], asked: Asked) -> tuple[Array, str | None]:
    """Labels of the classes' names: their numbers in alphabetical order, and a sentence that says so; or the names."""
    if not asked.numbered:
        return objects([as_bytes(text) for text in texts]), None
    numbers = {name: number for number, name in enumerate(sorted(classes))}
    shown = ", ".join(f"{name} = {number}" for name, number in [*numbers.items()][:4])
    more = ", ..." if len(numbers) > 4 else ""
    return np.array([numbers[text] for text in texts]), f"classes are numbered in alphabetical order: {shown}{more}"


def batched(samples: Array, size: int | None, asked: Asked) -> Array:
    """Samples, or of an input whose batch is fixed at `size`, groups of so many; those that fill no group are left out."""
    if size is None:
        return samples
    groups = len(samples) // size
    if not groups:
        raise asked.fail(f" has {len(samples)} files, but the model takes {size} at a time")
    return samples[: groups * size].reshape(groups, size, *samples.shape[1:])
