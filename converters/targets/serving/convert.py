"""Laying a servable out, with its warmup requests."""

import shutil
from pathlib import Path

from converters.contract.target import Options
from converters.contract.values import Artifact, Source
from converters.reference import golden
from converters.targets.serving import NAME
from converters.targets.serving.layout import WARMUP


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
