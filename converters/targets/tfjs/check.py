"""Reading model.json and its weights back, and running them in Node and Chromium."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from converters.contract.errors import Damaged
from converters.contract.target import Cases
from converters.contract.values import Artifact, Prediction, Signature, Structure, TensorSpec
from converters.formats import keras_config, specs
from converters.formats.protos import load
from converters.javascript import messages, runner
from converters.javascript.dtypes import holds

_ITEM_BYTES = {"float32": 4, "int32": 4, "complex64": 8, "bool": 1, "uint8": 1, "uint16": 2, "float16": 2}
"""Bytes of one element in a weight file (tfjs-core's DTYPE_VALUE_SIZE_MAP)."""
WEBGL: runner.Runtime = "chromium-webgl"
RUNTIMES: tuple[runner.Runtime, ...] = ("node-wasm", WEBGL)
"""Where every model must run, unless its options say otherwise."""


def inspect(artifact: Artifact) -> Structure:
    """The signature in model.json, and every weight file that it lists, which must be there in full."""
    assert artifact.path is not None
    try:
        model = json.loads(artifact.path.read_text())
        if artifact.variant == "layers":
            signature = keras_config.signature(model["modelTopology"]["model_config"])
        else:
            signature = _signature(model["signature"])
        _require_weights(artifact.path.parent, model["weightsManifest"])
        reader = f"model.json by {model['convertedBy']}"
    except (OSError, KeyError, TypeError, ValueError, json_format.ParseError) as error:
        raise Damaged(f"{artifact.path.name} cannot be read: {type(error).__name__}: {error}") from error
    return Structure(signatures={artifact.signature or "": signature}, reader=reader, runtimes=RUNTIMES)


def _require_weights(folder: Path, manifest: Any) -> None:
    for group in manifest:
        for path in group["paths"]:
            if not (folder / path).is_file():
                raise Damaged(f"the weight file {path} is missing")
        stored = sum((folder / path).stat().st_size for path in group["paths"])
        needed = _bytes(group["weights"])
        if needed is not None and stored != needed:
            listed = ", ".join(group["paths"])
            raise Damaged(f"the weights need {needed} bytes, but there are {stored} in {listed}")


def _bytes(weights: Any) -> int | None:
    """What a group of weights takes on disk; None where strings are among them, whose size model.json does not say."""
    if any(weight["dtype"] == "string" for weight in weights):
        return None
    counts = ((math.prod(w["shape"]), w.get("quantization", w)["dtype"]) for w in weights)
    return sum(int(count) * _ITEM_BYTES[dtype] for count, dtype in counts)


def _signature(signature: Mapping[str, Any]) -> Signature:
    """The signature without lookup tables' handles, which the model feeds to itself."""
    return Signature(
        inputs={name: _spec(info) for name, info in signature["inputs"].items() if "resourceId" not in info},
        outputs={name: _spec(info) for name, info in signature["outputs"].items()},
    )


def _spec(info: Mapping[str, Any]) -> TensorSpec:
    """A TensorInfo proto in JSON. The dtype is that of the tensor in tensorflow.js, which reads DT_INT64 as int32."""
    proto = load("tensorflow.core.protobuf.meta_graph_pb2").TensorInfo()
    spec = specs.of_info(json_format.ParseDict({**info}, proto, ignore_unknown_fields=True))
    return spec.model_copy(update={"dtype": holds(spec.dtype)})


def predict(runtime: runner.Runtime, artifacts: Sequence[Artifact], cases: Cases, seconds: float) -> list[Prediction]:
    """One Node (which may drive one Chromium) for all artifacts, and in a kept child for all its calls.

    How long WebGL takes without a GPU is of interest to nobody.
    """
    timed = runtime != WEBGL or runner.software_webgl() is None
    requests = [
        messages.Request(
            model=artifact.path,  # type: ignore[arg-type]
            kind="layers" if artifact.variant == "layers" else "graph",
            cases=cases[artifact.signature or ""],
            timed=timed,
        )
        for artifact in artifacts
    ]
    return runner.run(runtime, requests, seconds=None)
