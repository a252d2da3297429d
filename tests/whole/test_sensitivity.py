"""Every mutation of a release's files that changes what is computed turns its row red. See support/mutants.py."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mutants
import numpy as np
import pytest
import releases
import samples
from mutants import Outcome
from staying import staying

from converters.contract.values import Tensors

pytestmark = pytest.mark.tensorflow

TWO = """
import tensorflow as tf
import tf_keras

def build():
    tf_keras.utils.set_random_seed(SEED)
    layers = tf_keras.layers
    signal = layers.Input((6,), name="signal")
    hidden = layers.Dense(8, "relu", bias_initializer="random_normal", name="hidden")(signal)
    hidden = layers.Dense(8, "relu", bias_initializer="random_normal", name="deeper")(hidden)
    scores = layers.Dense(3, "tanh", use_bias=False, name="scores")(hidden)
    amount = layers.Dense(3, bias_initializer="random_normal", name="amount")(hidden)
    model = tf_keras.Model(signal, [scores, amount], name="two")
    weight = model.get_layer("hidden").kernel

    @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name="signal")])
    def embed(signal):
        projected = signal @ weight
        return {"energy": tf.reduce_sum(projected**2, axis=1), "peak": tf.argmax(projected, axis=1)}

    model.embed = embed
    return model
"""
"""Two signatures of two outputs each, whose dtypes and shapes are alike in one."""


def legal(rng: np.random.Generator) -> dict[str, Tensors]:
    """What golden is drawn from, but not golden."""
    signals = rng.normal(size=(512, 6)).astype(np.float32)
    return {"serving_default": {"signal": signals}, "embed": {"signal": signals}}


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with staying() as found:
        yield found


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, pool: ThreadPoolExecutor) -> tuple[Path, Path]:
    """A release, and another of the same model with other weights."""
    made = []
    for seed, checked in ((3, True), (4, False)):
        folder = tmp_path_factory.mktemp("two")
        spec = samples.write_spec(
            folder,
            TWO.replace("SEED", str(seed)),
            name="two",
            signatures={"serving_default": "call", "embed": "embed"},
            targets={"tflite": {}, "tfjs": {"variants": ["graph", "layers", "graph-uint8"]}, "hdf5": {}, "serving": {}},
        )
        made.append(releases.publish(spec, folder / "releases", pool, checked=checked))
    assert made[0].manifest.refusals == []
    return made[0].path, made[1].path


def shown(outcomes: list[Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\n" + mutants.show(outcomes))


@pytest.mark.timeout(1800)
def test_check_catches_every_mutation_when_it_changes_what_is_computed(
    two: tuple[Path, Path],
    pool: ThreadPoolExecutor,
    tmp_path: Path,
    share: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    release, older = two
    outcomes = mutants.examine(release, tmp_path, pool, legal, older=older, share=share)
    shown(outcomes, capsys)
    assert mutants.holes(outcomes) == []
    assert {(o.target, o.variant) for o in outcomes} == {
        ("saved_model", "default"),
        *(("tflite", variant) for variant in ("float32", "float16", "dynamic", "int8")),
        *(("tfjs", variant) for variant in ("graph", "layers", "graph-uint8")),
        ("hdf5", "model"),
        ("serving", "default"),
    }
    exact = [o for o in outcomes if o.variant not in ("float16", "dynamic", "int8", "graph-uint8")]
    assert sum(o.outcome == "caught" for o in exact) > 0.9 * len(exact)


def test_check_says_nothing_when_the_release_is_as_it_was(two: tuple[Path, Path], pool: ThreadPoolExecutor) -> None:
    from converters.steps.recheck import recheck

    manifest = recheck(two[0])
    assert manifest.refusals == []
    assert {row.status for row in manifest.targets if row.path is not None} == {"passed"}
