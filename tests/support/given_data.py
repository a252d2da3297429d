"""Files of data as a user gives them, written by real libraries, and a way to read them. Found by tests as `samples` is."""

import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.contract.values import Signature, TensorSpec
from converters.source.data.asked import Asked, Read
from converters.source.data.reading import read


def signature(**inputs: tuple[Any, ...]) -> Signature:
    """Of inputs NAME=(dtype, *shape)."""
    specs = {name: TensorSpec(shape=shape, dtype=dtype) for name, (dtype, *shape) in inputs.items()}
    return Signature(inputs=specs, outputs={})


def given(folder: Path, reference: str, signatures: Mapping[str, Signature] | Signature, **asked: Any) -> Read:
    """What reading the reference gives for signatures; images are expected in 0..1."""
    several = {"serving_default": signatures} if isinstance(signatures, Signature) else signatures
    where, wanted = f"golden.data ({reference})", {"most": 256, "least": 16, **asked}
    expected = _expected
    return read(reference, folder, "golden.data", Asked(where, several, expected=expected, **wanted))


def _expected(key: str, pixels: Any) -> tuple[str, str]:
    return "0..1", "as it was told"


def write_images(files: Mapping[Path, Any]) -> None:
    """Arrays [height, width, channels] of uint8 as files, in the format that the name says; for a child process."""
    import tensorflow as tf

    encode = {".png": tf.io.encode_png, ".jpg": lambda array: tf.io.encode_jpeg(array, quality=100)}
    for path, array in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode[path.suffix](np.asarray(array, np.uint8)).numpy())


def write_wav(path: Path, samples: Any, rate: int = 16000) -> None:
    """Samples [n] or [n, channels] in [-1, 1] as 16-bit PCM."""
    samples = np.asarray(samples)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1] if samples.ndim == 2 else 1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())


def write_examples(path: Path, examples: Sequence[Mapping[str, Any]], compression: str = "") -> None:
    """tf.Examples of features, lists of numbers or bytes, as a TFRecord; for a child process."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for features in examples:
            example = tf.train.Example()
            for name, values in features.items():
                feature = example.features.feature[name]
                if isinstance(values[0], bytes):
                    feature.bytes_list.value.extend(values)
                elif isinstance(values[0], int):
                    feature.int64_list.value.extend(values)
                else:
                    feature.float_list.value.extend(values)
            writer.write(example.SerializeToString())
