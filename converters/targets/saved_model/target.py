"""SavedModel: what the export wrote, run by the C++ loader in a process without Python's TensorFlow."""

from typing import ClassVar

from converters.contract.settings import Tolerance
from converters.contract.target import Options, Runtime, Target, Variant
from converters.formats import code
from converters.targets.saved_model import NAME, check, convert, describe

DEFAULT = Variant(
    "default",
    Tolerance(error=1e-4, mismatch=0.0, reason="the same float32 kernels, fused and ordered differently by grappler"),
    usual_seconds=1.5,
)
C_LOADER = Runtime("c-loader", "tensorflow C library", check.predict, check.version, stays="c-loader")


class SavedModelOptions(Options):
    """The SavedModel's options."""

    known: ClassVar[tuple[Variant, ...]] = (DEFAULT,)


TARGET = Target(
    name=NAME,
    title="SavedModel",
    options=SavedModelOptions,
    convert=convert.convert,
    inspect=check.inspect,
    runtimes=(C_LOADER,),
    always=True,
    code=code.of_saved_model,
    describe={"saved_model.pb": describe.saved_model_pb, "saved_model.pbtxt": describe.saved_model_pb},
    packages={"tensorflow": "building, exporting, TF Lite"},
)
