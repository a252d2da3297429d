"""What users met: models of `field_models`, each ending as it should, and no passed row wrong on inputs of theirs."""

from collections.abc import Callable, Iterator

import field
import pytest
from samples import Sample
from staying import staying

Make = Callable[..., Sample]

COLUMNS = ("float32", "graph", "layers", "model")
TABLE = """
                            f32 graph layers model  what is said
masked_average               P    P     U      P    ignores the mask that layer 'global_average_pooling1d'
masked_average3              P    P     U      U    tensorflow.js has no layer for the operation NotEqual
masked_through_convolution   P    P     U      P    gives layer 'lstm' (LSTM) the mask of an earlier layer
masked_sum                   P    P     U      P    does not join the masks of all inputs of layer 'add'
masked_recurrent             P    P     P      P
masked_sequence              P    P     U      P    does not return zeros for the masked steps of layer 'both' (Bidirectional)
masked_attention             P    P     U      P    ignores the mask that layer 'attention' (Attention) is given
scaled_smoothly              P    P     U      P    computes layer 'up_sampling2d' (UpSampling2D with interpolation='bilinear')
scaled_plainly               P    P     P      P
resized3                     P    P     U      P    layer 'resizing' (Resizing
leaking3                     P    P     U      P    ignores its negative_slope=0.1
normalised_by_batch          P    U     U      P    ignores its training=True
dilated                      P    P     U      P    computes layer 'depthwise_conv2d' (DepthwiseConv2D
causal3                      P    P     U      P    CAUSAL padding
by_name                      P    P     P      P
by_name3                     P    P     P      P
operated3                    P    P     U      U    Only input tensors may be passed as positional arguments
listed                       P    P     U      U
listed3                      P    P     U      U
positional                   P    P     U      U
positional3                  P    P     U      U
coefficients                 P    U     .      .    RFFT2D takes lengths that are powers of two
suppressed                   P    P     .      .    returns its largest number of entries, padded
suppressed_and_padded        P    F     .      .    values on node
"""
"""P passed, U unsupported, F failed, as golden shows, . no row; and words of a row's reason."""
LINES = [line.split(maxsplit=len(COLUMNS) + 1) for line in TABLE.strip().splitlines()[1:]]
_LETTERS = {"passed": "P", "unsupported": "U", "failed": "F"}
_PAIR = {name: {"shape": [None, 4], "dtype": "float32"} for name in ("right", "left")}
FIELDS: dict[str, dict[str, object]] = {
    **{name: {"inputs": _PAIR} for name in ("listed", "listed3", "positional", "positional3")},
    **{name: {"golden": {"data": "tiny.py:boxes"}} for name in ("suppressed", "suppressed_and_padded")},
    "resized3": {"golden": {"inputs": {"image": {"low": 0, "high": 255}}}},
}
_KERAS = {"tflite": {"variants": ["float32"]}, "tfjs": None, "hdf5": {"variants": ["model"]}}
_MODULE = {"tflite": {"variants": ["float32"]}, "tfjs": None}


@pytest.fixture(scope="module", autouse=True)
def kept() -> Iterator[None]:
    with staying():
        yield


@pytest.mark.tensorflow
@pytest.mark.browser
@pytest.mark.parametrize("line", LINES, ids=[line[0] for line in LINES])
def test_every_row_ends_as_it_should_and_is_right_on_fresh_inputs(line: list[str], make_sample: Make) -> None:
    (
        name,
        *cells,
    ) = line[: len(COLUMNS) + 1]
    targets = _MODULE if cells[-1] == "." else _KERAS
    sample = make_sample(field.CODE, model=f"tiny.py:{name}", targets=targets, **FIELDS.get(name, {}))
    judged = field.rows(sample)
    said = "\n".join(f"{row.title}: {row.status}: {row.reason}" for row, _ in judged)
    found = {row.variant: _LETTERS.get(row.status, row.status) for row, _ in judged}
    assert [found.get(column, ".") for column in COLUMNS] == cells, said
    assert {row.title: wrong for row, wrong in judged if wrong} == {}
    assert " ".join(line[len(COLUMNS) + 1 :]) in said
