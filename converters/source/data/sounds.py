"""WAV: decoded by TensorFlow (16-bit PCM) to one channel in [-1, 1], cut or padded with silence to the input's length."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from converters.contract.errors import said
from converters.contract.values import Signature
from converters.formats.dtypes import Array, numpy_dtype
from converters.source.data.asked import Asked, batched


def _length(signature: Signature) -> tuple[int | None, int | None, bool] | None:
    """Of the only input, [batch, length], [batch, length, 1] or [length]: its length, a fixed batch, and whether it has
    channels. None where it is none of those."""
    ((_, spec),) = signature.inputs.items()
    if spec.shape is None or spec.dtype == "string" or numpy_dtype(spec.dtype).kind not in "fiV":
        return None
    shape = list(spec.shape)
    channels = len(shape) == 3 and shape[-1] == 1
    if channels:
        shape.pop()
    if len(shape) == 2:
        return shape[1], shape[0], channels
    return (shape[0], None, channels) if len(shape) == 1 and shape[0] is not None else None


def fits(signature: Signature) -> bool:
    """Whether a signature's only input takes samples of sound."""
    return _length(signature) is not None


def read(key: str, files: Sequence[Path], asked: Asked, values: str | None) -> tuple[Array, str | None]:
    """The recordings as the signature's only input takes them, and what was assumed. Raises BadInput."""
    if values:
        raise asked.fail(f" is a folder of WAV files; a range, {values}, is for images")
    ((name, spec),) = asked.signatures[key].inputs.items()
    form = _length(asked.signatures[key])
    assert form is not None
    length, batch, channels = form
    decoded = [_decoded(file, asked) for file in files]
    rates = Counter(rate for _, rate in decoded)
    if len(rates) > 1:
        raise asked.fail(f" has recordings of several sample rates, {', '.join(map(str, sorted(rates)))} Hz")
    waves = [wave for wave, _ in decoded]
    length = length or Counter(map(len, waves)).most_common(1)[0][0]
    waves = [np.pad(wave[:length], (0, max(0, length - len(wave)))) for wave in waves[: asked.affordable(4 * length)]]
    dtype = numpy_dtype(spec.dtype)
    if dtype.kind == "i":
        waves = [(wave * -float(np.iinfo(dtype).min)).astype(dtype) for wave in waves]  # what it was decoded by
    array = batched(np.stack(waves).astype(dtype), batch, asked)
    sentence = f"recordings are given to input {name!r} at their own {next(iter(rates))} Hz, in {length} samples"
    return array[..., None] if channels else array, sentence


def _decoded(file: Path, asked: Asked) -> tuple[Array, int]:
    """One recording, its channels averaged, and its sample rate."""
    import tensorflow as tf

    try:
        wave, rate = tf.audio.decode_wav(file.read_bytes())
    except (tf.errors.OpError, OSError) as error:
        raise asked.fail(
            f": {file.name} cannot be decoded as WAV: {said(getattr(error, 'message', error), 120)}"
        ) from error
    if not wave.shape[0]:
        raise asked.fail(f": {file.name} holds no sound")
    return np.asarray(wave).mean(axis=1, dtype=np.float32), int(rate)
