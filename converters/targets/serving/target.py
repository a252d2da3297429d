"""TF Serving: a servable in a directory named by its version, with warmup requests, and the ModelServer's config.

Layout and file names: tensorflow_serving/servables/tensorflow/{saved_model_warmup_util.cc,saved_model_warmup.cc}.
"""

import shutil
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from converters.contract.errors import Damaged
from converters.contract.values import Artifact, Options, Prediction, Service, Source, Structure, Tensors
from converters.formats.protos import load
from converters.reference import golden
from converters.targets.saved_model import target as saved_model
from converters.targets.serving import wire as tensor_wire

if TYPE_CHECKING:
    from converters.targets.saved_model.c_api import Model

NAME = "serving"
FRESH = frozenset({"c-loader", "warmup"})
KEPT = {**saved_model.KEPT, "warmup": saved_model.KEPT["c-loader"]}
INSTEAD: dict[str, str] = {}
EARLY: frozenset[str] = frozenset()
TOLERANCES = saved_model.TOLERANCES
WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
CONFIG = "models.config"
RELEASES = "/models"
"""Where the ModelServer's container sees RELEASES."""


class ServingOptions(Options):
    """TF Serving's options."""

    require_server: bool = Field(
        default=False, description="a machine without a ModelServer fails the rows, rather than leave its check out"
    )

    def services(self) -> Sequence[Service]:
        """The ModelServer."""
        from converters.targets.serving.model_server import ModelServer  # it lays out what this module names

        return (ModelServer(required=self.require_server),)


OPTIONS = ServingOptions

holds = saved_model.holds
variants = saved_model.variants


def convert(source: Source, variant: str, out_dir: Path, options: Options) -> list[Artifact]:
    """Lay out `serving/VERSION/`, with one warmup request for each signature.

    The warmup request is golden's last case: a batch of one where the batch is dynamic.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    servable = out_dir / NAME / str(source.version)
    shutil.copytree(source.saved_model, servable, dirs_exist_ok=True)  # what a try that crashed has left
    (servable / WARMUP).parent.mkdir(exist_ok=True)
    cases = golden.load(source.golden).cases
    with tf.io.TFRecordWriter(str(servable / WARMUP)) as writer:
        for key, signature in source.signatures.items():
            request = prediction_log_pb2.PredictionLog()
            predict_request = request.predict_log.request
            predict_request.model_spec.name = source.model
            predict_request.model_spec.signature_name = key
            for name, value in cases[key][-1].inputs.items():
                proto = tf.make_tensor_proto(value, signature.inputs[name].dtype, value.shape)
                predict_request.inputs[name].CopyFrom(proto)
            writer.write(request.SerializeToString(deterministic=True))
    return [Artifact(target=NAME, variant=variant, signature=key, path=servable) for key in source.signatures]


def inspect(artifact: Artifact) -> Structure:
    """The signatures of the servable, whose directory must be named as the ModelServer wants it."""
    assert artifact.path is not None
    if not (artifact.path.name.isdigit() and int(artifact.path.name) > 0):
        raise Damaged(f"{artifact.path.name!r} is no version: the ModelServer loads directories named 1, 2, 3, ...")
    others = [found.name for found in artifact.path.parent.iterdir() if found.name.isdigit() and found != artifact.path]
    if others:
        listed = ", ".join(sorted(others, key=int))
        raise Damaged(f"beside version {artifact.path.name} is {listed}: the ModelServer would load the newest of them")
    structure = saved_model.inspect(artifact)
    return structure.model_copy(update={"runtimes": ("c-loader", "warmup")})


def predict(artifacts: Sequence[Artifact], cases: Mapping[str, Sequence[Tensors]], runtime: str) -> list[Prediction]:
    """Run the servable on golden's inputs (c-loader), or on the inputs in its own warmup requests (warmup).

    Raises Damaged where a warmup request is for no signature of the servable: the ModelServer sends them all, and gives
    up loading when one fails.
    """
    if runtime == "c-loader" or not artifacts:
        return saved_model.predict(artifacts, cases, runtime)
    assert artifacts[0].path is not None
    recorded = warmup_requests(artifacts[0].path / WARMUP)
    with saved_model.loaded(artifacts[0].path) as model:
        unknown = recorded.keys() - model.signatures.keys() - model.refused.keys()
        if unknown:
            listed = ", ".join(map(repr, sorted(unknown)))
            raise Damaged(f"{WARMUP.name} holds a request for signature {listed}, which the servable lacks")
        return [_replayed(model, artifact.signature or "", recorded, cases) for artifact in artifacts]


_WARMUP_RUNTIME = "warmup replay"


def _replayed(
    model: "Model", key: str, recorded: Mapping[str, Tensors], cases: Mapping[str, Sequence[Tensors]]
) -> Prediction:
    """What the servable returns for its own request, which must be golden's last case."""
    if key not in recorded:
        return Prediction(runtime=_WARMUP_RUNTIME, error=f"no warmup request is for signature {key!r}")
    try:
        outputs = [model.run(key, recorded[key])]
    except Damaged as error:
        return Prediction(runtime=_WARMUP_RUNTIME, error=str(error))
    return Prediction(runtime=_WARMUP_RUNTIME, outputs=outputs, answered=(len(cases[key]) - 1,))


def warmup_requests(path: Path) -> dict[str, Tensors]:
    """The inputs in a warmup file, by signature key.

    Raises:
        Damaged: the file is missing, its records fail their checksums, are no predict requests, or two of them are for
            one signature.
    """
    requests: dict[str, Tensors] = {}
    for log in warmup_logs(path):
        if log.WhichOneof("log_type") != "predict_log":
            raise Damaged(f"{path.name} holds a record that is no predict request")
        request = log.predict_log.request
        if request.model_spec.signature_name in requests:
            raise Damaged(f"{path.name} holds two requests for signature {request.model_spec.signature_name!r}")
        requests[request.model_spec.signature_name] = {
            name: tensor_wire.from_proto(value) for name, value in request.inputs.items()
        }
    return requests


def warmup_logs(path: Path) -> list[Any]:
    """The PredictionLogs in a warmup file.

    Its format is a TFRecord's: length, masked CRC-32C of the length, content, masked CRC-32C of the content
    (tensorflow/core/lib/io/record_writer.h).

    Raises:
        Damaged: the file is missing, its records fail their checksums, or are no PredictionLogs.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    log = load("tensorflow_serving.apis.prediction_log_pb2").PredictionLog
    found, at = [], 0
    try:
        content = path.read_bytes()
        while at < len(content):
            size, check = struct.unpack_from("<QI", content, at)
            record = content[at + 12 : at + 12 + size]
            (checked,) = struct.unpack_from("<I", content, at + 12 + size)
            if check != masked_crc32c(content[at : at + 8]) or checked != masked_crc32c(record):
                raise Damaged(f"{path.name} cannot be read: the record at byte {at} fails its checksum")
            found.append(log.FromString(record))
            at += 12 + size + 4
    except struct.error:
        raise Damaged(f"{path.name} cannot be read: it ends within the record at byte {at}") from None
    except (OSError, OverflowError, DecodeError) as error:
        raise Damaged(f"{path.name} cannot be read: {error}") from error
    return found


def models_config(names: Iterable[str], releases: str = RELEASES) -> str:
    """The ModelServer's `--model_config_file` for the promoted releases of these models, in protobuf text format.

    `releases` is where the ModelServer sees RELEASES.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    for name in sorted(names):
        entry = config.model_config_list.config.add()
        entry.name = name
        entry.base_path = f"{releases}/{name}/current/serving"
        entry.model_platform = "tensorflow"
    return str(text_format.MessageToString(config))


def parse_models_config(text: str) -> dict[str, str]:
    """Model name -> base path.

    Raises:
        Damaged: the text is no ModelServerConfig.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    try:
        config: Any = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise Damaged(f"{CONFIG} is no ModelServerConfig: {error}") from error
    return {entry.name: entry.base_path for entry in config.model_config_list.config}
