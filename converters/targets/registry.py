"""What exists: every target by name, in the order a manifest lists them."""

from typing import cast

from converters.contract.values import Converter
from converters.targets.hdf5 import target as hdf5
from converters.targets.saved_model import target as saved_model
from converters.targets.serving import target as serving
from converters.targets.tfjs import target as tfjs
from converters.targets.tflite import target as tflite

TARGETS: dict[str, Converter] = {
    module.NAME: cast(Converter, module) for module in (saved_model, tflite, tfjs, hdf5, serving)
}
