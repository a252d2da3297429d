"""Images: decoded by TensorFlow, resized to the input's size, in its channels and in the range that the model expects."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.contract.errors import said
from converters.contract.values import Signature
from converters.formats.dtypes import Array, numpy_dtype
from converters.source.data.asked import BYTES, Asked, batched

_CHANNELS = (1, 3, 4)
_SIZED_BY = 32
"""How many images are looked at for the commonest size."""
_LOOKED_AT = 16
"""How many are looked at for the range."""
_USUAL = ("0..1", "-1..1", "0..255", "caffe", "torch")
"""The ranges that are tried. The first is tf.image.convert_image_dtype's, and that of most small models."""


@dataclass(frozen=True)
class _Layout:
    """How an input holds images: `batch` is its fixed size, None where it is dynamic or there is none."""

    height: int | None
    width: int | None
    channels: int
    first: bool
    flat: bool
    batch: int | None

    @staticmethod
    def of(signature: Signature) -> "_Layout | None":
        """Of the only input: [batch, height, width, channels], [batch, channels, height, width], or without a batch (of
        fixed size) or channels."""
        ((_, spec),) = signature.inputs.items()
        if spec.shape is None or spec.dtype == "string" or numpy_dtype(spec.dtype).kind not in "fiuV":
            return None
        shape = list(spec.shape)
        batch = None
        if len(shape) == 4 or (len(shape) == 3 and (signature.dynamic_batch or shape[-1] not in _CHANNELS)):
            batch = shape.pop(0)
        elif len(shape) != 3:
            return None
        if len(shape) == 2:
            return _Layout(shape[0], shape[1], 1, False, True, batch)
        if shape[-1] in (*_CHANNELS, None):
            return _Layout(shape[0], shape[1], shape[2] or 3, False, False, batch)
        return _Layout(shape[1], shape[2], shape[0], True, False, batch) if shape[0] in _CHANNELS else None

    def arranged(self, images: Array, asked: Asked) -> Array:
        """Images [n, height, width, channels] as the input takes them."""
        if self.first:
            images = np.moveaxis(images, -1, 1)
        return batched(images[..., 0] if self.flat else images, self.batch, asked)


def fits(signature: Signature) -> bool:
    """Whether a signature's only input takes images."""
    return _Layout.of(signature) is not None


def read(key: str, files: Sequence[Path], asked: Asked, values: str | None) -> tuple[Array, str | None]:
    """The images as the signature's only input takes them, and what was assumed. Raises BadInput."""
    ((name, spec),) = asked.signatures[key].inputs.items()
    layout = _Layout.of(asked.signatures[key])
    assert layout is not None
    height, width = layout.height, layout.width
    notes = []
    if height is None or width is None:
        sizes = Counter(_decoded(file, asked).shape[:2] for file in files[:_SIZED_BY])
        (common, _), *others = sizes.most_common()
        height, width = height or common[0], width or common[1]
        notes += [f"resized to {height} x {width}"] if others else []
    dtype = numpy_dtype(spec.dtype)
    size = height * width * layout.channels * dtype.itemsize
    most = asked.affordable(size)
    pixels = np.stack([_resized(_decoded(file, asked), height, width, layout.channels) for file in files[:most]])
    if dtype.kind in "iu":
        array = (pixels.astype(np.int16) - 128 if spec.dtype == "int8" else pixels).astype(dtype)
    else:

        def prepared(some: Array, chosen: str) -> Array:
            return layout.arranged(in_range(some, chosen, asked).astype(dtype), asked)

        few = pixels[: max(layout.batch or 1, min(_LOOKED_AT, BYTES // size))]
        usual = _USUAL if layout.channels == 3 else _USUAL[:3]
        chosen, why = (
            (values, "as named") if values else asked.expected(key, {each: prepared(few, each) for each in usual})
        )
        notes.insert(0, f"images are given to input {name!r} in {title(chosen)}, {why}")
        return prepared(pixels, chosen), "; ".join(notes)
    return layout.arranged(array, asked), "; ".join(notes) or None


def title(values: str) -> str:
    """A range, for a person."""
    return f"the range {values}" if ".." in values else f"the form that is called {values} (keras.applications)"


def in_range(pixels: Array, values: str, asked: Asked) -> Array:
    """Images [n, height, width, channels] of uint8 as float32 in LOW..HIGH, or as Keras's models prepare theirs."""
    if ".." in values:
        low, high = map(float, values.split(".."))
        return np.asarray(low + pixels.astype(np.float32) * np.float32((high - low) / 255), np.float32)
    if pixels.shape[-1] != 3:
        raise asked.fail(f" cannot be prepared as {values!r}: that is for images of 3 channels")
    from tf_keras.applications import imagenet_utils

    prepared = imagenet_utils.preprocess_input(pixels.astype(np.float32), data_format="channels_last", mode=values)
    return np.asarray(prepared, np.float32)


def _decoded(file: Path, asked: Asked) -> Array:
    """One image, [height, width, 1 to 4] of uint8; of an animation the first."""
    import tensorflow as tf

    try:
        return np.asarray(tf.io.decode_image(file.read_bytes(), channels=0, dtype=tf.uint8, expand_animations=False))
    except (tf.errors.OpError, OSError) as error:
        raise asked.fail(
            f": {file.name} cannot be decoded as an image: {said(getattr(error, 'message', error), 120)}"
        ) from error


def _resized(image: Array, height: int, width: int, channels: int) -> Array:
    import tensorflow as tf

    if image.shape[:2] != (height, width):
        resized = tf.image.resize(image, (height, width), antialias=True)
        image = np.asarray(tf.cast(tf.round(tf.clip_by_value(resized, 0, 255)), tf.uint8))
    colours, opacity = (image[..., :-1], image[..., -1:]) if image.shape[-1] in (2, 4) else (image, None)
    if channels == 1 and colours.shape[-1] == 3:
        return np.asarray(tf.image.rgb_to_grayscale(colours))
    if channels > 1 and colours.shape[-1] == 1:
        colours = np.repeat(colours, 3, axis=-1)
    if channels < 4:
        return colours
    return np.concatenate([colours, np.full_like(colours[..., :1], 255) if opacity is None else opacity], axis=-1)
