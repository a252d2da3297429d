"""Long imports made shorter: Python's garbage collector rests meanwhile, and what is imported without use stays out."""

import gc
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import in the block: the collector rests meanwhile, and what is there at its end is never looked at again.

    Of TensorFlow's import it takes a fifth. In a process that is forked its looking would copy pages, too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


def end() -> None:
    """Called last: the interpreter then ends without looking for what it could free, which takes it a third of a second."""
    gc.freeze()


@contextmanager
def without_unused() -> Iterator[None]:
    """Import TensorFlow and tensorflowjs in the block: what they import at their top, and nothing here uses, is stood in for.

    tensorflowjs names packages that only other models and commands of it need, and that are not installed
    ([tool.uv] in pyproject.toml). Keras 3 imports scikit-learn and matplotlib if it can, for wrappers and plots that no
    model is made of: a twenty-fifth of the time. After the block the user's code can import any of them that is installed.
    """
    jax_conversion = types.ModuleType("tensorflowjs.converters.jax_conversion")
    jax_conversion.convert_jax = None  # type: ignore[attr-defined]
    empty = [jax_conversion, types.ModuleType("tensorflow_decision_forests"), types.ModuleType("tensorflow_hub")]
    absent = dict.fromkeys(("sklearn", "matplotlib"))  # an import takes None for a package that is not installed
    stand_ins = {**absent, **{module.__name__: module for module in empty}}
    stand_ins = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(stand_ins)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in stand_ins:
            sys.modules.pop(name, None)
