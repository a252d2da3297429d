"""What a config may say: how targets are judged and limited, golden, evaluation, regression, schedule, and who is told."""

from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, NonNegativeInt, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from converters.contract.values import Told

NEVER = "never"
_CRON = rf"^(\s*(\S+\s+){{4}}\S+\s*|{NEVER})$"
"""`Schedule`'s five fields, as JSON Schema can tell them."""


class Schedule(Told):
    """A cron expression and the time zone it is meant in; a string alone is the cron expression, or `never`."""

    cron: str = Field(
        description="five fields: minute, hour, day of month, month, day of week; or 'never'",
        json_schema_extra={"pattern": _CRON},
    )
    timezone: str = Field(default="UTC", description="an IANA name: UTC, Europe/Berlin, America/New_York")

    @model_validator(mode="before")
    @classmethod
    def _cron_alone(cls, value: Any) -> Any:
        return {"cron": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "pattern": _CRON}, handler(schema)]}

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        if value != NEVER and len(value.split()) != 5:
            raise ValueError(f"{value!r} is neither 'never' nor of five fields, as '0 2 * * *' is")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"there is no time zone {value!r}; give an IANA name such as Europe/Berlin") from error
        return value


class OnFailure(Told):
    """What is called when a run fails; `$NAME` and `${NAME}` stand for environment variables, so that secrets stay out."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["webhook"]}, {"required": ["command"]}]})

    webhook: str | None = Field(default=None, description="URL to which a JSON document is posted")
    command: str | None = Field(default=None, description="shell command that gets the same document on stdin")

    @model_validator(mode="after")
    def _something(self) -> "OnFailure":
        if self.webhook is None and self.command is None:
            raise ValueError("needs a webhook or a command")
        return self


class Nightly(Told):
    """configs/nightly.yaml: what holds for every model whose config does not say otherwise."""

    schedule: Schedule = Schedule(cron=NEVER)
    on_failure: OnFailure | None = None


class Limits(Told):
    """What one child process may use."""

    seconds: float = Field(
        default=600.0, gt=0, le=604800, description="wall time of one build, conversion or prediction"
    )
    memory_gb: float = Field(default=8.0, gt=0, le=65536, description="memory of the child and all it starts, in GiB")


class Tolerance(Told):
    """How far an output may be from the live model's.

    `error` bounds max |error| / max |reference| of a float output, `mismatch` the share of unequal elements of
    an integer, bool or string output. `reason` says why the bound is what it is.
    """

    error: float = Field(ge=0, le=1e6, description="of a float output: most of max |error| / max |reference|")
    mismatch: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="of an integer, bool or string output: most of the share of unequal elements",
    )
    reason: str = Field(default="set in the config", description="why it is what it is, for the report")


class Quality(Told):
    """How much of the live model's outputs a variant must keep, beside `Tolerance`; without a value there is no limit.

    The figures are those of `measure.fidelity`. `max_drop` bounds how far the metric of labelled evaluation data may
    fall short of the live model's, in the metric's own unit; without it the evaluation's own bound holds.
    """

    snr_db: float | None = Field(
        default=None, ge=-1000, le=1000, description="least signal-to-noise ratio of a float output, in dB"
    )
    cosine: float | None = Field(default=None, ge=-1, le=1, description="least cosine similarity of a float output")
    top1: float | None = Field(
        default=None, ge=0, le=1, description="least share of samples whose top class is the live model's"
    )
    top1_samples: int = Field(default=20, ge=1, description="golden samples below which `top1` is no limit")
    max_drop: float | None = Field(default=None, ge=0, description="in place of evaluation.max_drop")


class RegressionSpec(Told):
    """The `regression:` part of a config: what may be worse than in the current release; null never refuses."""

    metric_drop: float | None = Field(
        default=0.01, ge=0, description="how much worse the evaluation metric may be, in its own unit"
    )
    size_growth: float | None = Field(default=0.10, ge=0, description="by what share a row's files may grow")
    latency_growth: float | None = Field(default=None, ge=0, description="by what share a call may take longer; noisy")
    error_growth: float | None = Field(default=None, ge=0, description="by what share the measured error may grow")
    vanished: bool = Field(default=True, description="refuse what lacks a row that the current release passed")


ACCURACY = "accuracy"
MAX_DROP = 0.02
"""Of accuracy: seven of 360 images, where float32 in another order of summation costs none or one."""


class EvaluationSpec(Told):
    """The `evaluation:` part of a config."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"metric": {"not": {"const": "accuracy"}}}, "required": ["metric"]},
            "then": {"required": ["max_drop"]},
        }
    )

    data: str = Field(
        description="labelled data in the forms of golden.data: FILE.py:FUNCTION returning {input: array, ..., "
        "labels: array}, an .npz, CSV or TFRecord of those, or a folder with a subfolder for each class"
    )
    labels: str = Field(default="labels", description="the name of the labels in the data")
    signature: str | None = Field(default=None, description="default: the only one, or serving_default")
    output: str | None = Field(default=None, description="what accuracy is of; default: the signature's only output")
    metric: str = Field(default=ACCURACY, description="accuracy, or FILE.py:FUNCTION(outputs, labels) -> float")
    better: Literal["higher", "lower"] = Field(default="higher", description="which values of the metric are better")
    samples: int = Field(default=256, ge=1, le=2**31 - 1, description="samples at most, in every runtime")
    batch: int = Field(default=64, ge=1, le=1_000_000, description="samples in one call, where the batch is dynamic")
    max_drop: float = Field(
        default=MAX_DROP, ge=0, description="how much worse than the live model's a target's metric may be"
    )

    @model_validator(mode="after")
    def _in_its_unit(self) -> "EvaluationSpec":
        if self.metric != ACCURACY and "max_drop" not in self.model_fields_set:
            raise ValueError("'max_drop' is required with a metric of your own, in its unit")
        return self

    @property
    def name(self) -> str:
        """What the metric is called."""
        return self.metric.rpartition(":")[2]


class InputRange(Told):
    """How to draw one golden input: uniform in [low, high), in a concrete shape; or the values to draw from."""

    low: float | None = Field(default=None, ge=-1e38, le=1e38, description="the least value")
    high: float | None = Field(default=None, ge=-1e38, le=1e38, description="what all values are below")
    shape: tuple[NonNegativeInt, ...] | None = Field(
        default=None, description="one sample's shape, without a dynamic batch"
    )
    values: tuple[str | float, ...] | None = Field(default=None, description="draw from these")

    @model_validator(mode="after")
    def _not_empty(self) -> "InputRange":
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"'low' must be below 'high', not {self.low:g} and {self.high:g}")
        return self

    def bounds(self, width: float) -> tuple[float, float]:
        """Low and high, `width` apart where only one is given (from 0, where that is within)."""
        if self.low is None and self.high is not None:
            return min(0.0, self.high - width), self.high
        low = self.low or 0.0
        return low, low + width if self.high is None else self.high


class GoldenSpec(Told):
    """The `golden:` part of a config."""

    data: str | None = Field(
        default=None,
        description="FILE.py:FUNCTION returning {input: array} or that by signature, an .npz, .npy, .csv or .tsv file, a "
        "TFRecord, or a folder of images, .wav or .txt files; PATH:LOW..HIGH names the range that images are wanted in",
    )
    samples: int | None = Field(
        default=None,
        ge=2,
        le=2**31 - 1,
        description="samples to draw, or to take of the data at most; 16, or drawn as many as it takes",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="of what is drawn")
    inputs: dict[str, InputRange] = Field(default={}, description="how to draw an input, by its name")
    constant: tuple[str, ...] = Field(default=(), description="outputs that are the same for every input, on purpose")
