"""A client of TF Serving's ModelServer, over gRPC and REST: status, predict, classify, regress.

Protos: tensorflow_serving/apis/{prediction_service,model_service}.proto. REST:
https://www.tensorflow.org/tfx/serving/api_rest. What classify and regress make of a signature's outputs:
tensorflow_serving/servables/tensorflow/{classifier,regressor}.cc.

Import it in a process of its own: gRPC does not survive a fork, and TensorFlow is not needed.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
from google.protobuf.message import DecodeError

from converters.contract.errors import Damaged, ServerFailed, said
from converters.contract.values import Signature, Tensors, TensorSpec
from converters.formats import saved_model
from converters.formats.protos import load
from converters.targets.serving import wire

PREDICT = "predict"
METHODS = {"tensorflow/serving/classify": "classify", "tensorflow/serving/regress": "regress"}
"""SignatureDef.method_name -> the call that is made for it, beside predict (cc/saved_model/signature_constants.h)."""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_SERVICES = "tensorflow_serving.apis"


class Servable(NamedTuple):
    """One signature of a servable: what it declares, and `predict`, `classify` or `regress` by its method name."""

    signature: Signature
    method: str


class Version(NamedTuple):
    """One version of a model as the server sees it: its state's name, and its error where it could not be loaded."""

    number: int
    state: str
    error: str


def servables(path: Path) -> dict[str, Servable]:
    """The signatures in PATH/saved_model.pb under tag-set `serve`, by key. Raises Damaged, BadInput."""
    meta_graph = saved_model.read(path)
    methods = {
        key: METHODS.get(definition.method_name, PREDICT) for key, definition in meta_graph.signature_def.items()
    }
    return {key: Servable(signature, methods[key]) for key, signature in saved_model.signatures(meta_graph).items()}


class Client:
    """A context manager that holds both connections. Addresses are HOST:PORT.

    Every call takes a deadline (`time.monotonic()`), and raises ServerFailed with one sentence where the server
    refuses, does not answer in time, or answers with something else than was asked for.
    """

    def __init__(self, grpc_address: str, rest_address: str, model: str, version: int) -> None:
        self.model, self.version = model, version
        near = grpc_address.rpartition(":")[0] in _LOOPBACK
        self._channel = grpc.insecure_channel(
            grpc_address,
            options=[
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.enable_http_proxy", int(not near)),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 500),
            ],
        )
        self._predictions = load(f"{_SERVICES}.prediction_service_pb2_grpc").PredictionServiceStub(self._channel)
        self._models = load(f"{_SERVICES}.model_service_pb2_grpc").ModelServiceStub(self._channel)
        self._http = httpx.Client(
            base_url=f"http://{rest_address}", trust_env=rest_address.rpartition(":")[0] not in _LOOPBACK
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._http.close()

    def versions(self, deadline: float, starting: bool) -> list[Version]:
        """The model's versions that the server knows; none while nobody answers, where the server is still starting."""
        protos = load(f"{_SERVICES}.get_model_status_pb2")
        request = protos.GetModelStatusRequest()
        request.model_spec.name = self.model
        try:
            answer = self._models.GetModelStatus(request, timeout=_left(deadline))
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND or (starting and error.code() == grpc.StatusCode.UNAVAILABLE):
                return []
            raise _refused(error) from error
        names = protos.ModelVersionStatus.State
        return [
            Version(found.version, names.Name(found.state), found.status.error_message)
            for found in answer.model_version_status
        ]

    def ask(self, how: str, key: str, signature: Signature, inputs: Tensors, method: str, deadline: float) -> Tensors:
        """What the server returns for one signature: over `how` ("grpc" or "rest"), by `method`, a value of METHODS.

        Of classify and regress, the signature's own outputs, rebuilt from the answer.
        """
        try:
            if method == PREDICT:
                if how == "grpc":
                    return self._predict(key, inputs, deadline)
                return wire.from_json(self._post(method, wire.to_json(key, inputs), deadline), signature.outputs)
            results = (self._infer if how == "grpc" else self._infer_rest)(key, inputs, method, deadline)
            return _regressed(results, signature) if method == "regress" else _classified(results, signature)
        except grpc.RpcError as error:
            raise _refused(error) from error
        except httpx.TimeoutException as error:
            raise ServerFailed(f"{method} over REST had no answer in the time it had") from error
        except httpx.HTTPError as error:
            raise ServerFailed(f"{method} over REST was cut off: {error}") from error
        except Damaged as error:
            raise ServerFailed(f"{method} over {how}: {error}") from error

    def _predict(self, key: str, inputs: Tensors, deadline: float) -> Tensors:
        request = load(f"{_SERVICES}.predict_pb2").PredictRequest()
        self._address(request.model_spec, key)
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(wire.to_proto(value))
        answer = self._predictions.Predict(request, timeout=_left(deadline))
        self._require_ours(answer.model_spec)
        return {name: wire.from_proto(value) for name, value in answer.outputs.items()}

    def _infer(self, key: str, inputs: Tensors, method: str, deadline: float) -> list[Any]:
        """Classify or regress. Their input, by its fixed name, is a batch of serialized tf.Examples."""
        if method == "regress":
            request = load(f"{_SERVICES}.regression_pb2").RegressionRequest()
        else:
            request = load(f"{_SERVICES}.classification_pb2").ClassificationRequest()
        self._address(request.model_spec, key)
        request.input.example_list.examples.extend(_examples(inputs))
        answer = getattr(self._predictions, method.title())(request, timeout=_left(deadline))
        self._require_ours(answer.model_spec)
        if method == "regress":
            return [each.value for each in answer.result.regressions]
        return [[(c.label, c.score) for c in each.classes] for each in answer.result.classifications]

    def _infer_rest(self, key: str, inputs: Tensors, method: str, deadline: float) -> list[Any]:
        answer = self._post(method, wire.to_json_examples(key, _examples(inputs)), deadline)
        results = answer.get("results") if isinstance(answer, Mapping) else None
        if not isinstance(results, list):
            raise Damaged(f"its answer holds no 'results': {said(answer)}")
        return results

    def _address(self, spec: Any, key: str) -> None:
        spec.name, spec.signature_name = self.model, key
        spec.version.value = self.version

    def _require_ours(self, spec: Any) -> None:
        if (spec.name, spec.version.value) != (self.model, self.version):
            raise Damaged(f"{spec.name} {spec.version.value} answered in place of {self.model} {self.version}")

    def _post(self, method: str, body: bytes, deadline: float) -> Any:
        path = f"/v1/models/{self.model}/versions/{self.version}:{method}"
        answer = self._http.post(
            path, content=body, headers={"content-type": "application/json"}, timeout=_left(deadline)
        )
        if answer.status_code != 200:
            raise Damaged(f"status {answer.status_code}: {said(answer.content.decode(errors='replace'))}")
        return wire.parse_json(answer.content)


def _refused(error: grpc.RpcError) -> ServerFailed:
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return ServerFailed("a call over gRPC had no answer in the time it had")
    return ServerFailed(f"a call over gRPC ended as {error.code().name}: {said(error.details() or '')}")


def _left(deadline: float) -> float:
    """Seconds until the deadline; a little where it is past, so that the call itself says so."""
    return max(deadline - time.monotonic(), 0.01)


def _examples(inputs: Tensors) -> list[Any]:
    """The tf.Examples of a classify or regress signature's only input. Raises Damaged."""
    example = load("tensorflow.core.example.example_pb2").Example
    if inputs.keys() != {"inputs"}:
        raise Damaged(f"takes one input called 'inputs', and the signature has {sorted(inputs)}")
    try:
        return [example.FromString(item) for item in inputs["inputs"].ravel().tolist()]
    except DecodeError as error:
        raise Damaged(f"the golden inputs are no serialized tf.Examples: {error}") from error


def _regressed(values: list[Any], signature: Signature) -> Tensors:
    """The output of a regress signature: [batch], or [batch, 1] where it is declared so."""
    spec = TensorSpec(shape=None, dtype="float32")
    array = wire.json_array(values, spec, "regressions")
    declared = signature.outputs.get("outputs")
    column = declared is not None and declared.shape is not None and len(declared.shape) == 2
    return {"outputs": array.reshape(-1, 1) if column else array}


def _classified(results: list[Any], signature: Signature) -> Tensors:
    """The outputs of a classify signature, of those it has: labels in `classes`, scores in `scores`, [batch, classes]."""
    try:
        pairs = [[(label, score) for label, score in found] for found in results]
    except (TypeError, ValueError) as error:
        raise Damaged(f"its classes are no pairs of label and score: {error}") from error
    columns = {"classes": (0, "string"), "scores": (1, "float32")}
    return {
        name: wire.json_array(
            [[pair[place] for pair in found] for found in pairs], TensorSpec(shape=(None, None), dtype=dtype), name
        )
        for name, (place, dtype) in columns.items()
        if name in signature.outputs
    }
