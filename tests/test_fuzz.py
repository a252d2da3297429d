"""Whatever a config, a manifest, golden, a path or a model's file holds, it is read, or refused in a sentence: never a traceback.

`make test` tries a few of each, the same every time; FUZZ_SECONDS=600 in the environment has others tried for so long in all.
"""

import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import hypothesis
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from converters.config import data, read
from converters.config.spec import ModelSpec
from converters.contract import paths
from converters.contract.errors import BadInput, Damaged
from converters.contract.values import Case
from converters.formats import code, keras_config, keras_file, saved_model, savers
from converters.reference import golden
from converters.reference.golden import Golden
from converters.release import files, manifest, publish, sealing
from converters.release.manifest import Manifest
from flows.show.tables import ManifestTable
from flows.show.terminal import Terminal

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
EXAMPLES = {False: 40, True: 1000}
FUZZED = 8
"""Tests here, which share the time."""

Fuzz = Callable[[st.SearchStrategy[Any], Callable[[Any], None]], None]

NASTY = st.sampled_from(
    ["", "..", "../x", "/", "/etc/passwd", "~", "~nobody-here", "a\0b", "\x1b[31m", "\n", "\u202e", "-x", ".", "*", "**", "[",
     "<b>", "${HOME}", "x" * 300, "x" * 5000, "é", "\ud800", "{{7*7}}", "a:b", "x.py:f", "x.py:1", ".py:f", ":", "x:0..1",
     "x.npz", "x.yaml"]
)  # fmt: skip
TEXT = st.one_of(NASTY, st.text(max_size=20))
NUMBER = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -1, 10**9, 10**12, 2**63, 2**64, 10**400, 1e308, float("inf"), float("nan")]),
)
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBER, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=8,
)


@pytest.fixture
def fuzz() -> Fuzz:
    """Call with a strategy and what to do with its examples; BadInput and Damaged are answers, all else is a fault."""
    soak = SECONDS > 0

    def run(strategy: st.SearchStrategy[Any], examine: Callable[[Any], None]) -> None:
        def answered(example: Any) -> None:
            try:
                examine(example)
            except (BadInput, Damaged) as error:
                assert str(error)  # noqa: PT017 - what is raised is the answer

        options = hypothesis.settings(
            max_examples=EXAMPLES[soak],
            deadline=None,
            database=None,
            derandomize=not soak,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        until = time.monotonic() + SECONDS / FUZZED
        options(given(strategy)(answered))()
        while soak and time.monotonic() < until:
            options(given(strategy)(answered))()

    return run


def changed(document: Any, paths: list[tuple[Any, ...]], change: tuple[int, Any]) -> Any:
    """A copy of a JSON document with another value at one place."""
    copy = json.loads(json.dumps(document))
    *above, last = paths[change[0] % len(paths)]
    place = copy
    for key in above:
        place = place[key]
    place[last] = change[1]
    return copy


def places(document: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON document."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [place for key, value in items for place in [(*above, key), *places(value, (*above, key))]]


def mutated(content: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with some of them changed, taken out or put in."""

    def change(edits: list[tuple[int, int, bytes]]) -> bytes:
        made = bytearray(content)
        for start, length, new in edits:
            made[start % (len(made) + 1) : start % (len(made) + 1) + length] = new
        return bytes(made)

    edit = st.tuples(st.integers(0, len(content)), st.integers(0, 8), st.binary(max_size=8))
    return st.lists(edit, min_size=1, max_size=4).map(change)


def _plain(name: str) -> str:
    """A name that `zipfile` writes as it is."""
    return name.encode(errors="replace").decode().replace("\0", "")


CONFIG: dict[str, Any] = {
    "model": "m",
    "description": "text",
    "inputs": {"x": {"shape": [None, 2], "dtype": "float32"}},
    "initialize": "call",
    "signatures": {"serving_default": {"method": "call", "inputs": {"x": {"shape": [2], "dtype": "float32"}}}},
    "golden": {
        "data": "d.npz",
        "samples": 4,
        "seed": 1,
        "inputs": {"x": {"low": 0, "high": 1, "shape": [2]}},
        "constant": ["y"],
    },
    "representative": "d.npz",
    "classifiers": ["y"],
    "evaluation": {"data": "d.npz", "labels": "labels", "metric": "accuracy", "max_drop": 0.1, "samples": 3},
    "regression": {"metric_drop": 0.01, "size_growth": None, "vanished": True},
    "files": ["*.npz"],
    "targets": {
        "tflite": {"variants": ["int8"], "tolerance": {"int8": {"error": 0.1}}, "quality": {"int8": {"top1": 0.5}}}
    },
    "limits": {"seconds": 6, "memory_gb": 2},
    "trust_code": False,
    "schedule": {"cron": "0 2 * * *", "timezone": "UTC"},
    "on_failure": {"command": "true"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hostile.saved_model(tmp_path / "m")
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 2), np.float32), labels=np.zeros(4))
    return tmp_path


def test_read_takes_or_refuses_any_config(fuzz: Fuzz, folder: Path) -> None:
    path = folder / "c.yaml"
    where = places(CONFIG)

    def examine(change: tuple[int, Any]) -> None:
        path.write_text(yaml.safe_dump(changed(CONFIG, where, change)), errors="replace")
        spec = read.read(path)
        assert ModelSpec.model_validate_json(spec.model_dump_json()).name == spec.name

    fuzz(st.tuples(st.integers(0, 1000), VALUE), examine)


def test_read_takes_or_refuses_any_text(fuzz: Fuzz, folder: Path) -> None:
    path = folder / "c.yaml"
    written = yaml.safe_dump(CONFIG).encode()

    def examine(content: bytes) -> None:
        path.write_bytes(content)
        read.read(path)

    fuzz(
        st.one_of(
            mutated(written), st.binary(max_size=40), st.text(":&*!{}[]ab \n-?|>'\"%@#", max_size=40).map(str.encode)
        ),
        examine,
    )


def test_find_takes_or_refuses_any_path(fuzz: Fuzz, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    def examine(text: str) -> None:
        for parse in (
            lambda: read.find(text),
            lambda: data.locate(text, folder, "golden.data"),
            lambda: data.absolute(text, "--data"),
            lambda: publish.versions(folder, text),
            lambda: manifest.read(paths.path(text, folder)),
        ):
            try:
                parse()
            except BadInput as error:
                assert str(error)  # noqa: PT017 - what is raised is the answer

    fuzz(st.lists(TEXT, min_size=1, max_size=3).map("".join), examine)


MANIFEST: dict[str, Any] = {
    "schema": 1,
    "model": "m",
    "version": 3,
    "status": "failed",
    "created": "2026-11-22T02:00:07Z",
    "seconds": 1.5,
    "source": {"kind": "module", "digest": "d",
               "signatures": {"s": {"inputs": {"x": {"shape": [None, 2], "dtype": "float32"}}, "outputs": {}}}},
    "environment": {"python": "3.11"},
    "peak_memory_mb": 3.5,
    "targets": [
        {
            "target": "tflite",
            "variant": "float32",
            "signature": "s",
            "status": "failed",
            "reason": "why",
            "data": "given",
            "path": "tflite/float32.tflite",
            "bytes": 5,
            "seconds": {"convert": 1.0},
            "memory_mb": {"check": 2.0},
            "reused_from": None,
            "checks": [
                {"name": "values", "runtime": "litert", "status": "failed", "measured": 0.5, "limit": 0.1, "detail": "d",
                 "latency_ms": 0.1, "figures": {"snr_db": 20.0}, "output": "y"}
            ],
            "layers": [{"layer": "l", "op": "CONV_2D", "snr_db": 3.0, "added": 0.5}],
        }
    ],
    "files": {"golden.npz": {"sha256": "0", "bytes": 3}},
    "evaluation": {"metric": "accuracy", "better": "higher", "signature": "s", "output": "y", "samples": 3, "live": 0.5,
                   "data": "d"},
    "comparison": {"version": 2, "differences": [{"target": "tflite", "variant": "float32", "signature": "s", "figure": "size",
                                                  "before": 1.0, "now": 2.0, "change": 1.0, "limit": 0.1, "refusal": "larger"}]},
    "refusals": ["larger"],
    "notes": ["note"],
    "observed": {"serving_default": {"inputs": {}, "outputs": {}, "samples": []}},
}  # fmt: skip


def test_read_takes_or_refuses_any_manifest_and_what_it_takes_can_be_shown(fuzz: Fuzz, folder: Path) -> None:
    path = folder / "manifest.json"
    where = places(MANIFEST)
    shown = Terminal(file=io.StringIO(), width=100)
    Manifest.model_validate(MANIFEST)

    def examine(change: tuple[int, Any]) -> None:
        path.write_text(json.dumps(changed(MANIFEST, where, change)), errors="replace")
        written = manifest.read(folder)
        files.changed_files(folder, written)
        sealing.is_sealed(folder)
        shown.print(ManifestTable(written))
        assert "\x1b" not in shown.file.getvalue()  # type: ignore[attr-defined]

    fuzz(st.tuples(st.integers(0, 1000), VALUE), examine)


def test_read_takes_or_refuses_any_bytes_of_a_manifest(fuzz: Fuzz, folder: Path) -> None:
    def examine(content: bytes) -> None:
        (folder / "manifest.json").write_bytes(content)
        sealing.is_sealed(folder)
        manifest.read(folder)

    fuzz(st.one_of(mutated(json.dumps(MANIFEST).encode()), st.just(b"[" * 5000)), examine)


def test_load_takes_or_refuses_any_golden(fuzz: Fuzz, tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    words = np.array([b"red\0", b""], object)
    case = Case(inputs={"x": np.zeros((2, 2), np.float32), "w": words}, outputs={"y": np.ones(2, np.int64)})
    golden.save(Golden(cases={"s": [case]}, variables=("v float32[2] sha256:0",)), path)
    written = path.read_bytes()
    arrays = st.sampled_from(
        [
            np.zeros(2),
            np.array(b"x"),
            np.array(["x"]),
            np.zeros((0, 3), "V2"),
            np.array([b""]),
            np.zeros(3, "M8[s]"),
            np.array(1 + 2j),
        ]
    )
    titles = st.one_of(
        TEXT,
        st.sampled_from(
            ["variables", "coverage", "precision", "data", "s/0/inputs/x", "s/9/outputs/y", f"s/{'9' * 5000}/inputs/x"]
        ),
    )

    def of_arrays(named: dict[str, np.ndarray[Any, Any]]) -> bytes:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, array in named.items():
                member = io.BytesIO()
                np.save(member, array)
                archive.writestr(f"{_plain(name)}.npy", member.getvalue())
        return content.getvalue()

    def examine(content: bytes) -> None:
        path.write_bytes(content)
        golden.load(path)

    fuzz(st.one_of(mutated(written), st.dictionaries(titles, arrays, max_size=3).map(of_arrays)), examine)


def test_of_saved_model_takes_or_refuses_any_bytes(fuzz: Fuzz, folder: Path) -> None:
    path = folder / "m" / "saved_model.pb"
    inner = hostile.function("f", ["a"], [hostile.text("t", "x")], "t:output:0")
    call = hostile.node("c", "StatefulPartitionedCall", "x_in", f=("func", "f"))
    table = hostile.node("i", "InitializeTableFromTextFileV2", "x_in", "c")
    made = hostile.saved_model(
        folder / "n", [call, table], functions=[inner], saver=("x_in", "c", "i"), assets={"c": "v"}
    )

    def examine(content: bytes) -> None:
        path.write_bytes(content)
        code.of_saved_model(path.parent)
        for meta_graph in saved_model.read_all(path.parent):
            saved_model.refused(meta_graph)
            saved_model.require_names(meta_graph, path)
            savers.require_own_assets(meta_graph, path)

    fuzz(mutated((made / "saved_model.pb").read_bytes()), examine)


def test_of_keras_takes_or_refuses_any_config(fuzz: Fuzz, tmp_path: Path) -> None:
    config = hostile.sequential(
        hostile.layer("TFOpLambda", "t", function="math.add"),
        hostile.layer("TensorFlowOpLayer", "o", node_def='{"op": "Add"}'),
    )
    where = places(config)

    def examine(change: tuple[int, Any]) -> None:
        path = hostile.keras_archive(tmp_path / "m.keras", json.dumps(changed(config, where, change)))
        code.of_keras(path)
        keras_config.signature(keras_file.read(path).config)

    fuzz(st.tuples(st.integers(0, 1000), VALUE), examine)
