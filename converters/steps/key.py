"""The key of what a deploy makes: equal keys, equal content. What is unchanged need not be made again.

Three levels, each holding the digest of the one before: the *source* (live model, golden, export), each *variant* of a
target (conversion and checks), and the *release* (what is put together). A key is a mapping from the name of an
ingredient to its digest or version, so that a difference can be named. What a build depends on is known in full only
when it has run: `watch.Reads` is recorded with the release and verified against the disk the next time.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from converters.config.spec import ModelSpec
from converters.contract.settings import Tolerance
from converters.contract.target import Options
from converters.contract.values import Frozen, UnitName
from converters.formats import digest
from converters.release import installed, manifest
from converters.source.watch import Reads
from converters.targets.registry import TARGETS

Ingredients = dict[str, str]

CODE = "the code of tf-fanout"
_OF_THE_MACHINE = ("platform", "prefect")
_TOOL_VARIABLES = (
    "TF_USE_LEGACY_KERAS", "TF_KERAS", "TF2_BEHAVIOR",  # which Keras, which TensorFlow
    "TF_XLA_FLAGS", "XLA_FLAGS", "TF_DISABLE_MKL", "TF_ENABLE_ONEDNN_OPTS", "TF_SET_ONEDNN_FPMATH_MODE",
    "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS", "ONEDNN_DEFAULT_FPMATH_MODE", "ONEDNN_MAX_CPU_ISA",  # which kernels
    "TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC", "TF_ENABLE_WINOGRAD_NONFUSED", "NVIDIA_TF32_OVERRIDE",
)  # fmt: skip
_LOCAL_VARIABLES = ("PYTHONHASHSEED", "CUDA_VISIBLE_DEVICES", "FANOUT_CHROMIUM", "FANOUT_MODEL_SERVER")
"""Those that shape what this machine makes and finds, and may well differ on another. What Python finds by $PYTHONPATH is among
`watch.Reads`, and the packages installed there are among those that are installed."""

_GATE = frozenset({"regression", "require_data"})
_TOLD = frozenset({"description", "license", "intended_use"})
"""What a release says of its model, and no part of the model."""

_KERAS_DEFAULTS = {"floatx": "float32", "epsilon": 1e-07, "image_data_format": "channels_last"}


class Recipe(NamedTuple):
    """What is known before anything runs; what it is afterwards must be the same for a key to be true."""

    source: Ingredients
    release: Ingredients
    converters: Ingredients
    """By target."""


class Key(Frozen):
    """key.json of a release."""

    source: Ingredients
    reads: Reads
    drawn_for: Tolerance | None
    """The tolerance that golden's inputs were chosen for; None where all were given."""
    variants: dict[str, Ingredients]
    """`TARGET/VARIANT` -> ingredients."""
    release: Ingredients


def source(spec: ModelSpec) -> Ingredients:
    """What the live model, golden and the export are made of, as far as it is known before the build."""
    config = spec.model_dump(mode="json", exclude={"targets", "classifiers", *_TOLD, *_GATE})
    ingredients = {"the config": digest.of_value(config), CODE: digest.of_package(), **manifest.environment()}
    ingredients["the installed packages"] = digest.of_value(installed.distributions())
    ingredients |= _variables(*_TOOL_VARIABLES, *_LOCAL_VARIABLES)
    ingredients |= _of_keras()
    custom = [spec.custom_file] if spec.custom_file is not None else []
    files = (*spec.given_files(), *spec.declared_files(), *custom)
    if spec.trust_code:
        ingredients["trust_code"] = "true"
    return ingredients | {os.path.relpath(path, spec.base): digest.of_file(path) for path in files}


def variant(spec: ModelSpec, unit: UnitName, recipe: Recipe, reads: Reads) -> Ingredients:
    """What one conversion and its checks are made of."""
    return {
        "the model": digest.of_value([recipe.source, reads.model_dump(mode="json")]),
        "its options": digest.of_value(
            [_options(spec.targets[unit.target], unit.variant), spec.classifiers, spec.description]
        ),
        "its converter": recipe.converters[unit.target],
    }


def release(spec: ModelSpec) -> Ingredients:
    """What the parts are put together with."""
    gate = spec.model_dump(mode="json", include={"targets", "classifiers", *_TOLD, *_GATE})
    return {"the targets": digest.of_value(gate), CODE: digest.of_package()}


def recipe(spec: ModelSpec) -> Recipe:
    """What a deploy would go by now."""
    converters = {target: digest.of_package(TARGETS[target].convert) for target in spec.targets}
    return Recipe(source(spec), release(spec), converters)


def tools() -> Ingredients:
    """What must be the same on another machine for what it makes to be what this one would make."""
    versions = {name: version for name, version in manifest.environment().items() if name not in _OF_THE_MACHINE}
    versions["python"] = versions["python"].rpartition(".")[0]
    return {**versions, CODE: digest.of_package(), **_variables(*_TOOL_VARIABLES)}


def difference(recorded: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """The first ingredient that differs, for a person; None where the two are equal."""
    for name in [*recorded, *now]:
        if name not in now:
            return f"{name} is gone"
        if name not in recorded:
            return f"{name} is new"
        if recorded[name] != now[name]:
            return f"{name} has changed"
    return None


def _options(options: Options, variant: str) -> object:
    """The options as they concern one variant: not which others there are, nor how they are compared."""
    values = options.model_dump(mode="json", exclude={"variants", "optional", "required"})
    return values | {field: values[field].get(variant) for field in ("tolerance", "quality")}


def _variables(*names: str) -> Ingredients:
    """Those of them that are set, by digest: a release goes to many hands, and what is in a variable is nobody else's."""
    return {f"${name}": digest.of_value(os.environ[name]) for name in names if name in os.environ}


def _of_keras() -> Ingredients:
    """What keras.json says but Keras's own defaults, which it writes there when it is first imported on a machine; not the
    backend, which child processes are told. Where it is, and that it may be no JSON: keras/src/backend/config.py."""
    home = os.path.expanduser("~")
    folder = os.environ.get("KERAS_HOME", os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras"))
    try:
        said = json.loads((Path(folder).expanduser() / "keras.json").read_bytes())
    except (OSError, ValueError):
        said = {}
    told = said.items() if isinstance(said, dict) else ()
    others = {name: value for name, value in told if name != "backend" and value != _KERAS_DEFAULTS.get(name)}
    return {"keras.json": digest.of_value(others)} if others else {}
