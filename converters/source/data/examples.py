"""A TFRecord of tf.Examples: features by input name; an input of text that no feature is named as takes the records."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from converters.config.data import Located
from converters.contract.errors import Damaged
from converters.contract.values import Signature, TensorSpec
from converters.formats.dtypes import Array, as_dtype, objects
from converters.formats.protos import load
from converters.formats.records import records
from converters.source.data.asked import Asked, Read, fitted, numbers_of, sample_shape, sampled, stacked


def read(located: Located, asked: Asked) -> Read:
    """Inputs, and labels where they are asked for, of at most so many records. Raises BadInput."""
    example = load("tensorflow.core.example.example_pb2").Example
    classes: set[str] = set()
    try:
        kept = sampled(_counted(located, asked, classes), asked.most)
        parsed = [example.FromString(record).features.feature for record in kept]
    except Damaged as error:
        raise asked.fail(f": {error}") from error
    except DecodeError as error:
        raise asked.fail(f" holds a record that is no tf.Example: {error}") from error
    if not kept:
        raise asked.fail(" holds no record")
    tensors = {}
    for key, signature in asked.signatures.items():
        if _takes_records(signature, parsed[0]):
            tensors[key] = {name: _whole(kept, spec, signature) for name, spec in signature.inputs.items()}
        elif set(signature.inputs) & set(parsed[0]):
            tensors[key] = {name: _input(parsed, name, key, asked) for name in signature.inputs}
    if not tensors:
        raise asked.fail(f" has features {sorted(parsed[0])}, but the inputs by signature are {asked.inputs()}")
    if not asked.labelled:
        return Read(tensors)
    labels, sentence = _labels(parsed, classes, asked)
    return Read(tensors, labels, (sentence,) if sentence else ())


def _counted(located: Located, asked: Asked, classes: set[str]) -> Any:
    """The records, all classes that they name seen on the way."""
    example = load("tensorflow.core.example.example_pb2").Example
    for record in records(located.path):
        if asked.labelled:
            feature = example.FromString(record).features.feature
            if asked.labels in feature:
                classes.update(item.decode(errors="replace") for item in feature[asked.labels].bytes_list.value)
        yield record


def _takes_records(signature: Signature, features: Any) -> bool:
    """Whether the only input is of text, one element a sample, and no feature's."""
    if len(signature.inputs) != 1:
        return False
    ((name, spec),) = signature.inputs.items()
    if spec.dtype != "string" or name in features:
        return False
    return spec.shape is not None and all(size in (1, None) for size in sample_shape(spec, signature))


def _whole(kept: Sequence[bytes], spec: TensorSpec, signature: Signature) -> Array:
    return objects(kept).reshape(len(kept), *(1 for _ in sample_shape(spec, signature)))


def _values(feature: Any) -> Array:
    """A feature's values, [n]."""
    kind = feature.WhichOneof("kind")
    values = list(getattr(feature, kind).value) if kind else []
    return objects(values) if kind == "bytes_list" else np.array(values)


def _input(parsed: Sequence[Any], name: str, key: str, asked: Asked) -> Array:
    signature = asked.signatures[key]
    spec = signature.inputs[name]
    samples = []
    for features in parsed:
        if name not in features:
            raise asked.fail(
                f" has a record without {name!r}, an input of signature {key!r}; it has {sorted(features)}"
            )
        values = _values(features[name])
        if (values.dtype == object) != (spec.dtype == "string"):
            held = "bytes" if values.dtype == object else "numbers"
            raise asked.fail(f": feature {name!r} holds {held}, but the input is {spec.dtype}")
        try:
            values = as_dtype(values, spec.dtype)
        except (ValueError, TypeError) as error:
            raise asked.fail(f": feature {name!r} cannot be {spec.dtype}: {error}") from error
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise asked.fail(f": feature {name!r} holds a number that is not finite")
        sample = values if spec.shape is None else fitted(values, sample_shape(spec, signature))
        if sample is None:
            wanted = list(sample_shape(spec, signature))
            raise asked.fail(f": feature {name!r} holds {values.size} values, which do not fit {wanted}")
        samples.append(sample)
    return stacked(samples, asked, name)


def _labels(parsed: Sequence[Any], classes: set[str], asked: Asked) -> tuple[Array, str | None]:
    labels = [_values(features[asked.labels]) for features in parsed if asked.labels in features]
    if len(labels) != len(parsed):
        raise asked.fail(f" has records without the feature {asked.labels!r}; they have {sorted(parsed[0])}")
    if labels[0].dtype == object:
        return numbers_of([label[0].decode(errors="replace") for label in labels if label.size], classes, asked)
    together = stacked(labels, asked, asked.labels)
    return (together[:, 0] if together.shape[1] == 1 else together), None
