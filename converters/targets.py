"""What exists: every target by name, in the order a manifest lists them."""

from typing import cast

from converters import hdf5, saved_model, serving, tfjs, tflite
from converters.contract import Converter

TARGETS: dict[str, Converter] = {
    module.NAME: cast(Converter, module) for module in (saved_model, tflite, tfjs, hdf5, serving)
}
