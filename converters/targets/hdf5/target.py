"""HDF5: the whole model of a Keras source, or the variables of a source that is no Keras model."""

from collections.abc import Sequence
from typing import ClassVar

from converters.contract.settings import Tolerance
from converters.contract.target import Options, Runtime, Target, Trial, Variant
from converters.contract.values import Source
from converters.formats import code
from converters.targets.hdf5 import NAME, check, convert, describe, lacking

VARIANTS = (
    Variant(
        "model",
        Tolerance(error=1e-4, mismatch=0.0, reason="the same weights run by the same Keras, perhaps fused differently"),
        trial=Trial("keras", lacking.of_model),
    ),
    Variant(
        "weights",
        Tolerance(error=0.0, mismatch=0.0, reason="variables are stored, not computed: every byte must agree"),
    ),
)
KERAS = Runtime("keras", "tf-keras", check.run_models, check.keras_version, fresh=False)
H5PY = Runtime("h5py", "h5py", check.read_weights, check.h5py_version)


class Hdf5Options(Options):
    """HDF5's options. Without `variants`, what the source can have: see `chosen`."""

    known: ClassVar[tuple[Variant, ...]] = VARIANTS
    variants: tuple[str, ...] = ()


def chosen(source: Source, options: Hdf5Options) -> Sequence[str]:
    """The whole model for a Keras source, the weights alone for any other.

    Where nothing was asked for by name, the weights too of a model of which it is not known that HDF5 can hold it.
    """
    if options.variants or not source.is_keras:
        return options.variants or ("weights",)
    known = source.keras_file is not None and source.keras_file.suffix == ".h5"
    return ("model",) if known or options.required is None else ("model", "weights")


TARGET = Target(
    name=NAME,
    title="HDF5",
    options=Hdf5Options,
    convert=convert.convert,
    inspect=check.inspect,
    runtimes=(KERAS, H5PY),
    chosen=chosen,
    code=code.of_keras,
    describe={".keras": describe.keras_archive, ".h5": describe.hdf5, ".hdf5": describe.hdf5},
    packages={"tf-keras": "Keras 2 models, HDF5", "keras": "Keras 3 models"},
)
