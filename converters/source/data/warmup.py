"""A given SavedModel's own warmup requests: inputs that somebody recorded for it, and so real ones.

They are PredictionLogs of predict, classify and regress requests (tensorflow_serving/apis/prediction_log.proto); others
ask no signature. A file of ours holds one sample for each signature, which may be drawn: fewer than two are no data.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.contract.errors import BadInput, Damaged
from converters.contract.settings import GoldenSpec
from converters.contract.values import DEFAULT_SIGNATURE, Signature, Tensors
from converters.formats.dtypes import objects
from converters.reference import golden
from converters.source.data.asked import Read
from converters.source.live import Live
from converters.targets.serving import wire
from converters.targets.serving.layout import WARMUP
from converters.targets.serving.warmup import logs

_LEAST = 2
"""Samples of which something can be seen to differ."""


def of_model(live: Live) -> Read:
    """The requests of the model that a Live was loaded from, for the signatures that they fit; nothing where it has none.

    What cannot be used is left out, and `said` tells why: nobody named these data.
    """
    if live.kind != "saved_model" or not (path := Path(live.model) / WARMUP).is_file():
        return Read({})
    try:
        requests = [request for log in logs(path) if (request := _request(log, live)) is not None]
    except Damaged as error:
        return Read({}, None, (f"the model's warmup requests are not used: {error}",))
    tensors: dict[str, dict[str, Any]] = {}
    said = []
    for key in dict.fromkeys(key for key, _ in requests):
        try:
            tensors[key] = _together([inputs for name, inputs in requests if name == key], key, live)
        except BadInput as error:
            said.append(f"the model's warmup requests of {key!r} are not used: {error}")
    if tensors:
        counts = ", ".join(f"{len(next(iter(data.values())))} of {key!r}" for key, data in tensors.items())
        said.append(f"inputs are those of the model's own warmup requests: {counts}")
    return Read(tensors, None, tuple(said))


def _request(log: Any, live: Live) -> tuple[str, Tensors] | None:
    """The signature that a request asks, and its inputs; None where it asks none that is known."""
    kind = log.WhichOneof("log_type")
    if kind not in ("predict_log", "classify_log", "regress_log"):
        return None
    request = getattr(log, kind).request
    key = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = live.signatures.get(key)
    if signature is None:
        return None
    if kind == "predict_log":
        return key, {name: wire.from_proto(value) for name, value in request.inputs.items()}
    if len(signature.inputs) != 1:
        return None
    examples = getattr(request.input, request.input.WhichOneof("kind") or "example_list").examples
    return key, {next(iter(signature.inputs)): objects([example.SerializeToString() for example in examples])}


def _together(calls: Sequence[Tensors], key: str, live: Live) -> dict[str, Any]:
    """The samples of several requests of one signature, those of the commonest shapes. Raises BadInput."""
    signature = live.signatures[key]
    shapes = [_shape(call, signature) for call in calls]
    common, _ = Counter(shapes).most_common(1)[0]
    chosen = [call for call, shape in zip(calls, shapes, strict=True) if shape == common]
    join = np.concatenate if signature.dynamic_batch else np.stack
    data = {name: join([call[name] for call in chosen]) for name in chosen[0]}
    inputs = golden.from_data(data, key, signature, GoldenSpec(samples=1 << 30), "they are not what it takes")
    if len(next(iter(data.values()))) < _LEAST:
        raise BadInput(f"they hold fewer than {_LEAST} samples")
    for call in inputs:
        live.endpoints[key].answer(call, "outputs")
    return data


def _shape(call: Tensors, signature: Signature) -> tuple[Any, ...]:
    start = 1 if signature.dynamic_batch else 0
    return tuple((name, value.shape[start:]) for name, value in sorted(call.items()))
