"""The published JSON Schema: that it is the one of today's models, takes what they take, and finds the same mistakes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from wrong_configs import MODEL, WRONG

from converters.config import read, schema
from converters.contract.errors import BadInput
from converters.targets.registry import BUILT_IN

CHECKOUT = read.CONFIGS.parent
MODELS, NIGHTLY = (Draft202012Validator(found) for found in (schema.of_models(BUILT_IN), schema.of_nightly()))
ONLY_READ = {
    "range": "of two values the schema cannot say which is less",
    "sizes given twice": "labels are made of sizes",
    "recipe without its variant": "two keys speak of each other",
    "variant without its recipe": "likewise",
    "recipe that is not there": "a file",
    "recipe of half a rule": "the rules are ai-edge-quantizer's",
    "no builder": "a file",
    "no function": "any text may be a path",
    "no such path": "a path",
    "no data": "a path",
    "no calibration": "a path",
    "syntax": "no YAML",
    "tag": "no plain YAML",
}
"""Mistakes that no schema finds, and why."""


def _errors(validator: Draft202012Validator, document: Any) -> list[str]:
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize("file", [schema.FILE, schema.NIGHTLY_FILE], ids=lambda file: file.name)
def test_published_schema_is_what_the_models_say_today(file: Path) -> None:
    made = schema.of_models(BUILT_IN) if file == schema.FILE else schema.of_nightly()
    assert file.read_text() == schema.text(made), "run `make schema`"
    Draft202012Validator.check_schema(made)


@pytest.mark.parametrize("path", sorted(read.CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configs_name_the_schema_in_their_first_line_and_fit_it(path: Path) -> None:
    text = path.read_text()
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    nightly = path.stem == read.NIGHTLY
    assert named is not None
    assert (path.parent / named[1]) == (schema.NIGHTLY_FILE if nightly else schema.FILE)
    assert _errors(NIGHTLY if nightly else MODELS, yaml.safe_load(text)) == []


def _examples() -> list[tuple[str, str]]:
    pages = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
    return [
        (f"{page.relative_to(CHECKOUT)} {number}", block)
        for page in pages
        for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
    ]


@pytest.mark.parametrize(("where", "block"), _examples())
def test_examples_in_the_documentation_fit_it(where: str, block: str) -> None:
    content = yaml.safe_load(block)
    if set(content) <= {"schedule", "on_failure"}:
        assert _errors(NIGHTLY, content) == []
    else:
        assert _errors(MODELS, {"model": "m.py:build", **content}) == []


@pytest.mark.parametrize(
    "text",
    [
        "targets: {}",
        "targets: {hdf5: }",
        "targets: {tflite: {variants: {float32: {}, int8: {optional: true}, dynamic: }}}",
        "targets: {tflite: {shapes: {batch: 1}}}",
        "targets: {tflite: {shapes: [{batch: 1}, {image: [1, 8, 8, 1]}], required: [float32-batch1]}}",
        "targets: {tflite: {shapes: {batch: 1}, tolerance: {int8-batch1: {error: 0.2}}, quality: {int8: {top1: 0.8}}}}",
        "targets: {tflite: {variants: [recipe], recipe: [{regex: '.*', operation: '*', algorithm_key: no_quantize}]}}",
        "targets: {tfjs: {runtimes: {node-wasm: , chromium-webgl: all, chromium-cpu: {}}}}",
        "targets: {tfjs: {runtimes: [node-wasm, chromium-webgl]}}",
        "signatures: {a: call, b: {method: f, inputs: {x: {shape: null, dtype: string}}}}",
        "labels: {y: [a, b]}",
        "preprocessing: {x: divided by 255, y: {mean: [0.5], std: [0.5], color: rgb}}",
        "schedule: never",
        "schedule: 0 2 * * 1-5",
        "schedule: {cron: 0 2 * * *, timezone: Europe/Berlin}",
        "on_failure: {command: mail}",
        "regression: {metric_drop: null}",
        "golden: {inputs: {x: {values: [a, 1.5]}}, samples: null}",
    ],
)
def test_schema_takes_every_form_that_a_config_takes(text: str, tmp_path: Path) -> None:
    assert _errors(MODELS, yaml.safe_load(MODEL + text)) == []
    (tmp_path / "m.py").touch()
    (tmp_path / "config.yaml").write_text(f"{MODEL}{text}\n")
    read.read(tmp_path / "config.yaml")


_MORE = {
    "five fields": MODEL + "schedule: 0 2 * *\n",
    "nobody told": MODEL + "on_failure: {}\n",
    "drop of one's own metric": MODEL + "evaluation: {data: m.py:data, metric: m.py:metric}\n",
    "dtype": MODEL + "inputs: {x: {shape: [2], dtype: float31}}\n",
    "mapping of variants": MODEL + "targets: {tflite: {variants: {float32: {require: true}}}}\n",
    "runtime": MODEL + "targets: {tfjs: {runtimes: {node: all}}}\n",
    "preprocessing": MODEL + "preprocessing: {x: {}}\n",
    "labels": MODEL + "labels: {x: 3}\n",
}


@pytest.mark.parametrize("what", [name for name in (*WRONG, *_MORE) if name not in ONLY_READ])
def test_schema_finds_the_mistakes_that_reading_finds_where_it_finds_them(what: str, tmp_path: Path) -> None:
    text = _MORE[what] if what in _MORE else WRONG[what][0]
    (tmp_path / "m.py").touch()
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        read.read(path)
    errors = list(MODELS.iter_errors(yaml.safe_load(text)))
    assert errors
    for error in errors:
        where = list(map(str, error.absolute_path))
        named = [where, where[:-1]] if len(where) > 2 else [where]
        assert any(".".join(part) in str(caught.value) for part in named)
