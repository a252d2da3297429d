"""SavedModel: what the export wrote, run by the C++ loader in a process without Python's TensorFlow."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from converters.contract.errors import Damaged
from converters.contract.values import Artifact, Options, Prediction, Source, Structure, Tensors, Tolerance
from converters.processes import resident
from converters.processes.timing import median_ms

if TYPE_CHECKING:
    from converters.targets.saved_model.c_api import Model

NAME = "saved_model"
OPTIONS = Options
FRESH = frozenset({"c-loader"})
KEPT = {"c-loader": "c-loader"}
INSTEAD: dict[str, str] = {}
EARLY: frozenset[str] = frozenset()
TOLERANCES = {
    "default": Tolerance(
        error=1e-4, mismatch=0.0, reason="the same float32 kernels, fused and ordered differently by grappler"
    )
}


def holds(dtype: str) -> str:
    """A SavedModel holds every dtype as it is."""
    return dtype


def variants(source: Source, options: Options) -> Sequence[str]:
    """There is one."""
    return ("default",)


def convert(source: Source, variant: str, out_dir: Path, options: Options) -> list[Artifact]:
    """The export is the artifact: every target is made from this very directory."""
    return [Artifact(target=NAME, variant=variant, signature=key, path=source.saved_model) for key in source.signatures]


def inspect(artifact: Artifact) -> Structure:
    """The signatures in saved_model.pb."""
    from converters.formats import saved_model

    assert artifact.path is not None
    return Structure(
        signatures=saved_model.signatures(saved_model.read(artifact.path)),
        reader="saved_model.pb",
        runtimes=("c-loader",),
    )


def predict(artifacts: Sequence[Artifact], cases: Mapping[str, Sequence[Tensors]], runtime: str) -> list[Prediction]:
    """Load once, run every signature."""
    from converters.targets.saved_model.c_api import version

    name = f"TensorFlow C API {version()}"
    if not artifacts:
        return []
    assert artifacts[0].path is not None
    with loaded(artifacts[0].path) as model:
        predictions = []
        for artifact in artifacts:
            key = artifact.signature or ""
            try:
                outputs = [model.run(key, inputs) for inputs in cases[key]]
                latency = median_ms(lambda key=key: model.run(key, cases[key][-1]))  # type: ignore[misc]
                predictions.append(Prediction(runtime=name, outputs=outputs, latency_ms=latency))
            except Damaged as error:
                predictions.append(Prediction(runtime=name, error=str(error)))
    return predictions


@contextmanager
def loaded(path: Path) -> "Iterator[Model]":
    """The model, loaded. A kept child keeps the last one, for the next call on the same files.

    Raises what `c_loader.Model` raises.
    """
    from converters.targets.saved_model.c_api import Model

    if not resident.inside():
        with Model(path) as model:
            yield model
        return
    global _last
    files = [(file, file.stat()) for file in sorted(path.rglob("*")) if file.is_file()]
    identity = tuple((str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns) for file, stat in files)
    if _last is None or _last[0] != identity:
        previous, _last = _last, None
        if previous is not None:
            previous[1].close()
        _last = (identity, Model(path))
    yield _last[1]


_last: "tuple[tuple[tuple[str, int, int, int], ...], Model] | None" = None
