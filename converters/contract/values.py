"""The words every module shares: specs, signatures, sources, artifacts, predictions, checks.

Arrays are NumPy's. A string tensor is an array of dtype object whose elements are `bytes`, as TensorFlow
returns it. Data types are named as TensorFlow names them (`tf.DType.name`): float32, int64, bool, string, ...
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from pydantic import SerializerFunctionWrapHandler, model_serializer

from converters.contract.frozen import Frozen as Frozen
from converters.contract.frozen import Told as Told
from converters.contract.preprocessing import Preprocessing

Tensors: TypeAlias = dict[str, np.ndarray[Any, Any]]
"""Input or output name -> array."""

Status = Literal["passed", "failed", "unsupported", "not_run"]
SourceKind = Literal["tf_keras", "keras", "module", "saved_model"]
Data = Literal["given", "fitted", "drawn"]
"""Where inputs come from: the user; drawn, and fitted to what the model knows of its data; drawn with a seed."""
KERAS = ("tf_keras", "keras")
"""The kinds that are models of either Keras."""

SERVE = "serve"
"""The tag-set TF Serving loads (tensorflow/cc/saved_model/tag_constants.h)."""
DEFAULT_SIGNATURE = "serving_default"
"""The signature TF Serving runs when a request names none (tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY)."""


class TensorSpec(Frozen):
    """Shape and dtype of one tensor. A dimension of None is dynamic; a shape of None is of unknown rank."""

    shape: tuple[int | None, ...] | None
    """Sizes, with the batch."""
    dtype: str
    """As TensorFlow names it: float32, int64, bool, string, ..."""

    @property
    def dynamic_batch(self) -> bool:
        """Whether the first dimension is dynamic."""
        return bool(self.shape) and self.shape is not None and self.shape[0] is None


class Signature(Frozen):
    """Inputs and outputs of one entry point, by name."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    @property
    def dynamic_batch(self) -> bool:
        """Whether every input has a dynamic first dimension, so that the batch size is free."""
        return bool(self.inputs) and all(spec.dynamic_batch for spec in self.inputs.values())


class Case(Frozen):
    """One call of a signature: what goes in, and what the live model returned."""

    inputs: Tensors
    outputs: Tensors

    @property
    def batch(self) -> int:
        """Size of the first dimension of the inputs; 0 where they have none."""
        return next((value.shape[0] for value in self.inputs.values() if value.ndim), 0)


class Source(Frozen):
    """A built and exported model, by path: what every converter starts from.

    `saved_model` holds every signature under tag-set `serve`. `keras_file` is the same model as HDF5, where tf_keras
    can write it and any program with Keras can load it, and in its Keras's own `.keras` format where it can be saved so
    (or else `keras_problem` says why not). `keras_signature` is the key of the signature that is the model's call.
    `representative` holds calibration inputs in golden's format. `builder` is the Python file that registers the
    model's custom objects, if there is one. `refused` are the signatures that are left out, since they are random, keep
    state, or (in a given SavedModel) take or return no arrays, each with the reason. `notes` say what was changed in the
    copy of a given SavedModel, a sentence each. `description` and `labels` (output -> a name for each element of its last
    dimension) are the config's, and so is `preprocessing`, by input.
    """

    model: str
    version: int
    kind: SourceKind
    digest: str
    signatures: dict[str, Signature]
    saved_model: Path
    golden: Path
    keras_file: Path | None = None
    keras_problem: str | None = None
    keras_signature: str | None = None
    builder: Path | None = None
    representative: Path | None = None
    refused: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    description: str = ""
    labels: dict[str, tuple[str, ...]] = {}
    preprocessing: dict[str, Preprocessing] = {}

    @property
    def is_keras(self) -> bool:
        """Whether it is a model of either Keras."""
        return self.kind in KERAS


class UnitName(NamedTuple):
    """One variant of one target: what is converted, and checked, as one."""

    target: str
    variant: str

    @property
    def title(self) -> str:
        """What a person calls it; a target's only variant has no name of its own."""
        return self.target if self.variant == "default" else f"{self.target} {self.variant}"


class RowName(Frozen):
    """One signature in one variant of a target: what a row of the manifest is about. Weights have no signature."""

    target: str
    """saved_model, tflite, tfjs, hdf5, serving, or another package's."""
    variant: str
    """Which form of the target; `default` where there is one alone."""
    signature: str | None
    """Its key."""

    @property
    def unit(self) -> UnitName:
        """What it was made with."""
        return UnitName(self.target, self.variant)

    @property
    def identity(self) -> tuple[UnitName, str | None]:
        """The same for the same row of another release."""
        return self.unit, self.signature

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.unit.title} {self.signature or ''}".rstrip()


class Artifact(RowName):
    """What a conversion made for one signature: one row of the manifest.

    `path` is the file or directory that the target's runtime is given; None when the target cannot hold the
    signature, and then `reason` says why. `signature` is None for a file of weights, which has no signature.
    """

    path: Path | None
    reason: str | None = None


def of_call(source: Source, target: str, variant: str, path: Path, why_not: str) -> list[Artifact]:
    """The artifacts of a file that holds a Keras model's call alone, and why it does not hold the other signatures."""
    return [
        Artifact(target=target, variant=variant, signature=key, path=path)
        if key == source.keras_signature
        else Artifact(target=target, variant=variant, signature=key, path=None, reason=why_not)
        for key in source.signatures
    ]


class Scale(Frozen):
    """How integers of a dtype stand for numbers, which are (integer - zero_point) * scale."""

    dtype: str
    scale: float
    zero_point: int


class Ends(Frozen):
    """Inputs and outputs that a signature takes and returns as integers, by name."""

    inputs: dict[str, Scale] = {}
    outputs: dict[str, Scale] = {}


class Structure(Frozen):
    """What an artifact declares: its signatures as it holds them, by key, and the reader (with version) that said so.

    What an integer of `quantized` stands for is what its spec speaks of. `elsewhere` says by signature what other runtimes, which
    nobody asks here, lack. `runtimes` names those that must run the artifact for its row to pass, or may where a machine can lack
    them, unless the target's options name others.
    """

    signatures: dict[str, Signature]
    reader: str
    runtimes: tuple[str, ...]
    quantized: dict[str, Ends] = {}
    elsewhere: dict[str, str] = {}


class Prediction(Frozen):
    """What a runtime (named with its version) returned for one artifact, or the `error` it gave instead.

    `outputs` are in the order of the cases asked for, or of `answered`, their indices, where a runtime brings its own
    inputs for some of them only; `spared` says why it was asked for no more, where that is not what they cost.
    `times_ms` are the wall times of several calls on the last case, after warm-up.
    `lacks` says that the error may be a limit of the runtime's (it has no kernel for an op), and no fault of the artifact.
    `ran` says how the runtime was brought to run it, where that is a finding of its own, and `also` is what it returned
    when it was asked in other ways.
    """

    runtime: str
    outputs: list[Tensors] = []
    answered: tuple[int, ...] | None = None
    spared: str | None = None
    times_ms: tuple[float, ...] = ()
    error: str | None = None
    lacks: bool = False
    ran: str | None = None
    also: list["Prediction"] = []


_RARE = frozenset({"required", "at_least", "output", "figures", "latency_range_ms"})


class CheckResult(Frozen):
    """One check's finding. `measured` and `limit` are in the same unit, which `detail` names.

    One that is not `required` needs something a machine may lack: it may be `not_run`, which neither stops a row from
    passing nor makes it pass.

    `measured` must not be above `limit`, or with `at_least` not below it. `figures` are measured beside it and limit
    nothing: `measure.fidelity` of the `output` that the check is about, or the two values of a metric. `latency_ms` is the
    median of several calls, `latency_range_ms` the shortest and the longest of them.
    """

    name: str
    """Which check: loads, names, dtypes, shapes, runs, outputs, finite, values, ..."""
    runtime: str
    """What ran or read the file, with its version."""
    status: Literal["passed", "failed", "not_run"]
    measured: float | None = None
    limit: float | None = None
    detail: str = ""
    latency_ms: float | None = None
    latency_range_ms: tuple[float, float] | None = None
    required: bool = True
    at_least: bool = False
    output: str | None = None
    figures: dict[str, float] = {}

    @model_serializer(mode="wrap")
    def _without_the_usual(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What only some checks have is written only where they have it."""
        written: dict[str, Any] = plain(self)
        usual = type(self).model_fields
        return {
            name: value for name, value in written.items() if name not in _RARE or value != usual[name].get_default()
        }


class LayerLoss(Frozen):
    """What one layer of a lossy variant costs.

    `snr_db` is the signal-to-noise ratio of its output against the float graph's, and `added` the noise that it added,
    as a share of the signal's energy: the noise in its output less that in the noisiest of its inputs.
    """

    layer: str
    op: str
    snr_db: float
    added: float
