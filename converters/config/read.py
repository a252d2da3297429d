"""Reading configs: by name, by file, or none at all for a model named by its path."""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from converters.config import data, plain_yaml
from converters.config.asked import python_file
from converters.config.explain import choices, described
from converters.config.spec import ModelSpec
from converters.contract import names as names_of
from converters.contract.errors import BadInput
from converters.contract.paths import path as path_of
from converters.contract.settings import ACCURACY, Nightly
from converters.formats import recognise, saved_model
from converters.processes import userland
from converters.targets.registry import TARGETS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
"""Where configs are, unless another directory is named."""
NIGHTLY = "nightly"
"""The stem of the file among configs that is no model's config but says what holds for all of them."""


def names(configs: Path = CONFIGS) -> list[str]:
    """The models that have a config, sorted."""
    return sorted(path.stem for path in configs.glob("*.yaml") if path.stem != NIGHTLY)


def nightly(configs: Path = CONFIGS) -> Nightly:
    """What nightly.yaml says of all models; without the file, nothing is scheduled and nobody told.

    Raises:
        BadInput: the file does not validate.
    """
    path = configs / f"{NIGHTLY}.yaml"
    if not path.exists():
        return Nightly()
    try:
        return Nightly.model_validate(_mapping(path, "schedule: {cron: '0 2 * * *'}"))
    except ValidationError as error:
        raise BadInput(f"{path}: {'; '.join(described(error, Nightly))}") from error


def find(what: str, configs: Path = CONFIGS) -> ModelSpec:
    """The spec of a model named by its config's name, a config file, or the path of a model without a config.

    Raises:
        BadInput: nothing by that name or path, or a config that does not validate.
    """
    path = path_of(what)
    if path.suffix in (".yaml", ".yml"):
        return read(path)
    if "/" not in what and what != NIGHTLY and (configs / f"{what}.yaml").is_file():
        return read(configs / f"{what}.yaml")
    if path.exists():
        return without_config(path)
    if "/" in what or path.suffix:
        raise BadInput(f"{what} does not exist; give a model's name, a config, or the path of a model")
    raise BadInput(f"there is no model {what!r} in configs/; {choices(what, names(configs))}")


def read(path: Path) -> ModelSpec:
    """A config, validated.

    Raises:
        BadInput: the file is missing or no YAML, or a field is wrong; names the file, the field and the remedy.
    """
    return validated(_mapping(path, "model: FILE.py:FUNCTION"), path)


def validated(content: Mapping[str, Any], path: Path) -> ModelSpec:
    """What the config at `path` says, or would say. Raises BadInput, as `read`."""
    if "base" in content:
        raise BadInput(f"{path}: base: unknown key; paths in a config are relative to its folder")
    try:
        spec = ModelSpec.model_validate({"name": path.stem, **content, "base": path.resolve().parent})
    except ValidationError as error:
        raise BadInput(f"{path}: {'; '.join(described(error, ModelSpec))}") from error
    try:
        _require_files(spec)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    return spec


def _mapping(path: Path, least: str) -> dict[str, Any]:
    """A YAML file's content; `least` is what it should hold, for the error."""
    try:
        content = plain_yaml.load(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from error
    except plain_yaml.NotPlain as error:
        raise BadInput(f"{path}: is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path}: holds no mapping; it needs at least '{least}'")
    return content


def _require_files(spec: ModelSpec) -> None:
    if spec.built_by_python:
        userland.split(spec.model, spec.base, "model")
    elif not (path := path_of(spec.model, spec.base)).exists():
        raise BadInput(f"model: {path} does not exist")
    else:
        _require_model(path)
    evaluated = spec.evaluation.data if spec.evaluation else None
    for field, reference in (
        ("golden.data", spec.golden.data),
        ("representative", spec.representative),
        ("evaluation.data", evaluated),
    ):
        if reference is not None:
            data.locate(reference, spec.base, field)
    spec.declared_files()
    if spec.custom is not None:
        python_file(spec.custom, spec.base, "custom")
    if spec.evaluation is not None and spec.evaluation.metric != ACCURACY:
        userland.split(spec.evaluation.metric, spec.base, "evaluation.metric")


def without_config(path: Path) -> ModelSpec:
    """A spec for a model named by its path: signatures are read from it, golden is seeded, no target or variant required.

    Raises:
        BadInput: the path is missing, or no model.
    """
    if not path.exists():
        raise BadInput(f"{path} does not exist")
    _require_model(path)
    targets = {target: {"optional": True, "required": []} for target in TARGETS.choices()}
    whole = path.resolve()
    content = {
        "name": name_of(whole),
        "model": str(whole),
        "targets": targets,
        "base": whole.parent,
    }
    return ModelSpec.model_validate(content)


def _require_model(path: Path) -> None:
    if recognise.kind(path) == "saved_model":
        saved_model.require_contained(path)


def name_of(path: Path) -> str:
    """What a model is called that is named by its path alone: the last part of it that tells models apart.

    `prices/1`, `prices/saved_model` and `prices/model.keras` are all called `prices`.
    """
    parts = [path.name if path.is_dir() else path.stem, *(parent.name for parent in path.parents)]
    plain = [re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("-._")[: names_of.LONGEST].rstrip("-._") for part in parts]
    return next((part for part in plain if part and not _SAYS_NOTHING.fullmatch(part)), plain[0] or "model")


_SAYS_NOTHING = re.compile(
    r"(v|ver|version|epoch|step|ckpt|export)?[-_.]?\d[\d._-]*"  # TF Serving's versions, time stamps, dates
    r"|((keras|tf|tf2|saved|my|the|final|best|latest|trained|full|whole)[-_.]?)*"
    r"(model|net|network|h5|keras|saved)?s?"
    r"|(best|latest|final)?[-_]?(export|exporter|exports|exported|servo|serving|checkpoint|output|out|result|results)",
    re.IGNORECASE,
)
"""Names that people and tools give to any model, and to its folder."""


def require_distinct(specs: Mapping[str, ModelSpec]) -> None:
    """Refuse models of one name, of which the second would take the first one's place. Raises BadInput.

    Args:
        specs: by what the models were called.
    """
    called: dict[str, list[str]] = defaultdict(list)
    for what, spec in specs.items():
        called[spec.name].append(what)
    for name, several in called.items():
        if len(several) > 1:
            raise BadInput(
                f"{' and '.join(several)} would both be releases of {name!r}; deploy them one by one, each with a --name of its own"
            )
