"""TF Serving: a servable in a directory named by its version, with warmup requests, and the ModelServer's config.

Layout and file names: tensorflow_serving/servables/tensorflow/{saved_model_warmup_util.cc,saved_model_warmup.cc}.
"""

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from converters.contract.target import Options, Runtime, Target, Variant
from converters.formats import code
from converters.targets.saved_model.target import C_LOADER, DEFAULT
from converters.targets.serving import NAME, check, convert, model_server

WARMUP = replace(C_LOADER, name="warmup", run=check.replay)
MODEL_SERVER = Runtime(
    model_server.NAME, model_server.PROGRAM, model_server.predict, model_server.look, find=model_server.find
)


class ServingOptions(Options):
    """TF Serving's options."""

    known: ClassVar[tuple[Variant, ...]] = (DEFAULT,)
    require_server: bool = Field(
        default=False, description="a machine without a ModelServer fails the rows, rather than leave its check out"
    )

    def requires(self, runtime: str) -> bool:
        """The ModelServer, where the field says so."""
        return runtime == MODEL_SERVER.name and self.require_server


TARGET = Target(
    name=NAME,
    title="TF Serving",
    options=ServingOptions,
    convert=convert.convert,
    inspect=check.inspect,
    runtimes=(C_LOADER, WARMUP, MODEL_SERVER),
    code=code.of_saved_model,
    packages={"tensorflow-serving-api": "TF Serving's warmup requests and config"},
)
