"""What TF Lite can be told: its variants, how exact each must be, and select TF ops."""

from typing import ClassVar, Literal

from pydantic import Field

from converters.contract.settings import Quality, Tolerance
from converters.contract.target import Options, Variant

# The limits are what a sound quantization keeps with room to spare: uniform 8-bit rounding of one tensor alone costs
# 6.02 * 8 = 48 dB of SNR (Bennett, Spectra of quantized signals, 1948), and depth takes most of it; at 10 dB the error has
# a third of the signal's amplitude, which uncorrelated leaves a cosine of 0.95.
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
    Variant(
        "int8",
        Tolerance(error=1e-1, mismatch=0.1, reason="weights and activations of 8 bits, ranges from calibration"),
        Quality(snr_db=10, cosine=0.95, top1=0.9),
        calibrated=True,
    ),
)


class TFLiteOptions(Options):
    """TF Lite's options."""

    known: ClassVar[tuple[Variant, ...]] = VARIANTS
    variants: tuple[str, ...] = tuple(variant.name for variant in VARIANTS)
    select_ops: Literal["auto", "never"] = Field(
        default="auto", description="use select TF ops where the built-in ones do not suffice; the app then needs Flex"
    )
