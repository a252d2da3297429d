"""What each target holds of a model of each kind: one table, every cell of it converted, run and compared."""

from collections.abc import Callable

import pytest
import samples
import zoo_sources
from samples import Sample

from converters.release.manifest import Row
from converters.steps.unit import plan

pytestmark = pytest.mark.usefixtures("kept_children")

Make = Callable[..., Sample]

COLUMNS = ("saved_model", "float32", "float16", "dynamic", "int8", "graph", "layers", "model", "weights", "serving")

TABLE = """
model                        signature        saved  f32 f16 dyn int8  graph layers  model weights  serving
tf_keras.sequential          serving_default    P     P   P   P   P      P     P       P     .        P
tf_keras.normalised          serving_default    P     P   P   P   P      P     P       P     .        P
tf_keras.recurrent           serving_default    P     P   P   P   P      P     U       P     .        P
tf_keras.nested              serving_default    P     P   P   P   P      P     P       P     .        P
tf_keras.text                serving_default    P     P   P   P   P      U     U       P     .        P
tf_keras.lookup              serving_default    P     P   P   P   P      P     U       P     .        P
tf_keras.custom              serving_default    P     P   P   P   P      P     U       U     .        P
tf_keras.mixed               serving_default    P     P   P   P   U      P     P       P     .        P
tf_keras.subclassed          serving_default    P     P   P   P   P      P     U       U     .        P
keras.sequential             serving_default    P     P   P   P   P      P     P       P     .        P
keras.normalised             serving_default    P     P   P   P   P      P     P       P     .        P
keras.recurrent              serving_default    P     P   P   P   P      P     U       P     .        P
keras.nested                 serving_default    P     P   P   P   P      P     U       P     .        P
keras.text                   serving_default    P     P   P   P   P      U     U       P     .        P
keras.lookup                 serving_default    P     P   P   P   U      P     U       P     .        P
keras.custom                 serving_default    P     P   P   P   P      P     U       U     .        P
keras.mixed                  serving_default    P     P   P   P   U      P     P       P     .        P
keras.subclassed             serving_default    P     P   P   P   P      P     U       U     .        P
file.tf_keras.keras          serving_default    P     P   P   P   P      P     P       P     .        P
file.tf_keras.h5             serving_default    P     P   P   P   P      P     P       P     .        P
file.keras.keras             serving_default    P     P   P   P   P      P     P       P     P        P
file.keras.h5                serving_default    P     P   P   P   P      P     P       P     P        P
module.signals               project            P     P   P   P   P      P     .       .     P        P
module.signals               determinant        P     P   P   P   P      U     .       .     P        P
module.signals               clean              P     P   P   P   U      U     .       .     P        P
module.signals               shout              P     U   U   U   U      U     .       .     P        P
saved_model.odd              scalars            P     P   P   P   P      P     .       .     P        P
saved_model.odd              dynamic            P     P   P   P   P      P     .       .     P        P
saved_model.odd              pixels             P     P   P   P   U      P     .       .     P        P
saved_model.odd              unranked           P     P   P   P   P      P     .       .     P        P
saved_model.estimator        serving_default    P     P   P   P   P      U     .       .     P        P
saved_model.estimator        classify           P     P   P   P   P      U     .       .     P        P
saved_model.estimator        regress            P     P   P   P   P      U     .       .     P        P
saved_model.old_parser       serving_default    P     P   P   P   P      U     .       .     P        P
saved_model.dense            serving_default    P     P   P   P   P      P     .       .     P        P
saved_model.twins            serve              P     P   P   P   P      P     .       .     P        P
saved_model.twins            serving_default    P     P   P   P   P      P     .       .     P        P
saved_model.pinned           serving_default    P     P   P   P   P      P     .       .     P        P
saved_model.vocabulary_file  serving_default    P     P   P   P   P      U     .       .     P        P
saved_model.sparse           dense              P     P   P   P   P      P     .       .     P        P
saved_model.sparse           sparse             U     U   U   U   U      U     .       .     P        U
"""
"""P passed; U unsupported, with the reason; . no row. `weights` is one row, for the file. No cell may be another."""

EXPECTED: dict[str, dict[str, tuple[str, ...]]] = {}
for _line in TABLE.strip().splitlines()[1:]:
    _model, _signature, *_cells = _line.split()
    EXPECTED.setdefault(_model, {})[_signature] = tuple(_cells)

REASONS = {
    ("module.signals", "int8", "clean"): "select TF ops (StringStrip) have no int8 kernels",
    ("module.signals", "graph", "determinant"): "tensorflow.js has no op MatrixDeterminant",
    ("module.signals", "graph", "clean"): "tensorflow.js has no op StringStrip",
    (
        "module.signals",
        "float32",
        "shout",
    ): "TF Lite has no kernel for StringUpper, built in or among the select TF ops",
    ("module.signals", "float32", "clean"): "uses select TF ops (StringStrip): the app needs the Flex delegate",
    (
        "module.signals",
        "float32",
        "determinant",
    ): "uses select TF ops (MatrixDeterminant): the app needs the Flex delegate",
    ("saved_model.pinned", "serving", "serving_default"): "its placement on /device:GPU:0 was cleared",
    ("saved_model.pinned", "graph", "serving_default"): "its placement on /device:GPU:0 was cleared",
    ("saved_model.sparse", "serving", "sparse"): "'given' is a sparse or composite tensor",
    (
        "saved_model.vocabulary_file",
        "graph",
        "serving_default",
    ): "tensorflow.js has no op InitializeTableFromTextFileV2",
    ("saved_model.estimator", "graph", "classify"): "tensorflow.js has no op ParseExampleV2",
    ("keras.nested", "layers", "serving_default"): "the Keras 3 model 'inner' is a layer of another",
    ("keras.mixed", "int8", "serving_default"): "in float16, which TF Lite does not quantize",
    ("keras.recurrent", "float32", "serving_default"): "uses select TF ops (TensorList",
}
"""What the row must say, beside its letter."""

_LETTERS = {"passed": "P", "unsupported": "U"}
_SHAPES = {"first": {"shape": [None, 3], "dtype": "float32"}, "second": {"shape": [None, 2], "dtype": "float32"}}


@pytest.mark.parametrize("model", EXPECTED)
def test_check_gives_the_cells_of_the_table_when_the_model_is(
    model: str, make_sample: Make, given_sample: Make
) -> None:
    sample = _sample(model, make_sample, given_sample)
    rows = [
        row
        for target, variant in plan(sample.source, sample.spec)
        for row in samples.converted(sample, target, variant).check()
    ]
    said = "\n".join(f"{_column(row)} {row.signature}: {row.status}: {row.reason}" for row in rows if row.reason)
    assert _cells_of(rows, EXPECTED[model]) == EXPECTED[model], said
    assert all(row.reason for row in rows if row.status == "unsupported")
    for (named, column, signature), words in REASONS.items():
        if named == model:
            reasons = [row.reason for row in rows if _column(row) == column and row.signature == signature]
            assert [words in (reason or "") for reason in reasons] == [True], said
    library, _, name = model.partition(".")
    if name in zoo_sources.KERAS_MODELS:
        assert (sample.source.kind, sample.source.keras_problem) == (library, None)
        _, inputs, outputs = zoo_sources.KERAS_MODELS[name]
        signature = sample.source.signatures["serving_default"]
        assert set(signature.inputs) == set(inputs)
        assert name == "nested" or set(signature.outputs) == set(outputs)


def _sample(model: str, make_sample: Make, given_sample: Make) -> Sample:
    kind, _, name = model.partition(".")
    if kind == "module":
        return make_sample(zoo_sources.SIGNALS)
    if name in zoo_sources.KERAS_MODELS:
        fields = {"inputs": _SHAPES} if name == "subclassed" else {}
        return make_sample(zoo_sources.keras_builder(name, kind), **fields)
    if kind == "file":
        library, _, ending = name.rpartition(".")
        return given_sample(zoo_sources.keras_file, library, ending=f".{ending}")
    return given_sample(getattr(zoo_sources, name))


def _cells_of(rows: list[Row], signatures: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    keys = {**signatures, **{row.signature: () for row in rows if row.signature is not None}}
    return {key: tuple(_cell(rows, column, key) for column in COLUMNS) for key in keys}


def _cell(rows: list[Row], column: str, signature: str) -> str:
    """A letter; the status itself where the table has none for it."""
    of_column = [row for row in rows if _column(row) == column]
    # A file of weights is one row without a signature, for all of them.
    own = [row for row in of_column if row.signature == (None if column == "weights" else signature)]
    return "/".join(_LETTERS.get(row.status, row.status) for row in own) or "."


def _column(row: Row) -> str:
    return row.target if row.variant == "default" else row.variant
