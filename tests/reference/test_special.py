"""What the graph compares, sorts or looks for is read from ops of traced models and of SavedModels' sessions alike."""

from pathlib import Path
from typing import Any

import pytest

from converters.processes.child import run
from converters.reference.drawing import Special

pytestmark = pytest.mark.tensorflow


def of_models() -> dict[str, dict[str, Special]]:
    """By a model's name, what its graph makes of its inputs."""
    import keras
    import tensorflow as tf
    import tf_keras

    from converters.reference import hints

    def masked(library: Any) -> Any:
        words = library.Input((5,), dtype="int32", name="words")
        series = library.Input((5, 2), name="series")
        layers = library.layers
        read = layers.LSTM(2)(layers.Embedding(9, 3, mask_zero=True)(words))
        return library.Model([words, series], [read, layers.LSTM(2)(layers.Masking(-10.0)(series))])

    def found(function: Any, **inputs: Any) -> dict[str, Special]:
        specs = {name: tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in inputs.items()}
        traced = tf.function(lambda *tensors: function(**dict(zip(specs, tensors, strict=True))))
        concrete = traced.get_concrete_function(*specs.values())
        return {name: hint.special for name, hint in hints.of_concrete(concrete, specs).items()}

    @tf.function
    def branches(x: Any) -> Any:
        return tf.where(tf.reduce_any(x == 3), x * 2, x + 5)

    def looped(n: Any) -> Any:
        total = tf.constant(0.0)
        for _ in tf.range(n):
            total += 1.0
        return total

    def suppressed(boxes: Any, scores: Any) -> Any:
        return tf.image.non_max_suppression(boxes[0], scores[0], 3)

    vector, integers = ([None, 4], tf.float32), ([None, 4], tf.int64)
    words, series = ([None, 5], tf.int32), ([None, 5, 2], tf.float32)
    models = {name: masked(library) for name, library in (("tf_keras", tf_keras), ("keras", keras))}
    return {
        **{
            name: found(lambda words, series, model=model: model([words, series]), words=words, series=series)
            for name, model in models.items()
        },
        "missing": found(lambda x: tf.where(tf.math.is_nan(x), 0.0, x), x=vector),
        "unlike itself": found(lambda x: tf.where(x != x, 0.0, x), x=vector),
        "threshold": found(lambda x: tf.cast(x > 0.5, tf.int32) + tf.cast(x <= 2.5, tf.int32), x=vector),
        "relu6": found(lambda x: tf.clip_by_value(x, -1.0, 6.0), x=vector),
        "sorted": found(lambda x: tf.math.top_k(x, 2).values, x=vector),
        "suppressed": found(suppressed, boxes=([1, 9, 4], tf.float32), scores=([1, 9], tf.float32)),
        "calculated": found(lambda x: (x * 3 + 1) % 1000, x=integers),
        "branches": found(branches, x=integers),
        "indices": found(lambda x: tf.gather(tf.range(100), x + 1), x=integers),
        "counted": found(looped, n=([], tf.int64)),
        "lengths": found(lambda x: tf.sequence_mask(x), x=integers),
        "shape": found(lambda x: tf.zeros(x[0] * 2), x=integers),
    }


@pytest.fixture(scope="module")
def specials() -> dict[str, dict[str, Special]]:
    return run(of_models).value


@pytest.mark.parametrize("library", ["tf_keras", "keras"])
def test_of_finds_the_padding_when_layers_mask(specials: Any, library: str) -> None:
    assert specials[library]["words"].equal == (0,)
    assert specials[library]["series"].equal == (-10,)
    assert not specials[library]["words"].large


@pytest.mark.parametrize("model", ["missing", "unlike itself"])
def test_of_says_that_the_graph_looks_for_missing_numbers(specials: Any, model: str) -> None:
    assert specials[model]["x"].missing


def test_of_finds_thresholds_on_either_side(specials: Any) -> None:
    assert specials["threshold"]["x"].around == (0.5, 2.5)
    assert specials["relu6"]["x"].around == (6,)


def test_of_says_what_is_sorted_and_what_are_boxes(specials: Any) -> None:
    assert specials["sorted"]["x"].ranked
    boxes, scores = (specials["suppressed"][name] for name in ("boxes", "scores"))
    assert [boxes.boxes, boxes.ranked, scores.boxes, scores.ranked] == [True, False, False, True]


@pytest.mark.parametrize(
    ("model", "large"),
    [
        ("calculated", True),
        ("branches", True),
        ("indices", False),
        ("counted", False),
        ("lengths", False),
        ("shape", False),
    ],
)
def test_of_tells_numbers_from_indices_and_sizes(specials: Any, model: str, large: bool) -> None:
    (special,) = specials[model].values()
    assert special.large is large
    assert special.equal == ((3,) if model == "branches" else ())


def of_saved(folder: Path) -> dict[str, Special]:
    """The same, of a model that was saved and is loaded in a session."""
    import tensorflow as tf
    import tf_keras

    from converters.config import read
    from converters.source.bring_up import bring_up

    words = tf_keras.Input((5,), dtype="int32", name="words")
    hidden = tf_keras.layers.Embedding(9, 3, mask_zero=True)(words)
    model = tf_keras.Model(words, tf_keras.layers.GlobalAveragePooling1D()(hidden))
    tf.saved_model.save(model, str(folder))
    (endpoint,) = bring_up(read.find(str(folder))).endpoints.values()
    return {name: hint.special for name, hint in endpoint.hints().items()}


def test_of_finds_the_padding_when_the_model_is_a_saved_model(tmp_path: Path) -> None:
    (special,) = run(of_saved, tmp_path / "saved").value.values()
    assert special.equal == (0,)
