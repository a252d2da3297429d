"""Reading a SavedModel back, and running it in TensorFlow's C++ loader."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from converters.contract.errors import Damaged
from converters.contract.target import Cases
from converters.contract.values import Artifact, Prediction, Structure
from converters.processes import child, resident
from converters.processes.timing import predicted

if TYPE_CHECKING:
    from converters.targets.saved_model.c_api import Model


def inspect(artifact: Artifact) -> Structure:
    """The signatures in saved_model.pb."""
    from converters.formats import saved_model

    assert artifact.path is not None
    return Structure(
        signatures=saved_model.signatures(saved_model.read(artifact.path)),
        reader="saved_model.pb",
        runtimes=("c-loader",),
    )


def version() -> str:
    """That of the C library, which a process of its own loads. Raises MissingRuntime."""
    from converters.targets.saved_model import c_api

    return child.run(c_api.version, fresh=True).value


def predict(artifacts: Sequence[Artifact], cases: Cases, seconds: float) -> list[Prediction]:
    """Load once, run every signature."""
    from converters.targets.saved_model import c_api

    name = f"TensorFlow C API {c_api.version()}"
    assert artifacts[0].path is not None
    with loaded(artifacts[0].path) as model:
        predictions = []
        for key in (artifact.signature or "" for artifact in artifacts):
            try:
                predictions.append(predicted(name, partial(model.run, key), cases[key]))
            except Damaged as error:
                predictions.append(Prediction(runtime=name, error=str(error)))
    return predictions


@contextmanager
def loaded(path: Path) -> "Iterator[Model]":
    """The model, loaded. A kept child keeps the last one, for the next call on the same files.

    Raises what `c_api.Model` raises.
    """
    from converters.targets.saved_model.c_api import Model

    kept = resident.own()
    if kept is None:
        with Model(path) as model:
            yield model
        return
    files = [(file, file.stat()) for file in sorted(path.rglob("*")) if file.is_file()]
    identity = [(file, stat.st_ino, stat.st_size, stat.st_mtime_ns) for file, stat in files]
    last, model = kept.pop("saved_model", (None, None))
    if last != identity:
        if model is not None:
            model.close()
        model = Model(path)
    kept["saved_model"] = identity, model
    yield model
