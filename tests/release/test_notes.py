"""What a person is told of a release that nothing speaks against."""

from pathlib import Path
from typing import Any

import numpy as np

from converters.config.spec import ModelSpec
from converters.contract.values import Case
from converters.release.manifest import Row
from converters.release.notes import of_inputs

BY_PATH = ModelSpec(name="m", model=str(Path.cwd() / "my model.keras"))
BY_CONFIG = ModelSpec(name="m", model="m.py:build", base=Path("/configs"))
CASES = {"k": [Case(inputs={"age": np.float32([[20], [61.5]]), "word": np.array([b"a"], object)}, outputs={})]}


def lossy(variant: str, **fields: Any) -> Row:
    told = {"data": "drawn", "path": "a", **fields}
    return Row.model_validate({"target": "tflite", "variant": variant, "signature": "k", "status": "passed", **told})


def test_note_says_what_is_not_known_from_what_range_and_the_next_command() -> None:
    rows = [lossy("float32"), lossy("float16"), lossy("int8")]
    (note,) = of_inputs(BY_PATH, rows, CASES)
    assert note == (
        "inputs were drawn at random (age from 20 to 61.5, word of text), not given: what tflite float16 and tflite int8 "
        "would lose on your data is not known, and tflite int8 was calibrated on them; give samples of it: "
        "fanout deploy 'my model.keras' --data PATH"
    )
    (note,) = of_inputs(BY_CONFIG, [lossy("dynamic", data="fitted")], CASES)
    assert "fitted to the statistics in the model" in note
    assert "calibrated" not in note
    assert note.endswith("give samples of it as 'golden.data' in m.yaml")


def test_nothing_is_noted_where_nothing_is_unknown() -> None:
    assert of_inputs(BY_PATH, [lossy("float32")], CASES) == []
    assert of_inputs(BY_PATH, [lossy("int8", data="given")], CASES) == []
    assert of_inputs(BY_PATH, [lossy("int8", path=None)], CASES) == []
