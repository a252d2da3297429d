"""What TF Lite can be told: its variants, how exact each must be, fixed sizes, a recipe, and select TF ops."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue

from converters.contract.errors import BadInput, said
from converters.contract.settings import Quality, Tolerance
from converters.contract.target import Options, Variant
from converters.contract.values import Signature, Source
from converters.targets.tflite import quantizing, sizes
from converters.targets.tflite.quantizing import STATIC
from converters.targets.tflite.sizes import Sizes

# The limits are what a sound quantization keeps with room to spare: uniform 8-bit rounding of one tensor alone costs
# 6.02 * 8 = 48 dB of SNR (Bennett, Spectra of quantized signals, 1948), and depth takes most of it; at 10 dB the error has
# a third of the signal's amplitude, which uncorrelated leaves a cosine of 0.95. Four bits leave 24 dB of one tensor.
_STATIC = Tolerance(error=1e-1, mismatch=0.1, reason="weights and activations of 8 bits, ranges from calibration")
_OF_STATIC = Quality(snr_db=10, cosine=0.95, top1=0.9)
RECIPE = "recipe"
VARIANTS = (
    Variant("float32", Tolerance(error=1e-4, mismatch=0.0, reason="float32 throughout; XNNPACK sums in another order")),
    Variant(
        "float16",
        Tolerance(error=1e-2, mismatch=0.02, reason="weights keep 11 bits; the error grows with depth"),
        Quality(snr_db=25, cosine=0.99, top1=0.98),
    ),
    Variant(
        "dynamic",
        Tolerance(error=5e-2, mismatch=0.05, reason="weights of 8 bits, activations quantized per batch"),
        Quality(snr_db=12, cosine=0.96, top1=0.95),
    ),
    Variant("int8", _STATIC, _OF_STATIC, calibrated=True),
    Variant("int8-io", _STATIC, _OF_STATIC, calibrated=True),
    Variant(
        "int16x8",
        Tolerance(error=5e-2, mismatch=0.05, reason="weights of 8 bits, activations of 16, ranges from calibration"),
        Quality(snr_db=12, cosine=0.96, top1=0.95),
        calibrated=True,
    ),
    Variant(
        "weight-only-int8",
        Tolerance(error=5e-2, mismatch=0.05, reason="weights of 8 bits, computed in float32"),
        Quality(snr_db=12, cosine=0.96, top1=0.95),
    ),
    Variant(
        "int4",
        Tolerance(error=5e-1, mismatch=0.3, reason="weights of 4 bits, activations quantized per batch"),
        Quality(snr_db=5, cosine=0.85, top1=0.7),
    ),
    Variant(
        RECIPE,
        Tolerance(error=5e-1, mismatch=0.3, reason="as the config's recipe has it"),
        Quality(snr_db=5, cosine=0.85, top1=0.7),
        calibrated=True,
    ),
)
CONVERTED = ("float32", "float16", "dynamic", *STATIC)
"""What TensorFlow's converter can make."""
QUANTIZED: Mapping[str, tuple[str, str]] = {
    "int8": ("INT8", "dynamic or float32"),
    "int8-io": ("INT8", "dynamic or float32"),
    "int16x8": ("INT16", "dynamic or float32"),
    "weight-only-int8": ("INT8", "float32"),
    "int4": ("INT4", "dynamic or float32"),
}
"""Kinds that hold tensors of a type, and what to use where a model has none that could be of it."""
WEIGHTS_ALONE = "weight-only-int8"
"""The kind that computes in float32."""
INTEGER_ENDS = "int8-io"
"""The kind whose inputs and outputs are integers."""
DEFAULT = ("float32", "float16", "dynamic", "int8")


class TFLiteOptions(Options):
    """TF Lite's options."""

    known: ClassVar[tuple[Variant, ...]] = VARIANTS
    variants: tuple[str, ...] = DEFAULT
    shapes: tuple[Sizes, ...] = Field(
        default=(),
        description="fixed sizes for a file of each variant more: batch: 1, or an input's name: its whole shape; or a list of such",
    )
    recipe: str | list[dict[str, Any]] | None = Field(
        default=None,
        description="a JSON file of ai-edge-quantizer's rules, or these themselves, by which the variant 'recipe' is made",
    )
    select_ops: Literal["auto", "never"] = Field(
        default="auto", description="use select TF ops where the built-in ones do not suffice; the app then needs Flex"
    )

    @field_validator("shapes", mode="before", json_schema_input_type=Sizes | tuple[Sizes, ...])
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _consistent(self) -> "TFLiteOptions":
        labels = [each.label for each in self.shapes]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"shapes: {label!r} is given twice")
        if self.recipe is None and RECIPE in self.variants:
            raise ValueError("recipe: the variant 'recipe' needs it: a file with its rules")
        if self.recipe is not None and RECIPE not in self.variants:
            raise ValueError("recipe: it is for the variant 'recipe', which is not among 'variants'")
        return self

    def fixes(self, signature: Signature) -> list[Signature]:
        """In those of `shapes` that can be the signature's."""
        return [sizes.fixed(signature, each) for each in self.shapes if sizes.fault(signature, each) is None]

    def read(self, base: Path) -> "TFLiteOptions":
        """With the recipe's rules in place of the file that holds them."""
        rules: Any = self.recipe
        where = "recipe"
        if isinstance(rules, str):
            where = f"recipe ({rules})"
            try:
                rules = json.loads((base / rules).expanduser().read_text())
            except (OSError, ValueError) as error:
                raise BadInput(f"{where}: it cannot be read as JSON: {said(error)}") from error
        if rules is not None and (fault := quantizing.fault(rules)) is not None:
            raise BadInput(f"{where}: {fault}; see ai-edge-quantizer's recipes")
        return self.model_copy(update={"recipe": rules})

    @classmethod
    def kind_of(cls, variant: str) -> str:
        """The variant without the sizes at its end."""
        fitting = [known.name for known in cls.known if variant == known.name or variant.startswith(f"{known.name}-")]
        return max(fitting, key=len, default=variant)

    @classmethod
    def variant_schema(cls) -> JsonSchemaValue:
        """Those, and any with sizes at their end; which of them there are is said by `shapes`."""
        known = super().variant_schema()
        return {"anyOf": [known, {"pattern": f"^({'|'.join(known['enum'])})-(batch[0-9]+|[0-9]+(x[0-9]+)*)"}]}

    def has(self, variant: str) -> bool:
        """Known, or of one of the fixed sizes."""
        return variant in self._forms()

    def sizes_of(self, variant: str) -> Sizes | None:
        """What the variant fixes; None where sizes are the model's."""
        return self._forms()[variant]

    def _forms(self) -> dict[str, Sizes | None]:
        forms: dict[str, Sizes | None] = {known.name: None for known in self.known}
        return forms | {f"{known.name}-{each.label}": each for known in self.known for each in self.shapes}


def chosen(source: Source, options: TFLiteOptions) -> Sequence[str]:
    """The variants, and each of them in each of the fixed sizes."""
    return [*options.variants, *(f"{variant}-{each.label}" for each in options.shapes for variant in options.variants)]


def promises(options: TFLiteOptions, variant: str, signature: Signature) -> Signature:
    """The model's signature in the variant's sizes."""
    fixed = options.sizes_of(variant)
    return signature if fixed is None else sizes.fixed(signature, fixed)
