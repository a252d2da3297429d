"""The toy: what it is called, how exact it must be, and where it runs."""

from typing import ClassVar

from converters.contract.settings import Tolerance
from converters.contract.target import Options, Runtime, Target, Variant
from fanout_toy import NAME, check, convert, describe

VARIANTS = (Variant("default", Tolerance(error=1e-5, mismatch=0.0, reason="float32 sums in another order")),)


class ToyOptions(Options):
    """The toy's options."""

    known: ClassVar[tuple[Variant, ...]] = VARIANTS


TARGET = Target(
    name=NAME,
    title="the toy",
    options=ToyOptions,
    convert=convert.convert,
    inspect=check.inspect,
    runtimes=(Runtime("numpy", "the toy's NumPy", check.run, check.version),),
    describe={".npz": describe.npz},
    packages={"fanout-toy": "linear models as .npz"},
)
