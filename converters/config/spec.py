"""What to deploy: a model's config, validated. Reads YAML, never imports TensorFlow."""

import glob
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializeAsAny, ValidationError, ValidationInfo, field_validator, model_validator

from converters.config import data
from converters.config.explain import TargetProblems, choices, described
from converters.contract import names
from converters.contract.errors import BadInput, said
from converters.contract.preprocessing import Preprocessing
from converters.contract.settings import (
    EvaluationSpec,
    GoldenSpec,
    Limits,
    OnFailure,
    RegressionSpec,
    Schedule,
)
from converters.contract.target import Options
from converters.contract.values import TensorSpec, Told
from converters.formats import digest, specs
from converters.targets.registry import TARGETS


class MethodSpec(Told):
    """A method to export, with the input specs it was not decorated with."""

    method: str = Field(description="of the model or module; 'call' is Keras's own")
    inputs: dict[str, TensorSpec] = {}


class ModelSpec(Told):
    """One model: where it comes from, its signatures, its golden data, and what to make of it.

    `model` is `FILE.py:FUNCTION` (a builder that returns a tf_keras or Keras model, or a tf.Module), a SavedModel
    directory, or a .keras or .h5 file; paths are relative to `base`, the config's folder.
    """

    base: Path = Field(default=Path(), exclude=True)  # first, since what follows may name files below it
    name: str
    description: str = Field(default="", description="one line for table and report")
    model: str = Field(description="FILE.py:FUNCTION, a SavedModel directory, or a .keras or .h5 file")
    inputs: dict[str, TensorSpec] = Field(default={}, description="input specs, by name, for a model that has none")
    initialize: Literal["call", "shape"] = Field(
        default="call", description="how an unbuilt model gets its weights: a call on a dummy tensor, or build(shape)"
    )
    signatures: dict[str, MethodSpec] = Field(default={}, description="signature key -> method; 'call' is Keras's own")
    golden: GoldenSpec = GoldenSpec()
    representative: str | None = Field(
        default=None, description="calibration data for int8, in the forms of golden.data; without it, golden's"
    )
    classifiers: tuple[str, ...] = Field(
        default=(), description="outputs that score classes, beside those whose rows are probabilities"
    )
    labels: dict[str, tuple[str, ...]] = Field(
        default={},
        description="output -> its classes' names, in order: a list, or a text file with one a line; TF Lite's files hold them",
    )
    preprocessing: dict[str, Preprocessing] = Field(
        default={},
        description="input -> what a caller's values become before they are given: a text, or {mean: [...], std: [...], "
        "color: rgb, description: ...}",
    )
    license: str = Field(default="", description="under which the model may be used: an SPDX identifier, or a text")
    intended_use: str = Field(default="", description="what the model is for, and what not")
    evaluation: EvaluationSpec | None = Field(default=None, description="labelled data, and the metric to hold to")
    regression: RegressionSpec = Field(
        default=RegressionSpec(), description="what may be worse than in the current release"
    )
    files: tuple[str, ...] = Field(
        default=(),
        description="data and checkpoints that the builder reads: files, folders, or patterns such as ckpt/*",
    )
    custom: str | None = Field(
        default=None,
        description="a FILE.py with the classes that a .keras or .h5 file was made with, and functions that take the place of "
        "its Lambda layers, by their names",
    )
    tags: tuple[str, ...] | None = Field(
        default=None, description="the tag-set to take of a given SavedModel; default: the one with 'serve'"
    )
    # Who checks a release elsewhere must say it again: it is not written into one.
    trust_code: bool = Field(
        default=False, exclude=True, description="run the code that came with the model; of a builder it is not asked"
    )
    # It is about a release and the one before it, not about what is in it.
    accept_contract_change: bool = Field(
        default=False, exclude=True, description="promote also where signatures are not those of the current release"
    )
    require_data: bool = Field(default=False, description="refuse a release that was judged on inputs nobody gave")
    targets: dict[str, SerializeAsAny[Options]] = Field(
        default={},
        validate_default=True,
        description="target -> its options; without any: all, and one that cannot hold the model does not block",
    )
    limits: Limits = Limits()
    # No release depends on these two, and a webhook may be a secret: they are not written into one.
    schedule: Schedule | None = Field(
        default=None, exclude=True, description="when it is deployed by itself, in place of nightly.yaml's schedule"
    )
    on_failure: OnFailure | None = Field(
        default=None, exclude=True, description="what is called when that fails, in place of nightly.yaml's"
    )

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if (fault := names.model_fault(value)) is not None:
            raise ValueError(fault)
        return value

    @field_validator("signatures", mode="before", json_schema_input_type=dict[str, str | MethodSpec])
    @classmethod
    def _methods(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {key: {"method": item} if isinstance(item, str) else item for key, item in value.items()}

    @field_validator("labels", mode="before", json_schema_input_type=dict[str, str | tuple[str, ...]])
    @classmethod
    def _read_labels(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, Mapping):
            return value
        read = {}
        for output, given in value.items():
            if not isinstance(given, str):
                read[output] = given
                continue
            try:
                text = (info.data.get("base", Path()) / Path(given).expanduser()).read_text()
            except (OSError, ValueError) as error:
                raise ValueError(f"{output}: {given} cannot be read: {said(error)}") from error
            read[output] = tuple(text.splitlines())
        return read

    @field_validator("targets", mode="before")
    @classmethod
    def _typed_options(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, Mapping):
            return value
        named: dict[str, Any] = dict(value) or {name: {"optional": True} for name in TARGETS.choices()}
        for name in named:
            if name not in TARGETS:
                raise ValueError(f"there is no target {name!r}; {choices(name, TARGETS)}")
        typed: dict[str, Any] = {}
        problems: list[str] = []
        for name in TARGETS:
            if not TARGETS[name].always and name not in named:
                continue
            content = named.get(name)
            try:
                told = TARGETS[name].options.model_validate({} if content is None else content)
                typed[name] = told.read(info.data.get("base", Path()))
            except ValidationError as error:
                problems += [f"{name}.{line}" for line in described(error, TARGETS[name].options)]
            except BadInput as error:
                problems.append(f"{name}.{error}")
        if problems:
            raise TargetProblems("; ".join(problems))
        return typed

    @model_validator(mode="after")
    def _sane_inputs(self) -> "ModelSpec":
        for key, inputs in (("", self.inputs), *((key, method.inputs) for key, method in self.signatures.items())):
            for name, tensor in inputs.items():
                where = f"signatures.{key}.inputs.{name}" if key else f"inputs.{name}"
                problem = names.fault(name) or specs.problem(tensor)
                if problem is not None:
                    raise ValueError(f"{where}: {problem}")
        for key in self.signatures:
            if (fault := names.fault(key)) is not None:
                raise ValueError(f"signatures: {key!r} {fault}")
        return self

    @model_validator(mode="after")
    def _variants_exist(self) -> "ModelSpec":
        for name, options in self.targets.items():
            for variant in (*options.variants, *(options.required or ()), *options.tolerance, *options.quality):
                if not options.has(variant):
                    known = [each.name for each in options.known]
                    raise ValueError(f"targets.{name}: there is no variant {variant!r}; {choices(variant, known)}")
        return self

    def with_targets(self, targets: Iterable[str]) -> "ModelSpec":
        """The same model with only these targets (the SavedModel, which all others are made from, always stays).

        Raises:
            BadInput: a name is no target.
        """
        chosen = set(targets) | (TARGETS.keys() - TARGETS.choices())
        for name in sorted(chosen):
            if name not in TARGETS:
                raise BadInput(f"there is no target {name!r}; {choices(name, TARGETS)}")
        options = {name: self.targets.get(name) or TARGETS[name].options() for name in TARGETS if name in chosen}
        return self.model_copy(update={"targets": options})

    def with_data(self, reference: str) -> "ModelSpec":
        """The same model with these data in place of the config's for golden and calibration.

        Raises:
            BadInput: nothing is there, or nothing that is read.
        """
        golden = self.golden.model_copy(update={"data": data.absolute(reference, "--data")})
        return self.model_copy(update={"golden": golden, "representative": None})

    def given_files(self) -> list[Path]:
        """The files of a model that is named by its path; none of one that Python builds."""
        if self.built_by_python:
            return []
        path = (self.base / self.model).resolve()
        return list(digest.in_folder(path))

    @property
    def custom_file(self) -> Path | None:
        """The file that `custom` names."""
        return None if self.custom is None else (self.base / self.custom).resolve()

    @property
    def by_path(self) -> bool:
        """Whether the model was named by its path, without a config."""
        return not self.built_by_python and Path(self.model).is_absolute()

    @property
    def built_by_python(self) -> bool:
        """Whether `model` is FILE.py:FUNCTION."""
        return self.model.rpartition(":")[0].endswith(".py")

    def declared_files(self) -> list[Path]:
        """What `files` names, sorted. Raises BadInput where a name or pattern fits nothing."""
        declared: set[Path] = set()
        for pattern in self.files:
            absolute = Path(pattern).expanduser()
            try:
                fitting = (
                    [Path(name) for name in glob.glob(str(absolute), recursive=True)]
                    if absolute.is_absolute()
                    else list(self.base.glob(pattern))
                )
            except ValueError as error:  # an empty one; ** beside other letters
                raise BadInput(f"files: {pattern!r} is no pattern: {said(error)}") from error
            files = [f for p in fitting for f in digest.in_folder(p)]
            if not files:
                raise BadInput(f"files: {pattern!r} fits no file in {self.base}")
            declared.update(files)
        return sorted(declared)
