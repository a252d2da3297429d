"""The words every module shares: specs, signatures, sources, artifacts, predictions, checks.

Arrays are NumPy's. A string tensor is an array of dtype object whose elements are `bytes`, as TensorFlow
returns it. Data types are named as TensorFlow names them (`tf.DType.name`): float32, int64, bool, string, ...
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, field_validator, model_serializer

Tensors: TypeAlias = dict[str, np.ndarray[Any, Any]]
"""Input or output name -> array."""

Status = Literal["passed", "failed", "unsupported", "not_run"]
SourceKind = Literal["tf_keras", "keras", "module", "saved_model"]

SAVED_MODEL = "saved_model"
"""Where the export is in a release; every target is made from it."""
SERVE = "serve"
"""The tag-set TF Serving loads (tensorflow/cc/saved_model/tag_constants.h)."""
DEFAULT_SIGNATURE = "serving_default"
"""The signature TF Serving runs when a request names none (tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY)."""


class Frozen(BaseModel):
    """A value: never changed after it is made, and refusing keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class TensorSpec(Frozen):
    """Shape and dtype of one tensor. A dimension of None is dynamic; a shape of None is of unknown rank."""

    shape: tuple[int | None, ...] | None
    dtype: str

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


class Limits(Frozen):
    """What one child process may use."""

    seconds: float = Field(default=600.0, gt=0, description="wall time of one build, conversion or prediction")
    memory_gb: float = Field(default=8.0, gt=0, description="memory of the child and all it starts, in GiB")


class Tolerance(Frozen):
    """How far an output may be from the live model's.

    `error` bounds max |error| / max |reference| of a float output, `mismatch` the share of unequal elements of
    an integer, bool or string output. `reason` says why the bound is what it is.
    """

    error: float = Field(ge=0)
    mismatch: float = Field(default=0.0, ge=0, lt=1)
    reason: str = "set in the config"


class Quality(Frozen):
    """How much of the live model's outputs a variant must keep, beside `Tolerance`; without a value there is no limit.

    The figures are those of `parity.fidelity`. `max_drop` bounds how far the metric of labelled evaluation data may
    fall short of the live model's, in the metric's own unit; without it the evaluation's own bound holds.
    """

    snr_db: float | None = Field(default=None, description="least signal-to-noise ratio of a float output, in dB")
    cosine: float | None = Field(default=None, ge=-1, le=1, description="least cosine similarity of a float output")
    top1: float | None = Field(
        default=None, ge=0, le=1, description="least share of samples whose top class is the live model's"
    )
    top1_samples: int = Field(default=20, ge=1, description="golden samples below which `top1` is no limit")
    max_drop: float | None = Field(default=None, ge=0, description="in place of evaluation.max_drop")


class Options(Frozen):
    """What every target can be told. A target's own options extend this."""

    known_variants: ClassVar[tuple[str, ...]] = ("default",)
    known_quality: ClassVar[Mapping[str, Quality]] = {}
    """Default limits of the variants that lose something."""
    optional: bool = Field(default=False, description="the target may be unsupported without blocking the release")
    variants: tuple[str, ...] = Field(default=("default",), description="which variants to make")
    tolerance: dict[str, Tolerance] = Field(default={}, description="variant -> tolerance, in place of the default")
    quality: dict[str, Quality] = Field(
        default={},
        validate_default=True,
        description="variant -> quality; what is left out keeps the variant's default",
    )
    evaluation_samples: int | None = Field(
        default=None, ge=1, description="evaluation samples for this target's runtimes, fewer than evaluation.samples"
    )

    @field_validator("quality", mode="before")
    @classmethod
    def _over_defaults(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        defaults = {variant: quality.model_dump() for variant, quality in cls.known_quality.items()}
        given = {variant: item for variant, item in value.items() if not isinstance(item, Mapping)}
        merged = {
            variant: {**defaults.get(variant, {}), **item} for variant, item in value.items() if variant not in given
        }
        return {**defaults, **merged, **given}

    def chosen_runtimes(self) -> tuple[str, ...]:
        """The runtimes that the config names in place of those that the artifact itself does; empty for none."""
        return ()

    def services(self) -> "Sequence[Service]":
        """Servers that run this target's artifacts where a machine has them, beside the runtimes all must have."""
        return ()


class Case(Frozen):
    """One call of a signature: what goes in, and what the live model returned."""

    inputs: Tensors
    outputs: Tensors


class Source(Frozen):
    """A built and exported model, by path: what every converter starts from.

    `saved_model` holds every signature under tag-set `serve`. `keras_file` is the same model as HDF5, where tf_keras
    can write it and any program with Keras can load it, and in its Keras's own `.keras` format where it can be saved so
    (or else `keras_problem` says why not). `keras_signature` is the key of the signature that is the model's call.
    `representative` holds calibration inputs in golden's format. `builder` is the Python file that registers the
    model's custom objects, if there is one. `refused` are the signatures of a given SavedModel that are left out, each
    with the reason. `notes` say what was changed in the copy of a given SavedModel, a sentence each. Before the export
    `saved_model` is not there yet, and `digest` is empty.
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


class Artifact(Frozen):
    """What a conversion made for one signature: one row of the manifest.

    `path` is the file or directory that the target's runtime is given; None when the target cannot hold the
    signature, and then `reason` says why. `signature` is None for a file of weights, which has no signature.
    """

    target: str
    variant: str
    signature: str | None
    path: Path | None
    reason: str | None = None


class Structure(Frozen):
    """What an artifact declares: its signatures as it holds them, by key, and the reader (with version) that said so.

    `runtimes` names those that must run the artifact for its row to pass, unless the target's options name others.
    """

    signatures: dict[str, Signature]
    reader: str
    runtimes: tuple[str, ...]


class Prediction(Frozen):
    """What a runtime (named with its version) returned for one artifact, or the `error` it gave instead.

    `outputs` are in the order of the cases asked for, or of `answered`, their indices, where a runtime brings its own
    inputs for some of them only. `latency_ms` is the median of several calls on the last case, after warm-up.
    `lacks` says that the error may be a limit of the runtime's (it has no kernel for an op), and no fault of the artifact.
    """

    runtime: str
    outputs: list[Tensors] = []
    answered: tuple[int, ...] | None = None
    latency_ms: float | None = None
    error: str | None = None
    lacks: bool = False


_RARE = frozenset({"required", "at_least", "output", "figures"})


class CheckResult(Frozen):
    """One check's finding. `measured` and `limit` are in the same unit, which `detail` names.

    One that is not `required` needs something a machine may lack: it may be `not_run`, which neither stops a row from
    passing nor makes it pass.

    `measured` must not be above `limit`, or with `at_least` not below it. `figures` are measured beside it and limit
    nothing: `parity.fidelity` of the `output` that the check is about, or the two values of a metric.
    """

    name: str
    runtime: str
    status: Literal["passed", "failed", "not_run"]
    measured: float | None = None
    limit: float | None = None
    detail: str = ""
    latency_ms: float | None = None
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


class Answered(Frozen):
    """What a server (named with its version) made of one artifact: how it ran, and a prediction for each way of asking."""

    runtime: str
    detail: str
    predictions: list[Prediction]


class Server(Protocol):
    """A server that is here. `predict` is called in a fresh child process."""

    def predict(
        self, artifacts: Sequence[Artifact], cases: Mapping[str, Sequence[Tensors]], work: Path, deadline: float
    ) -> list[Answered]:
        """Have each artifact served and asked; `work` is an empty directory, removed afterwards.

        `deadline` is a `time.monotonic()`, which all processes of a machine share on Linux and macOS.

        Raises ServerFailed, Damaged.
        """


class Service(Protocol):
    """A kind of server that a machine may have. `name` is its check's."""

    @property
    def name(self) -> str: ...

    @property
    def runtime(self) -> str: ...

    @property
    def required(self) -> bool:
        """Whether the config makes its absence a failure."""

    def find(self) -> Server:
        """The server that is here, looked for quickly. Raises MissingRuntime, which says how to get one."""


class LayerLoss(Frozen):
    """What one layer of a lossy variant costs.

    `snr_db` is the signal-to-noise ratio of its output against the float graph's, and `added` the noise that it added,
    as a share of the signal's energy: the noise in its output less that in the noisiest of its inputs.
    """

    layer: str
    op: str
    snr_db: float
    added: float


@runtime_checkable
class Examiner(Protocol):
    """What the module of a target with lossy variants can offer beside `Converter`'s functions."""

    def layers(self, artifact: Artifact, saved_model: Path, inputs: Tensors) -> list[LayerLoss]:
        """The layers of a signature, those that add most noise first. Runs in a child process. Raises FanoutError."""


@runtime_checkable
class Trier(Protocol):
    """What the module of a target can offer whose own runtime alone can say that it lacks what a model needs."""

    TRIED: Mapping[str, str]
    """Variant -> the runtime, one of `KEPT`, that is given what was converted."""

    def try_out(self, source: Source, artifacts: Sequence[Artifact]) -> None:
        """Have the runtime load and run it once. Raises Unsupported, the files removed, where the runtime lacks something.

        Whatever else goes wrong is left to the checks. Runs in a kept child process of the runtime.
        """


class Converter(Protocol):
    """What a target's module offers. A converter converts, inspects and predicts; it never judges itself.

    `variants` and `holds` are called anywhere and import nothing heavy; the other functions run in a child process of
    their own. `FRESH` names the runtimes whose child must not have TensorFlow loaded. `KEPT` is runtime -> the kind of
    child that runs it and stays for the next check of that kind, since starting one is slow. `INSTEAD` is
    runtime -> the one that must run what the former lacks. `EARLY` names the variants that are made of a Keras source's
    `keras_file` alone, and so need not wait for the SavedModel.
    """

    NAME: str
    OPTIONS: type[Options]
    TOLERANCES: Mapping[str, Tolerance]
    FRESH: frozenset[str]
    KEPT: Mapping[str, str]
    INSTEAD: Mapping[str, str]
    EARLY: frozenset[str]

    def holds(self, dtype: str) -> str:
        """The dtype in which the target holds the model's `dtype`."""

    def variants(self, source: Source, options: Options) -> Sequence[str]:
        """The variants to convert: those the options ask for, or those this source can have."""

    def convert(self, source: Source, variant: str, out_dir: Path, options: Options) -> list[Artifact]:
        """Write `variant` below `out_dir`, the release's directory; one Artifact for each signature.

        Raises Unsupported where the target can hold nothing of this source.
        """

    def inspect(self, artifact: Artifact) -> Structure:
        """Read back what the file declares. Raises Damaged."""

    def predict(
        self, artifacts: Sequence[Artifact], cases: Mapping[str, Sequence[Tensors]], runtime: str
    ) -> list[Prediction]:
        """Run each artifact on the cases of its signature (of key '' for one without). Raises Damaged, MissingRuntime.

        In a kept child of a runtime, none at all may be given: it then starts what it will run the others in.
        """
