"""What to deploy: a model's config, validated. Reads YAML, never imports TensorFlow."""

import difflib
import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import Field, SerializeAsAny, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from converters.contract.errors import BadInput
from converters.contract.settings import Nightly, OnFailure, Schedule
from converters.contract.values import Frozen, Limits, Options, TensorSpec
from converters.formats import digest
from converters.processes import userland
from converters.reference.drawing import GoldenSpec
from converters.reference.labelled import ACCURACY, EvaluationSpec
from converters.release.regression import RegressionSpec
from converters.targets.registry import TARGETS

CONFIGS = Path(os.environ.get("FANOUT_CONFIGS") or Path(__file__).resolve().parents[2] / "configs").absolute()
"""FANOUT_CONFIGS, or configs/ in the checkout."""
NIGHTLY = "nightly"
"""The stem of the file in CONFIGS that is no model's config but says what holds for all of them."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
KERAS_SUFFIXES = (".keras", ".h5")


class MethodSpec(Frozen):
    """A method to export, with the input specs it was not decorated with."""

    method: str
    inputs: dict[str, TensorSpec] = {}


class ModelSpec(Frozen):
    """One model: where it comes from, its signatures, its golden data, and what to make of it.

    `model` is `FILE.py:FUNCTION` (a builder that returns a tf_keras or Keras model, or a tf.Module), a SavedModel
    directory, or a .keras or .h5 file; paths are relative to `base`, the config's folder.
    """

    name: str
    description: str = ""
    model: str = Field(description="FILE.py:FUNCTION, a SavedModel directory, or a .keras or .h5 file")
    inputs: dict[str, TensorSpec] = Field(default={}, description="input specs, by name, for a model that has none")
    initialize: Literal["call", "shape"] = Field(
        default="call", description="how an unbuilt model gets its weights: a call on a dummy tensor, or build(shape)"
    )
    signatures: dict[str, MethodSpec] = Field(default={}, description="signature key -> method; 'call' is Keras's own")
    golden: GoldenSpec = GoldenSpec()
    representative: str | None = Field(default=None, description="FILE.py:FUNCTION, calibration data for int8")
    classifiers: tuple[str, ...] = Field(
        default=(), description="outputs that score classes, beside those whose rows are probabilities"
    )
    evaluation: EvaluationSpec | None = Field(default=None, description="labelled data, and the metric to hold to")
    regression: RegressionSpec = Field(
        default=RegressionSpec(), description="what may be worse than in the current release"
    )
    files: tuple[str, ...] = Field(
        default=(),
        description="data and checkpoints that the builder reads: files, folders, or patterns such as ckpt/*",
    )
    targets: dict[str, SerializeAsAny[Options]] = Field(default={}, validate_default=True)
    limits: Limits = Limits()
    # No release depends on these two, and a webhook may be a secret: they are not written into one.
    schedule: Schedule | None = Field(
        default=None, exclude=True, description="when it is deployed by itself, in place of nightly.yaml's schedule"
    )
    on_failure: OnFailure | None = Field(
        default=None, exclude=True, description="what is called when that fails, in place of nightly.yaml's"
    )
    base: Path = Field(default=Path(), exclude=True)

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("use letters, digits, '.', '_' and '-', starting with a letter or digit")
        return value

    @field_validator("signatures", mode="before")
    @classmethod
    def _methods(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {key: {"method": item} if isinstance(item, str) else item for key, item in value.items()}

    @field_validator("targets", mode="before")
    @classmethod
    def _typed_options(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        named: dict[str, Any] = dict(value) or {name: {} for name in TARGETS if name != "saved_model"}
        for name in named:
            if name not in TARGETS:
                raise ValueError(f"there is no target {name!r}; {_known(name, TARGETS)}")
        typed: dict[str, Any] = {}
        problems: list[str] = []
        for name in TARGETS:
            if name != "saved_model" and name not in named:
                continue
            given = named.get(name)
            try:
                typed[name] = TARGETS[name].OPTIONS.model_validate({} if given is None else given)
            except ValidationError as error:
                problems += [f"{name}.{line}" for line in _described(error, TARGETS[name].OPTIONS)]
        if problems:
            raise _TargetProblems("; ".join(problems))
        return typed

    @model_validator(mode="after")
    def _variants_exist(self) -> "ModelSpec":
        for name, options in self.targets.items():
            for variant in (*options.variants, *options.tolerance, *options.quality):
                if variant not in options.known_variants:
                    raise ValueError(
                        f"targets.{name}: there is no variant {variant!r}; {_known(variant, options.known_variants)}"
                    )
        return self

    def with_targets(self, names: Iterable[str]) -> "ModelSpec":
        """The same model with only these targets (the SavedModel, which all others are made from, always stays).

        Raises:
            BadInput: a name is no target.
        """
        chosen = set(names) | {"saved_model"}
        for name in sorted(chosen):
            if name not in TARGETS:
                raise BadInput(f"there is no target {name!r}; {_known(name, TARGETS)}")
        kept = {name: self.targets.get(name) or TARGETS[name].OPTIONS() for name in TARGETS if name in chosen}
        return self.model_copy(update={"targets": kept})

    def given_files(self) -> list[Path]:
        """The files of a model that is named by its path; none of one that Python builds."""
        if self.built_by_python:
            return []
        path = (self.base / self.model).resolve()
        return list(digest.in_folder(path)) if path.is_dir() else [path]

    @property
    def built_by_python(self) -> bool:
        """Whether `model` is FILE.py:FUNCTION."""
        return self.model.rpartition(":")[0].endswith(".py")

    def declared_files(self) -> list[Path]:
        """What `files` names, sorted. Raises BadInput where a name or pattern fits nothing."""
        found: set[Path] = set()
        for pattern in self.files:
            absolute = Path(pattern).expanduser()
            fitting = (
                [Path(name) for name in glob.glob(str(absolute), recursive=True)]
                if absolute.is_absolute()
                else list(self.base.glob(pattern))
            )
            files = [f for p in fitting for f in (digest.in_folder(p) if p.is_dir() else [p])]
            if not files:
                raise BadInput(f"files: {pattern!r} fits no file in {self.base}")
            found.update(files)
        return sorted(found)


class _TargetProblems(ValueError):
    """Problems of targets' own options; each already begins with the target's name."""


def names() -> list[str]:
    """The models that have a config, sorted."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != NIGHTLY)


def nightly() -> Nightly:
    """What CONFIGS/nightly.yaml says of all models; without the file, nothing is scheduled and nobody told.

    Raises:
        BadInput: the file does not validate.
    """
    path = CONFIGS / f"{NIGHTLY}.yaml"
    if not path.exists():
        return Nightly()
    try:
        return Nightly.model_validate(_mapping(path, "schedule: {cron: '0 2 * * *'}"))
    except ValidationError as error:
        raise BadInput(f"{path}: {'; '.join(_described(error, Nightly))}") from error


def find(what: str) -> ModelSpec:
    """The spec of a model named by its config's name, a config file, or the path of a model without a config.

    Raises:
        BadInput: nothing by that name or path, or a config that does not validate.
    """
    path = Path(what).expanduser()
    if path.suffix in (".yaml", ".yml"):
        return read(path)
    if "/" not in what and what != NIGHTLY and (CONFIGS / f"{what}.yaml").is_file():
        return read(CONFIGS / f"{what}.yaml")
    if path.is_dir() or path.suffix in KERAS_SUFFIXES:
        return without_config(path)
    if "/" in what or path.suffix or path.exists():
        kind = "is no SavedModel directory, .keras or .h5 file" if path.exists() else "does not exist"
        raise BadInput(f"{what} {kind}; give a model's name, a config, or the path of a model")
    raise BadInput(f"there is no model {what!r} in configs/; {_known(what, names())}")


def read(path: Path) -> ModelSpec:
    """A config, validated.

    Raises:
        BadInput: the file is missing or no YAML, or a field is wrong; names the file, the field and the remedy.
    """
    content = _mapping(path, "model: FILE.py:FUNCTION")
    if "base" in content:
        raise BadInput(f"{path}: base: unknown key; paths in a config are relative to its folder")
    try:
        spec = ModelSpec.model_validate({"name": path.stem, **content, "base": path.resolve().parent})
        _require_files(spec)
        return spec
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    except ValidationError as error:
        raise BadInput(f"{path}: {'; '.join(_described(error, ModelSpec))}") from error


def _mapping(path: Path, least: str) -> dict[str, Any]:
    """A YAML file's content; `least` is what it should hold, for the error."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path}: holds no mapping; it needs at least '{least}'")
    return content


def _require_files(spec: ModelSpec) -> None:
    if spec.built_by_python:
        userland.split(spec.model, spec.base, "model")
    elif not (spec.base / spec.model).exists():
        raise BadInput(f"model: {spec.base / spec.model} does not exist")
    for field, reference in (("golden.data", spec.golden.data), ("representative", spec.representative)):
        if reference is not None:
            userland.split(reference, spec.base, field)
    spec.declared_files()
    if spec.evaluation is None:
        return
    if not spec.evaluation.data.endswith(".npz"):
        userland.split(spec.evaluation.data, spec.base, "evaluation.data")
    elif not (spec.base / spec.evaluation.data).is_file():
        raise BadInput(f"evaluation.data: {spec.base / spec.evaluation.data} does not exist")
    if spec.evaluation.metric != ACCURACY:
        userland.split(spec.evaluation.metric, spec.base, "evaluation.metric")


def without_config(path: Path) -> ModelSpec:
    """A spec for a model named by its path: signatures are read from it, golden is seeded, every target optional.

    Raises:
        BadInput: the path is missing, or a directory that is no SavedModel.
    """
    if not path.exists():
        raise BadInput(f"{path} does not exist")
    if path.is_dir() and not any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise BadInput(f"{path} is no SavedModel: it holds no saved_model.pb")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().name.removesuffix(path.suffix if path.is_file() else ""))
    targets = {target: {"optional": True} for target in TARGETS if target != "saved_model"}
    content = {"name": name.strip("-._") or "model", "model": str(path.resolve()), "targets": targets}
    return ModelSpec.model_validate(content)


def _described(error: ValidationError, model: type[Frozen]) -> list[str]:
    """One `FIELD: what is wrong` for each problem."""
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        joint = "." if isinstance(item.get("ctx", {}).get("error"), _TargetProblems) else ": "
        lines.append(f"{where}{joint}{_message(item, model)}" if where else _message(item, model))
    return lines


def _message(item: ErrorDetails, model: type[Frozen]) -> str:
    if item["type"] == "extra_forbidden":
        return f"unknown key; {_known_keys(item['loc'], model)}"
    if item["type"] == "missing":
        return "is required"
    message = item["msg"].removeprefix("Value error, ")
    given = item.get("input")
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) and item["type"] != "value_error" else ""
    return message[0].lower() + message[1:] + shown


def _known_keys(loc: tuple[str | int, ...], model: type[Frozen]) -> str:
    """The keys allowed where `loc` ends, found by following its parts through the models' fields."""
    owner: Any = model
    for part in loc[:-1]:
        field = getattr(owner, "model_fields", {}).get(part)
        # Within a mapping (`inputs.image`) the part is a key, and the next fields are those of its values.
        owner = next(iter(_models(field.annotation)), None) if field is not None else owner
    fields = [name for name in getattr(owner, "model_fields", {}) if name != "base"]
    return _known(str(loc[-1]), fields) if fields else "remove it"


def _models(annotation: Any) -> Iterator[type[Frozen]]:
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _known(given: str, choices: Iterable[str]) -> str:
    listed = sorted(choices)
    close = difflib.get_close_matches(given, listed, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}choose from {', '.join(listed)}" if listed else "there are none"
