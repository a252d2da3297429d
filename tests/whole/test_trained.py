"""Trained models, given by path: each lossy file of theirs passes, and none does with a layer damaged."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import samples
import zoo_trained
from samples import Sample
from staying import staying

from converters.processes import child
from converters.release.manifest import Row

pytestmark = pytest.mark.tensorflow

LOSSY = [
    *(("tflite", variant) for variant in ("float16", "dynamic", "int8")),
    *(("tfjs", f"graph-{dtype}") for dtype in ("float16", "uint8")),
]


@pytest.fixture(scope="module", autouse=True)
def pool() -> Iterator[ThreadPoolExecutor]:
    with staying() as found:
        yield found


def in_node(sample: Sample) -> Sample:
    """To be run in Node alone: another browser finds nothing that the lossless variants' tests do not."""
    targets = sample.spec.targets
    alone = targets["tfjs"].model_copy(update={"runtimes": ("node-wasm",)})
    return Sample(sample.spec.model_copy(update={"targets": {**targets, "tfjs": alone}}), sample.built, sample.source)


@pytest.mark.parametrize("name", zoo_trained.KINDS)
def test_check_passes_when_a_trained_model_is_given_and_fails_when_a_layer_is_damaged(
    name: str, given_sample: Callable[..., Sample], tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    sample = in_node(given_sample(zoo_trained.save, name, ending=zoo_trained.KINDS[name].ending))

    def checked(number: int) -> tuple[list[Row], str, list[Row]]:
        target, variant = LOSSY[number]
        whole = samples.converted(sample, target, variant)
        rows = whole.check()
        broken = whole.copy(tmp_path / str(number))
        what = child.run(zoo_trained.damage_layer, whole.root, target, variant, broken.root, number).value
        return rows, f"{target} {variant}, {what}", broken.check()

    found = list(pool.map(checked, range(len(LOSSY))))
    for rows, _, _ in found:
        print(name, *(" ".join(_measured(row)) for row in rows), sep="\n    ")
    assert [(row.title, row.reason) for rows, _, _ in found for row in rows if row.status != "passed"] == []
    passed = [what for _, what, rows in found if all(row.status == "passed" for row in rows)]
    assert passed == []


def _measured(row: Row) -> list[str]:
    """What each check of a row measured that measures something."""
    kept = [check for check in row.checks if check.name in ("sound", "values", "snr", "cosine", "top1")]
    return [row.title, *(f"{c.name} {c.measured:.3g}" for c in kept if c.measured is not None)]
