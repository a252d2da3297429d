"""What a call costs, from its graph and the sizes of its inputs."""

from typing import Any

import numpy as np
import pytest

from converters.formats import flat
from converters.processes.child import run
from converters.reference import cost


def works(case: str, *shapes: tuple[int, ...]) -> list[int]:
    """Of calls with inputs of these shapes; for a child process."""
    import tensorflow as tf

    calls: dict[str, tuple[Any, list[int | None]]] = {
        "convolution": (lambda x: tf.nn.conv2d(x, tf.ones((3, 3, 2, 4)), 1, "SAME"), [None, None, None, 2]),
        "strided": (lambda x: tf.nn.conv2d(x, tf.ones((3, 3, 2, 4)), 2, "SAME"), [None, None, None, 2]),
        "transposed": (
            lambda x: tf.nn.conv2d_transpose(x, tf.ones((3, 3, 4, 2)), (1, 16, 16, 4), 2, "SAME"),
            [1, 8, 8, 2],
        ),
        "einsum": (lambda x: tf.einsum("...ij,jkl->...kli", x, tf.ones((5, 6, 7))), [None, 3, 5]),
        "steps": (
            lambda x: tf.while_loop(lambda n, h: n < 9, lambda n, h: (n + 1, h @ np.ones((4, 4), "f")), (0, x[:, 0]))[
                1
            ],
            [None, 9, 4],
        ),
    }
    function, shape = calls[case]
    concrete = tf.function(function).get_concrete_function(tf.TensorSpec(shape, tf.float32, name="x"))
    flattened = flat.of_concrete(concrete, {"x": concrete.inputs[0].name})
    return [cost.work(flattened, {"x": np.zeros(size, np.float32)}) for size in shapes]


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("case", "shape", "multiply_adds"),
    [
        ("convolution", (1, 8, 8, 2), 64 * 4 * 9 * 2),
        ("convolution", (3, 16, 8, 2), 6 * 64 * 4 * 9 * 2),
        ("strided", (1, 8, 8, 2), 16 * 4 * 9 * 2),
        ("transposed", (1, 8, 8, 2), 8 * 8 * 2 * 9 * 4),
        ("einsum", (2, 3, 5), 2 * 3 * 6 * 7 * 5),
        ("steps", (2, 9, 4), 2 * 9 * 16),
    ],
)
def test_work_counts_multiply_adds_of_the_sizes_that_are_given(
    case: str, shape: tuple[int, ...], multiply_adds: int
) -> None:
    (found,) = run(works, case, shape).value
    assert multiply_adds <= found <= 1.5 * multiply_adds + 200  # and the elements that are made


@pytest.mark.parametrize(
    ("works", "most", "chosen"),
    [
        ([16, 4, 1], 100, (0, 1, 2)),
        ([16, 4, 1], 20, (0, 2)),
        ([16, 4, 1], 15, (1, 2)),
        ([16, 4, 1], 1, (2,)),
        ([16, 4, 1], 0.5, ()),
        ([1, 16], 10, (0,)),
        ([], 10, ()),
    ],
)
def test_affordable_takes_the_last_call_first(works: list[int], most: float, chosen: tuple[int, ...]) -> None:
    assert cost.affordable(works, most) == chosen
