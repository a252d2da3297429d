"""Tiny models, and the way from a builder's text to checked rows. Found by tests through `sys.path` (see conftest.py)."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from converters.config import read
from converters.config.spec import ModelSpec
from converters.contract.layout import EVALUATION, METRIC
from converters.contract.values import Artifact, CheckResult, Source, Tensors
from converters.processes import userland
from converters.reference import golden
from converters.reference.golden import Golden
from converters.release.manifest import Row
from converters.source.build import Built
from converters.source.builder import Builder
from converters.steps.check import check
from converters.steps.convert import Conversion, convert
from converters.steps.unit import Unit

KERAS = """
import tf_keras

def build():
    tf_keras.utils.set_random_seed(3)
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.Input((6,), name="features"),
            layers.Dense(8, activation="relu", name="hidden"),
            layers.Dense(3, activation="tanh", name="scores"),
        ],
        name="tiny",
    )
"""
"""features [n, 6] -> scores [n, 3], a tf_keras Sequential model."""

MODULE = """
import numpy as np
import tensorflow as tf

class Tiny(tf.Module):
    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(4)
        self.weight = tf.Variable(rng.normal(size=(4, 5)).astype(np.float32), name="weight")
        self.offset = tf.Variable(rng.normal(size=5).astype(np.float32), name="offset")

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="signal")])
    def __call__(self, signal):
        projected = signal @ self.weight + self.offset
        return {"projected": projected, "squashed": tf.tanh(projected)}

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="signal")])
    def summary(self, signal):
        projected = signal @ self.weight
        return {"energy": tf.reduce_sum(projected**2, axis=1), "peak": tf.argmax(projected, axis=1)}

def build():
    return Tiny()
"""
"""A tf.Module with signatures `serving_default` (projected, squashed) and `summary` (energy, peak)."""

_values = np.random.default_rng(4)
WEIGHT = _values.normal(size=(4, 5)).astype(np.float32)
OFFSET = _values.normal(size=5).astype(np.float32)
"""The values of its variables; `offset` is no part of `summary`."""


def write_spec(folder: Path, code: str, *, name: str = "tiny", **fields: Any) -> ModelSpec:
    """The spec read from FOLDER/NAME.yaml, which is written here beside a builder of this code.

    `fields` are the config's; without `model` it names the builder's function `build`.
    """
    (folder / f"{name}.py").write_text(code)
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump({"model": f"{name}.py:build", **fields}))
    return read.read(config)


@dataclass(frozen=True)
class Sample:
    """A spec, what building it found, and the exported source."""

    spec: ModelSpec
    built: Built
    source: Source

    @property
    def golden(self) -> Golden:
        """What the live model returned."""
        return golden.load(self.source.golden)


def build(model: ModelSpec, folder: Path, version: int = 1) -> Sample:
    """Build and export below `folder`: the release's part in `release/`, the rest in `work/`."""
    for part in ("release", "work"):
        (folder / part).mkdir()
    with Builder(model, folder / "release", folder / "work", version) as builder:
        built = builder.build().value
        source = builder.export().value
    return Sample(model, built, source)


def only_build(model: ModelSpec, folder: Path) -> Built:
    """What building finds out, without exporting."""
    with Builder(model, folder, folder) as builder:
        return builder.build().value


@dataclass(frozen=True)
class Converted:
    """One conversion, with what it takes to check it. `root` holds its files."""

    sample: Sample
    conversion: Conversion
    root: Path

    @property
    def path(self) -> Path:
        """The first artifact's file or directory."""
        path = self.conversion.artifacts[0].path
        assert path is not None, self.conversion
        return path

    def copy(self, folder: Path) -> "Converted":
        """The same conversion with its files copied to `folder`, to be damaged there."""
        paths = [artifact.path for artifact in self.conversion.artifacts if artifact.path is not None]
        for whole in {path.parent if path.name == "model.json" else path for path in paths}:
            here = whole.relative_to(self.root)
            if whole.is_dir():
                shutil.copytree(whole, folder / here)
            else:
                (folder / here).parent.mkdir(parents=True)
                shutil.copy(whole, folder / here)
        moved = [_moved(artifact, self.root, folder) for artifact in self.conversion.artifacts]
        return Converted(self.sample, self.conversion.model_copy(update={"artifacts": moved}), folder)

    def check(self) -> list[Row]:
        """The manifest's rows."""
        unit = unit_of(self.sample, self.conversion.target, self.conversion.variant, self.root)
        return check(unit, self.conversion)


def unit_of(sample: Sample, target: str, variant: str, release: Path) -> Unit:
    """The unit of work that converts and checks a sample's variant in `release`."""
    for name in (EVALUATION, METRIC):
        if (made := sample.source.golden.parent / name).is_file() and not (release / name).exists():
            shutil.copy(made, release / name)
    return Unit(target=target, variant=variant, source=sample.source, spec=sample.spec, release=release)


def _moved(artifact: Artifact, root: Path, folder: Path) -> Artifact:
    if artifact.path is None:
        return artifact
    return artifact.model_copy(update={"path": folder / artifact.path.relative_to(root)})


def converted(sample: Sample, target: str, variant: str = "default") -> Converted:
    """Convert into a directory of its own; the SavedModel is where it was exported."""
    release = sample.source.saved_model.parent
    root = release if target == "saved_model" else Path(tempfile.mkdtemp(prefix=f"{target}-", dir=release.parent))
    return Converted(sample, convert(unit_of(sample, target, variant, root)), root)


def not_passed(rows: Sequence[Row]) -> list[CheckResult]:
    """Every check that did not pass, of all rows; without those that were not run and need not be."""
    found = [result for row in rows for result in row.checks if result.status != "passed"]
    return [result for result in found if result.required or result.status == "failed"]


def turned(rows: Sequence[Row]) -> dict[str | None, set[str]]:
    """The names of the checks that did not pass, by signature, of the rows that did not."""
    return {row.signature: {c.name for c in not_passed([row])} for row in rows if row.status != "passed"}


def labels_of_digits() -> Any:
    """The labels of configs/digits.py's test images, [360] int; run in a child, since that module imports tf_keras."""
    return userland.load(read.CONFIGS / "digits.py").split()[3]


def serve(saved_model: Path, key: str, inputs: Sequence[Tensors]) -> list[Tensors]:
    """What TensorFlow's own loader makes of a signature; for a child process."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved_model))
    answers = []
    for given in inputs:
        tensors = {name: tf.constant(value) for name, value in given.items()}
        answers.append({name: value.numpy() for name, value in loaded.signatures[key](**tensors).items()})
    return answers


def save_keras(model: ModelSpec, path: Path) -> None:
    """Save what the spec's builder returns, as its Keras does; for a child process."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        userland.call(model.model, model.base, "model").save(path)


def call_live(model: ModelSpec, inputs: Sequence[Tensors]) -> list[Any]:
    """What the builder's Keras model returns for its only input; for a child process."""
    live = userland.call(model.model, model.base, "model")
    return [live(next(iter(given.values())), training=False).numpy() for given in inputs]
