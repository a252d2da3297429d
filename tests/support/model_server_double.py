"""A stand-in for tensorflow_model_server: its flags, its protos over gRPC, its JSON over REST, on the real SavedModel.

Written after tensorflow_serving/model_servers/{main,server}.cc, util/json_tensor.cc and
servables/tensorflow/{predict_util,classifier,regressor,saved_model_warmup_util}.cc. The SavedModel runs in TensorFlow's
C API. `write_program` makes an executable of it, told how to misbehave; `write_docker` a `docker` that runs it.
"""

import argparse
import base64
import json
import os
import re
import signal
import stat
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from converters.targets.serving import layout

VERSION = "TensorFlow ModelServer: 2.19.0+dev.sha.0\nTensorFlow Library: 2.19.0"
BEHAVIOURS = (
    "sound", "exits", "load error", "loading", "wrong grpc", "wrong rest", "wrong classify", "dies", "hangs",
    "no warmup", "half warmup", "silent", "ignores SIGTERM",
)  # fmt: skip


def write_program(folder: Path, behaviour: str = "sound") -> Path:
    """FOLDER/tensorflow_model_server, executable; it appends its process id to FOLDER/started."""
    assert behaviour in BEHAVIOURS
    return _write(folder / "tensorflow_model_server", "main", behaviour, str(folder / "started"))


def write_docker(folder: Path, tags: tuple[str, ...] | None, behaviour: str = "sound") -> Path:
    """FOLDER/docker, executable: a client without an engine (tags None), or with one that holds images of these tags."""
    write_program(folder / "image", behaviour)
    return _write(folder / "docker", "docker", list(tags) if tags is not None else None, str(folder))


def _write(path: Path, function: str, *args: Any) -> Path:
    here = Path(__file__)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:0] = [{str(here.parent)!r}, {str(here.parents[2])!r}]\n"
        f"from {here.stem} import {function}\n{function}(*{args!r})\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def docker(tags: list[str] | None, folder: str) -> None:
    """What `docker` does with the commands that are used here: the image's /bin/sh runs in FOLDER/image."""
    arguments = sys.argv[1:]
    with (Path(folder) / "commands").open("a") as commands:
        commands.write(json.dumps(arguments) + "\n")
    if tags is None:
        sys.exit("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
    if arguments[0] == "version":
        print("28.2.2")
    elif arguments[:2] == ["image", "ls"]:
        print("\n".join(tags))
    elif arguments[0] == "run":
        _docker_run(arguments, Path(folder) / "image")


def _docker_run(arguments: list[str], image: Path) -> None:
    options = argparse.ArgumentParser()
    for flag in ("--interactive", "--rm", "--init"):
        options.add_argument(flag, action="store_true")
    for flag in ("--pull", "--name", "--entrypoint"):
        options.add_argument(flag)
    for flag in ("--publish", "--mount", "--env"):
        options.add_argument(flag, action="append", default=[])
    options.add_argument("image")
    options.add_argument("command", nargs=argparse.REMAINDER)
    given = options.parse_args(arguments[1:])
    assert given.pull == "never"
    assert given.rm
    command = [given.entrypoint, *given.command]
    mounts = {
        part["target"]: part["source"]
        for part in (dict(item.split("=", 1) for item in text.split(",") if "=" in item) for text in given.mount)
    }
    ports = dict(text.split(":")[:0:-1] for text in given.publish)
    assert all(text.startswith("127.0.0.1:") for text in given.publish)
    for index, part in enumerate(command):
        for flag in ("--port=", "--rest_api_port="):
            if part.startswith(flag):
                command[index] = flag + ports[part.removeprefix(flag)]
        if part.startswith("--model_config_file="):
            # There is no mount namespace here: the config is read where it is, with the paths that are mounted.
            command[index] = f"--model_config_file={mounts['/models']}/models.config"
            os.environ["DOUBLE_MOUNTS"] = json.dumps(mounts)
    os.environ["PATH"] = f"{image}:{os.environ['PATH']}"
    os.environ |= dict(text.split("=", 1) for text in given.env)
    os.execvp(command[0], command)


def main(behaviour: str, started: str) -> None:
    """The program."""
    with open(started, "a") as pids:
        pids.write(f"{os.getpid()} {' '.join(sys.argv[1:])}\n")
    if "--version" in sys.argv:
        print(VERSION)
        return
    options = argparse.ArgumentParser()
    for flag in ("--port", "--rest_api_port", "--max_num_load_retries"):
        options.add_argument(flag, type=int)
    options.add_argument("--model_config_file", type=Path)
    given = options.parse_args()
    if behaviour == "exits":
        print("Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: 'models.config'")
        sys.exit(255)
    if behaviour == "ignores SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    served = Served(given.model_config_file.read_text(), behaviour)
    served.serve_grpc(given.port)
    served.serve_rest(given.rest_api_port)


class Served:
    """The one model of a models.config, loaded, warmed up, and served."""

    def __init__(self, config: str, behaviour: str) -> None:
        from converters.formats.protos import load
        from converters.targets.saved_model import c_api
        from converters.targets.serving import client as serving_client

        self.behaviour, self.load = behaviour, load
        self.lock = threading.Lock()
        ((self.name, base),) = layout.parse_models_config(config).items()
        folder = _resolved(base)
        self.version = max(int(path.name) for path in folder.iterdir() if path.name.isdigit())
        path = folder / str(self.version)
        self.state, self.error = "LOADING", ""
        if behaviour == "load error":
            self.state, self.error = "END", "Could not find meta graph def matching supplied tags: { serve }"
            return
        self.methods = {key: found.method for key, found in serving_client.servables(path).items()}
        self.model = c_api.Model(path).__enter__()
        warmup = path / "assets.extra" / "tf_serving_warmup_requests"
        if behaviour == "no warmup":
            print(f"I saved_model_warmup_util.cc:80] No warmup data file found at {warmup}", file=sys.stderr)
        elif behaviour != "silent":
            count = len(self.methods) // (2 if behaviour == "half warmup" else 1)
            print(
                f"I saved_model_warmup_util.cc:80] Finished reading warmup data for model at {warmup}. "
                f"Number of warmup records read: {count}. Elapsed time (microseconds): 1234.",
                file=sys.stderr,
            )
        sys.stderr.flush()
        self.state = "LOADING" if behaviour == "loading" else "AVAILABLE"

    def serve_grpc(self, port: int) -> None:
        """Start the PredictionService and the ModelService."""
        import grpc

        apis = "tensorflow_serving.apis"
        for module in ("prediction_service_pb2_grpc", "model_service_pb2_grpc"):
            self.load(f"{apis}.{module}")
        prediction = self.load(f"{apis}.prediction_service_pb2_grpc")
        models = self.load(f"{apis}.model_service_pb2_grpc")
        self.grpc = grpc.server(ThreadPoolExecutor(4))
        prediction.add_PredictionServiceServicer_to_server(self, self.grpc)
        models.add_ModelServiceServicer_to_server(self, self.grpc)
        assert self.grpc.add_insecure_port(f"127.0.0.1:{port}") == port
        self.grpc.start()

    def serve_rest(self, port: int) -> None:
        """Answer HTTP for ever."""
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, b"{}")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                found = re.fullmatch(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:(classify|regress|predict)", self.path)
                if found is None or (found[1], int(found[2] or served.version)) != (served.name, served.version):
                    self._send(404, json.dumps({"error": f"Servable not found for request: {self.path}"}).encode())
                    return
                try:
                    self._send(200, served.rest(found[3], body))
                except Exception as error:  # whatever is wrong with a request is answered
                    self._send(400, json.dumps({"error": str(error)}).encode())

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()

    def run(self, key: str, inputs: Mapping[str, Any], wrong: bool) -> dict[str, Any]:
        """What the SavedModel returns, changed where it must be wrong."""
        if self.behaviour == "dies":
            os._exit(3)
        if self.behaviour == "hangs" and key == "serving_default":
            time.sleep(3600)
        with self.lock:
            outputs = self.model.run(key, dict(inputs))
        if wrong:
            first = next(iter(outputs))
            outputs[first] = outputs[first] + (b"!" if outputs[first].dtype == object else 1)
        return outputs

    # gRPC, by the names of the services' methods.

    def GetModelStatus(self, request: Any, context: Any) -> Any:
        import grpc

        protos = self.load("tensorflow_serving.apis.get_model_status_pb2")
        if request.model_spec.name != self.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {request.model_spec.name}")
        answer = protos.GetModelStatusResponse()
        status = answer.model_version_status.add(
            version=self.version, state=protos.ModelVersionStatus.State.Value(self.state)
        )
        if self.error:
            status.status.error_code, status.status.error_message = 5, self.error
        return answer

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    GetModelMetadata = MultiInference = HandleReloadConfigRequest

    def Predict(self, request: Any, context: Any) -> Any:
        from converters.targets.serving.wire import from_proto, to_proto

        answer = self.load("tensorflow_serving.apis.predict_pb2").PredictResponse()
        spec = request.model_spec
        self._require_ours(spec, context)
        inputs = {name: from_proto(value) for name, value in request.inputs.items()}
        outputs = self._run(context, spec.signature_name, inputs, self.behaviour == "wrong grpc")
        for name, value in outputs.items():
            answer.outputs[name].CopyFrom(to_proto(value))
        self._name(answer.model_spec, spec)
        return answer

    def Classify(self, request: Any, context: Any) -> Any:
        answer = self.load("tensorflow_serving.apis.classification_pb2").ClassificationResponse()
        outputs = self._infer(request, context, "classify")
        for row in self.classes(outputs):
            answer.result.classifications.add().classes.extend(
                self.load("tensorflow_serving.apis.classification_pb2").Class(label=label, score=score)
                for label, score in row
            )
        self._name(answer.model_spec, request.model_spec)
        return answer

    def Regress(self, request: Any, context: Any) -> Any:
        answer = self.load("tensorflow_serving.apis.regression_pb2").RegressionResponse()
        outputs = self._infer(request, context, "regress")
        for value in outputs["outputs"].ravel().tolist():
            answer.result.regressions.add(value=value)
        self._name(answer.model_spec, request.model_spec)
        return answer

    def _infer(self, request: Any, context: Any, method: str) -> dict[str, Any]:
        import grpc

        spec = request.model_spec
        self._require_ours(spec, context)
        if self.methods[spec.signature_name] != method:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Expected {method} signature method_name")
        examples = [example.SerializeToString() for example in request.input.example_list.examples]
        return self._run(context, spec.signature_name, {"inputs": _strings(examples)}, method in self.behaviour)

    def classes(self, outputs: Mapping[str, Any]) -> list[list[tuple[str, float]]]:
        """Label and score of each class, '' and 0 where the signature has none."""
        one = next(iter(outputs.values()))
        labels = outputs["classes"].tolist() if "classes" in outputs else [[b""] * one.shape[1]] * len(one)
        scores = outputs["scores"].tolist() if "scores" in outputs else [[0.0] * one.shape[1]] * len(one)
        return [
            [(label.decode(), score) for label, score in zip(some, others, strict=True)]
            for some, others in zip(labels, scores, strict=True)
        ]

    def _run(self, context: Any, key: str, inputs: Mapping[str, Any], wrong: bool) -> dict[str, Any]:
        import grpc

        from converters.contract.errors import FanoutError

        try:
            return self.run(key, inputs, wrong)
        except FanoutError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise

    def _require_ours(self, spec: Any, context: Any) -> None:
        import grpc

        version = spec.version.value if spec.HasField("version") else self.version
        if (spec.name, version) != (self.name, self.version):
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {spec.name}")

    def _name(self, spec: Any, asked: Any) -> None:
        spec.name, spec.signature_name = self.name, asked.signature_name
        spec.version.value = self.version

    # REST.

    def rest(self, method: str, body: bytes) -> bytes:
        """The answer's body."""
        request = json.loads(body)
        key = request["signature_name"]
        if method == "predict":
            specs = self.model.signatures[key].signature
            inputs = {name: _tensor(request["inputs"][name], spec.dtype) for name, spec in specs.inputs.items()}
            outputs = self.run(key, inputs, self.behaviour == "wrong rest")
            written = [f"{json.dumps(name)}: {_written(value, name)}" for name, value in outputs.items()]
            columns = "{" + ", ".join(written) + "}" if len(written) > 1 else written[0].split(": ", 1)[1]
            return f'{{"outputs": {columns}}}'.encode("utf-8", "surrogateescape")
        if self.methods[key] != method:
            raise ValueError(f"Expected {method} signature method_name")
        outputs = self.run(key, {"inputs": _strings([self._example(e) for e in request["examples"]])}, False)
        if method == "regress":
            return json.dumps({"results": outputs["outputs"].ravel().tolist()}).encode()
        return json.dumps({"results": self.classes(outputs)}).encode()

    def _example(self, features: dict[str, list[Any]]) -> bytes:
        example = self.load("tensorflow.core.example.example_pb2").Example()
        for name, values in features.items():
            feature = example.features.feature[name]
            for value in values:
                if isinstance(value, dict):
                    feature.bytes_list.value.append(base64.b64decode(value["b64"]))
                elif isinstance(value, float):
                    feature.float_list.value.append(value)
                else:
                    feature.int64_list.value.append(value)
        return bytes(example.SerializeToString())


def _resolved(base: str) -> Path:
    """A path of the container's, by what is mounted there; the innermost mount that holds it."""
    mounts: dict[str, str] = json.loads(os.environ.get("DOUBLE_MOUNTS", "{}"))
    if not mounts:
        return Path(base)
    name, rest = base.removeprefix("/models/").split("/current")
    version = os.readlink(f"{mounts['/models']}/{name}/current")
    return Path(mounts[f"/models/{name}/{version}{rest}"])


def _strings(items: list[bytes]) -> Any:
    import numpy as np

    array = np.empty(len(items), object)
    array[:] = items
    return array


def _tensor(value: Any, dtype: str) -> Any:
    """A JSON value as json_tensor.cc reads it: the wrong kind of number is refused."""
    import numpy as np

    if dtype in ("float16", "bfloat16", "complex64", "complex128", "uint16"):
        raise ValueError(f"Conversion of JSON Value to type: {dtype}")
    if dtype == "string":

        def decoded(item: Any) -> Any:
            if isinstance(item, list):
                return [decoded(part) for part in item]
            return base64.b64decode(item["b64"]) if isinstance(item, dict) else item.encode()

        leaves = decoded(value)
        array = np.empty(np.shape(np.array(leaves, dtype="S")), object)
        flat = [leaves]
        while flat and isinstance(flat[0], list):
            flat = [item for part in flat for item in part]
        array.reshape(-1)[:] = flat
        return array
    array = np.array(value)
    if array.dtype.kind not in {"b": "b", "i": "i", "u": "iu", "f": "fi"}[np.dtype(dtype).kind]:
        raise ValueError(f"JSON Value of {array.dtype} is not of expected type: {dtype}")
    return array.astype(dtype)


def _written(array: Any, name: str) -> str:
    """A tensor as json_tensor.cc writes it; bytes that are no UTF-8 as they are."""
    if array.ndim:
        return f"[{', '.join(_written(array[index, ...], name) for index in range(len(array)))}]"
    item = array.item()
    if isinstance(item, bytes):
        if name.endswith("_bytes"):
            return json.dumps({"b64": base64.b64encode(item).decode()})
        return json.dumps(item.decode("utf-8", "surrogateescape"), ensure_ascii=False)
    return str(array) if array.dtype.kind == "f" and abs(item) < float("inf") else json.dumps(item)
