"""All that is used of TensorFlow (as of 2.19) beside its public interface, so that an upgrade breaks in one place."""

from typing import Any


def written_name(placeholder: Any) -> str | None:
    """An input's name as it was written, of a traced function's placeholder.

    Its attribute `_user_specified_name`. Without it None: the input of a parameter with capitals then has the small
    letters that TensorFlow's signature makes of its name.
    """
    try:
        return str(placeholder.op.get_attr("_user_specified_name").decode())
    except ValueError:
        return None


def outputs_of(op: str) -> list[Any]:
    """What an op returns (OpDef.ArgDef, op_def.proto), by its name; nothing of one that is not known here.

    Without `_definition` what a function's body does with an input is not followed beyond one op, and golden's inputs are
    drawn without what that would tell.
    """
    definition = _definition(op)
    return list(definition.output_arg) if definition is not None else []


def may_write(op: str) -> bool:
    """Whether an op has an effect beside what it returns, or takes a reference (OpDef.is_stateful, ArgDef.is_ref).

    Without `_definition` no op has, and a model that keeps state is found to be random.
    """
    definition = _definition(op)
    return definition is not None and (definition.is_stateful or any(arg.is_ref for arg in definition.input_arg))


def _definition(op: str) -> Any:
    """The OpDef of an op that is known here, from `tensorflow.python.framework.op_def_registry`; else None."""
    try:
        from tensorflow.python.framework import op_def_registry
    except ImportError:
        return None
    return op_def_registry.get(op)


def frozen_function(concrete: Any) -> Any:
    """A function with its variables as constants and the functions it calls in their callers' place, but for loops.

    `convert_variables_to_constants_v2`, which TensorFlow's own tools and guides use and its public interface lacks.
    Without it no statistics of the data that a model was trained on are found, and its inputs are drawn.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(concrete, lower_control_flow=False)
