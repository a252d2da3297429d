"""What is used of TensorFlow's inside is there.

Where one of these fails after an upgrade, `converters/formats/internals_tf.py` is what has to follow it.
"""

import pytest

from converters.formats import internals_tf
from converters.processes.child import run

pytestmark = pytest.mark.tensorflow


def names_of_placeholders() -> list[str | None]:
    """For a child process."""
    import tensorflow as tf

    function = tf.function(lambda Image, other: (Image, other))
    concrete = function.get_concrete_function(tf.TensorSpec([1]), tf.TensorSpec([1], name="named"))
    return [internals_tf.written_name(placeholder) for placeholder in concrete.inputs]


def outputs_by_op() -> dict[str, list[str]]:
    """For a child process."""
    return {op: [output.name for output in internals_tf.outputs_of(op)] for op in ("Unique", "Split", "NoSuchOp")}


def test_written_name_keeps_capitals_when_a_parameter_has_them() -> None:
    assert run(names_of_placeholders).value == ["Image", "named"], "placeholders have no _user_specified_name"


def test_outputs_of_names_them_when_the_op_is_known() -> None:
    expected = {"Unique": ["y", "idx"], "Split": ["output"], "NoSuchOp": []}
    assert run(outputs_by_op).value == expected, "tensorflow.python.framework.op_def_registry is not there"


def ops_of_frozen() -> list[str]:
    """For a child process."""
    import tensorflow as tf

    variable = tf.Variable(2.0)
    inner = tf.function(lambda x: x * variable)
    concrete = tf.function(lambda x: inner(x)).get_concrete_function(tf.TensorSpec([1]))
    return sorted({node.op for node in internals_tf.frozen_function(concrete).graph.as_graph_def().node})


def test_frozen_function_has_neither_variables_nor_calls() -> None:
    found = run(ops_of_frozen).value
    assert set(found) - {"NoOp"} == {"Const", "Identity", "Mul", "Placeholder"}, "convert_variables_to_constants_v2"
