"""Whatever a signature takes and returns, a release explains it: of every dtype, rank and size that there is."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.config.spec import ModelSpec
from converters.contract.values import Case, Signature, TensorSpec
from converters.formats.dtypes import DTYPES, objects
from converters.javascript import programs
from converters.reference import golden as goldens
from converters.reference.golden import Golden
from converters.reference.observed import observed
from converters.release.explain import example
from converters.release.explain.write import write
from converters.release.manifest import Manifest, Row, SourceRecord

SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (2, 0), (1, 4, 4, 3), (1, 2, 2, 1, 2), (1, 6, 5))
Array = np.ndarray[Any, Any]


def array(dtype: str, shape: tuple[int, ...]) -> Array:
    """Of these; strings are bytes."""
    count = int(np.prod(shape))
    if dtype == "string":
        return objects([f"é{number}".encode() for number in range(count)]).reshape(shape)
    return (np.arange(count) % 7).astype(DTYPES[dtype]).reshape(shape)


def explained(root: Path, signatures: dict[str, Signature], cases: dict[str, list[Case]]) -> None:
    """Write what a release of these says, with a file of every target for each signature."""
    rows = []
    for key in signatures:
        graph = f"tfjs/graph/{key}/model.json"
        (root / graph).parent.mkdir(parents=True)
        (root / graph).write_text("{}")
        files = (
            ("saved_model", "default", "saved_model"), ("tflite", "float32", "tflite/float32.tflite"), ("tfjs", "graph", graph),
            ("hdf5", "model", f"hdf5/{key}.h5"), ("serving", "default", "serving/1"),
        )  # fmt: skip
        rows += [
            Row(target=target, variant=variant, signature=key, status="passed", data="given", path=path)
            for target, variant, path in files
        ]
    manifest = Manifest(
        model="any", version=1, status="passed", created="2026-11-22T02:00:07Z", seconds=1.0, environment={}, targets=rows,
        source=SourceRecord(kind="module", digest="sha256:0", signatures=signatures), observed=observed(signatures, cases),
    )  # fmt: skip
    told = Golden(cases=cases)
    goldens.save(told, root / "golden.npz")
    write(root, manifest, ModelSpec(name="any", model="x.py:build"), told)


@pytest.fixture(scope="module", name="release")
def _release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("release")
    signatures, cases = {}, {}
    for dtype in DTYPES:
        arrays = {f"{dtype}_{len(shape)}_{number}": array(dtype, shape) for number, shape in enumerate(SHAPES)}
        specs = {name: TensorSpec(shape=value.shape, dtype=dtype) for name, value in arrays.items()}
        ranks = [spec.shape if number % 2 else None for number, spec in enumerate(specs.values())]
        open_ = {name: TensorSpec(shape=rank, dtype=dtype) for name, rank in zip(specs, ranks, strict=True)}
        signatures[dtype] = Signature(inputs=open_, outputs={f"{name}_out": spec for name, spec in specs.items()})
        outputs = {f"{name}_out": value for name, value in arrays.items()}
        cases[dtype] = [Case(inputs=arrays, outputs=outputs)]
    explained(root, signatures, cases)
    return root


@pytest.mark.browser
def test_every_program_is_one_of_its_language(release: Path) -> None:
    for file in (release / "examples").glob("*.py"):
        compile(file.read_text(), str(file), "exec")
    for file in (release / "examples").glob("*.mjs"):
        done = subprocess.run([programs.find_node(), "--check", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_request_holds_what_golden_does(release: Path, dtype: str) -> None:
    if dtype in ("bfloat16", "complex64", "complex128"):
        assert not (release / "examples" / dtype).exists()
        assert f"examples/{dtype}" not in (release / "USAGE.md").read_text()
        return
    request = json.loads((release / "examples" / dtype / "request.json").read_text())
    response = json.loads((release / "examples" / dtype / "response.json").read_text())
    for number, shape in enumerate(SHAPES):
        name, value = f"{dtype}_{len(shape)}_{number}", array(dtype, shape)
        if dtype != "string":
            assert np.array_equal(np.array(request["inputs"][name], dtype).reshape(shape), value)
            assert np.array_equal(np.array(response["outputs"][f"{name}_out"], dtype).reshape(shape), value)
        elif shape == (3,):
            assert request["inputs"][name] == [{"b64": "w6kw"}, {"b64": "w6kx"}, {"b64": "w6ky"}]
            assert response["outputs"][f"{name}_out"] == ["é0", "é1", "é2"]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (np.zeros(example.MOST_VALUES, np.float32), f"it has {example.MOST_VALUES + 1:,} values"),
        (np.array([1, np.inf], np.float32), "y holds infinite numbers, or what is no number"),
        (objects([b"\xff"]), "y holds bytes that are no text"),
        (objects([b"a" * (example.MOST_TEXT + 1)]), f"y holds {example.MOST_TEXT + 1:,} bytes of text"),
    ],
)
def test_what_json_cannot_hold_is_said_and_left_in_golden(tmp_path: Path, value: Array, why: str) -> None:
    case = Case(inputs={"x": np.zeros(1, np.float32)}, outputs={"y": value})
    made = example.write(tmp_path, "key", [case])
    assert made.why_not == why
    assert list(tmp_path.iterdir()) == []


def test_the_smaller_one_of_goldens_ends_is_the_example_if_json_holds_it(tmp_path: Path) -> None:
    def case(rows: int, number: float) -> Case:
        return Case(
            inputs={"x": np.full((rows, 2), number, np.float32)}, outputs={"y": np.zeros((rows, 1), np.float32)}
        )

    assert example.write(tmp_path, "one", [case(4, 1), case(1, np.nan), case(1, 2)]).case == 2
    assert example.write(tmp_path, "two", [case(4, 1), case(1, np.nan)]).case == 0
