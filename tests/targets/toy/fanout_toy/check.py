"""Reading a toy back, and running it in NumPy."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from converters.contract.errors import Damaged
from converters.contract.target import Cases
from converters.contract.values import Artifact, Prediction, Signature, Structure


@contextmanager
def reading(path: Path | None) -> Iterator[Mapping[str, Any]]:
    """The file's arrays. Raises Damaged for whatever goes wrong in reading them."""
    import numpy as np

    assert path is not None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise Damaged(f"{path.name} is no toy: {error}") from error


def inspect(artifact: Artifact) -> Structure:
    """The signature in the file."""
    with reading(artifact.path) as arrays:
        signature = Signature.model_validate_json(str(arrays["signature"]))
        return Structure(signatures={str(arrays["key"]): signature}, reader="npz", runtimes=("numpy",))


def version() -> str:
    """NumPy's."""
    import numpy as np

    return np.__version__


def run(artifacts: Sequence[Artifact], cases: Cases, seconds: float) -> list[Prediction]:
    """weight and offset, applied."""
    predictions = []
    for artifact in artifacts:
        with reading(artifact.path) as arrays:
            ((name, _),) = Signature.model_validate_json(str(arrays["signature"])).outputs.items()
            calls = [next(iter(inputs.values())) for inputs in cases[artifact.signature or ""]]
            outputs = [{name: value @ arrays["weight"] + arrays["offset"]} for value in calls]
        predictions.append(Prediction(runtime=f"numpy {version()}", outputs=outputs))
    return predictions
