"""A config for a model that has none: a short YAML that says what was asked for, and as comments what may be said more."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from converters.config import data, plain_yaml, read, schema
from converters.config.asked import python_file
from converters.config.spec import ModelSpec
from converters.contract import names, paths
from converters.contract.errors import BadInput
from converters.contract.values import Signature, TensorSpec
from converters.processes import userland
from converters.targets.registry import TARGETS

_COLUMN = 44
"""Where comments begin, if the line leaves room."""

_BATCH_1 = {"shapes": {"batch": 1}}


class Draft(NamedTuple):
    """What a config is to say, as a person says it in the current directory.

    `model` is a path, or FILE.py:FUNCTION. `labels` are [OUTPUT=]FILE, `schedule` a cron expression or `never`. With `batch_1`
    there are files of a batch of one too, of the targets that make files of fixed sizes.
    """

    model: str
    name: str
    targets: tuple[str, ...]
    data: str | None = None
    labels: str | None = None
    license: str = ""
    intended_use: str = ""
    batch_1: bool = False
    schedule: str | None = None
    inputs: Mapping[str, TensorSpec] = {}
    custom: str | None = None
    tags: tuple[str, ...] | None = None
    trust_code: bool = False


def spec_of(draft: Draft) -> ModelSpec:
    """The model alone, to be looked at. Raises BadInput where there is none."""
    here = Path.cwd()
    if _is_built(draft.model):
        path, function = userland.split(draft.model, here, "the model")
        content: dict[str, Any] = {"model": f"{path}:{function}", "base": path.parent}
    else:
        content = {"model": str(read.without_config(paths.path(draft.model)).model), "base": here}
    content |= {"name": draft.name, "inputs": dict(draft.inputs), "tags": draft.tags, "trust_code": draft.trust_code}
    content["custom"] = None if draft.custom is None else str(python_file(draft.custom, here, "--custom"))
    return ModelSpec.model_validate(content)


def name_of(model: str) -> str:
    """What a model is called that nobody gave a name."""
    return read.name_of(paths.path(model.rpartition(":")[0] if _is_built(model) else model).resolve())


def text(draft: Draft, signatures: Mapping[str, Signature], folder: Path) -> str:
    """The YAML of a config in that folder. Raises BadInput where something is not there that it would name."""
    lines = [
        f"# yaml-language-server: $schema={os.path.relpath(schema.FILE, folder)}",
        f"# What `fanout deploy` makes of {draft.name}, and what must hold. All keys: docs/reference/config.md",
        f"model: {_scalar(_model(draft, folder))}",
        *(f"# {names.shown(_told(key, signature))}" for key, signature in signatures.items()),
    ]
    if draft.inputs:
        inputs = {name: {"shape": _list(spec.shape), "dtype": spec.dtype} for name, spec in draft.inputs.items()}
        lines += [_line(f"inputs: {_scalar(inputs)}", "those of the model's call")]
    if draft.custom is not None:
        custom = _relative(python_file(draft.custom, Path.cwd(), "--custom"), folder)
        lines += [_line(f"custom: {_scalar(custom)}", "classes and functions that the file was made with")]
    if draft.tags is not None:
        lines += [_line(f"tags: {_scalar(list(draft.tags))}", "the tag-set to take")]
    if draft.trust_code:
        lines += [_line("trust_code: true", "run the code that came with it")]
    lines += [*_golden(draft, folder), *_targets(draft), *_labels(draft, signatures, folder)]
    lines += [
        _line("# evaluation: {data: PATH}", "labelled data: the accuracy of every target is measured"),
        _said("license", draft.license, "apache-2.0"),
        _said("intended_use", draft.intended_use, "what it is for, and what not"),
        _said("schedule", draft.schedule, "0 2 * * *", "while `make ui` runs; without it as nightly.yaml says"),
    ]
    return "\n".join(lines) + "\n"


def written(draft: Draft, content: str, folder: Path) -> Path:
    """The path of the config, which is new. Raises BadInput where there is one of that name, or it cannot be written."""
    path = require_new(draft, folder)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError as error:
        raise BadInput(f"{path} exists and is left as it is; give another --name or --output, or edit it") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def validated(draft: Draft, content: str, folder: Path) -> ModelSpec:
    """What the config would say, in that folder, which is made. Raises BadInput."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{folder} cannot be made: {error.strerror or error}; give another --output") from error
    return read.validated(plain_yaml.load(content.encode()), require_new(draft, folder))


def fixes_batch(draft: Draft, signatures: Mapping[str, Signature]) -> bool:
    """Whether a batch of one leaves no size open, of some signature and some target that makes files of fixed sizes."""
    options = [TARGETS[name].options.model_validate(_BATCH_1) for name in draft.targets if _takes_sizes(name)]
    return any(each.fixes(signature) for each in options for signature in signatures.values())


def require_new(draft: Draft, folder: Path) -> Path:
    """Where it is to be. Raises BadInput where there is one, or a model may not be called so."""
    fault = names.model_fault(draft.name)
    if fault is None and draft.name == read.NIGHTLY:
        fault = f"{read.NIGHTLY}.yaml says what holds for all models"
    if fault is not None:
        raise BadInput(f"--name {draft.name!r}: {fault}")
    path = folder / f"{draft.name}.yaml"
    if path.exists():
        raise BadInput(f"{path} exists and is left as it is; give another --name or --output, or edit it")
    return path


def _is_built(model: str) -> bool:
    return model.rpartition(":")[0].endswith(".py")


def _model(draft: Draft, folder: Path) -> str:
    if not _is_built(draft.model):
        return _relative(paths.path(draft.model).resolve(), folder)
    path, function = userland.split(draft.model, Path.cwd(), "the model")
    return f"{_relative(path, folder)}:{function}"


def _golden(draft: Draft, folder: Path) -> list[str]:
    if draft.data is None:
        return [
            _line("# golden: {data: PATH}", "real inputs, to compare and calibrate on; without them they are drawn")
        ]
    located = data.locate(draft.data, Path.cwd(), "--data")
    ending = located.function or located.values
    reference = _relative(located.path, folder) + (f":{ending}" if ending else "")
    return ["golden:", _line(f"  data: {_scalar(reference)}", "real inputs, to compare and calibrate on")]


def _targets(draft: Draft) -> list[str]:
    sizes = {name: _BATCH_1 if draft.batch_1 and _takes_sizes(name) else {} for name in draft.targets}
    told = {name: _scalar({"optional": True, "required": [], **more}) for name, more in sizes.items()}
    return [
        "# What falls short is left out of a release, with its reason; a variant named under `required` blocks it instead.",
        "targets:",
        *(f"  {name}: {options}" for name, options in told.items()),
    ]


def _takes_sizes(target: str) -> bool:
    return "shapes" in TARGETS[target].options.model_fields


def _labels(draft: Draft, signatures: Mapping[str, Signature], folder: Path) -> list[str]:
    outputs = list(dict.fromkeys(name for signature in signatures.values() for name in signature.outputs))
    if draft.labels is None:
        return (
            [_line(f"# labels: {{{_scalar(outputs[0])}: FILE.txt}}", "names of its classes, one a line")]
            if outputs
            else []
        )
    output, _, file = draft.labels.rpartition("=")
    if not output and len(outputs) != 1:
        raise BadInput(
            f"--labels {draft.labels}: there are several outputs; give OUTPUT={file}, of {', '.join(outputs)}"
        )
    return [f"labels: {_scalar({output or outputs[0]: _relative(_file(file, '--labels'), folder)})}"]


def _file(text: str, option: str) -> Path:
    path = paths.path(text, Path.cwd()).resolve()
    if not path.is_file():
        raise BadInput(f"{option}: {path} {'is no file' if path.exists() else 'does not exist'}")
    return path


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder.resolve())


def _list(shape: tuple[int | None, ...] | None) -> list[int | None] | None:
    return None if shape is None else list(shape)


def _told(key: str, signature: Signature) -> str:
    sides = (
        ", ".join(f"{name} {spec.dtype} {_shape(spec)}" for name, spec in side.items())
        for side in (signature.inputs, signature.outputs)
    )
    return f"{key}: {' -> '.join(sides)}"


def _shape(spec: TensorSpec) -> str:
    return (
        "of unknown rank" if spec.shape is None else f"[{', '.join('?' if s is None else str(s) for s in spec.shape)}]"
    )


def _scalar(value: Any) -> str:
    """In YAML's flow style, on one line."""
    dumped = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False)
    return dumped.removesuffix("...\n").strip()


def _line(text: str, comment: str) -> str:
    return f"{text.ljust(_COLUMN - 1)} # {comment}"


def _said(field: str, value: str | None, example: str, comment: str = "") -> str:
    line = f"{field}: {_scalar(value)}" if value else f"# {field}: {_scalar(example)}"
    return _line(line, comment) if comment else line
