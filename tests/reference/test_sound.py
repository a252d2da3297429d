"""The limits of a lossy file's soundness."""

from typing import Any

import pytest

from converters.contract.soundness import GridFit, LayerNoise, Soundness, WeightError
from converters.contract.values import CheckResult
from converters.reference import sound


def found(*, calibrated: bool = False, **parts: Any) -> list[CheckResult]:
    return sound.check(Soundness(**parts), "tflite", calibrated=calibrated)


def weights(*steps: float) -> list[WeightError]:
    return [WeightError(name=f"weight {number}", steps=value) for number, value in enumerate(steps)]


def layers(*ratios: float) -> list[LayerNoise]:
    return [LayerNoise(layer=f"layer {number}", op="ADD", ratio=value) for number, value in enumerate(ratios)]


def grid(beyond: float, filled: float) -> list[GridFit]:
    return [GridFit(name="grid", beyond=beyond, filled=filled)]


@pytest.mark.parametrize(
    ("parts", "passed"),
    [
        ({"weights": weights(0.1, 0.5)}, [True]),
        ({"weights": weights(0.1, 0.6)}, [False]),
        ({"weights": weights(float("inf"))}, [False]),
        ({"weights": weights(0.1, float("nan"))}, [False]),
        ({"layers": layers(1.0, 3.5)}, [True]),
        ({"layers": layers(1.0, 4.5)}, [False]),
        ({"weights": weights(0.1), "layers": layers(float("nan"))}, [True, False]),
        ({"grids": grid(0.0, 1.0)}, [True, True]),
        ({"grids": grid(0.1, 1.0)}, [True, True]),
        ({"grids": grid(0.1, 1.0), "calibrated": True}, [False, True]),
        ({"grids": grid(0.3, 1.0)}, [False, True]),
        ({"grids": grid(0.0, 1 / 16)}, [True, False]),
        ({"weights": weights(0.1), "problems": ["an operator is missing"]}, [False]),
        ({}, [False]),
    ],
)
def test_check_judges_by_the_worst_when_there_are_several(parts: dict[str, Any], passed: list[bool]) -> None:
    assert [finding.status == "passed" for finding in found(**parts)] == passed


def test_check_names_what_is_wrong_when_it_fails() -> None:
    (finding,) = found(weights=weights(0.1, 7.0, 9.0))
    assert finding.detail.endswith(": weight 2, weight 1")
    assert (finding.measured, finding.limit) == (9.0, sound.HALF_STEP + sound.ROUNDING)
    (finding,) = found(problems=["an operator is missing", "another is there"])
    assert finding.detail == "an operator is missing; another is there"
