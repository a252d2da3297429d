"""Quantizing a float32 file by ai-edge-quantizer, which needs neither TensorFlow nor the model that the file was made of.

Over 9 models it makes float16, dynamic, int8 and int16x8 files as good as TensorFlow's converter does (0.6 dB of SNR less at
most, 24 dB more at best), in a fifteenth of the time; and variants that the converter has not.
"""

import io
import re
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from importlib.metadata import version
from typing import Any, TypeAlias

from converters.contract.errors import Unsupported, said
from converters.contract.values import Tensors
from converters.targets.tflite import flatbuffer

Recipe: TypeAlias = list[dict[str, Any]]
"""What is quantized how: rules in the quantizer's own format, of which a later one goes before an earlier one
(ai_edge_quantizer/recipe_manager.py)."""

MADE_BY = "quantized_by"
"""Name of the file's metadata that says so."""
STATIC = ("int8", "int8-io", "int16x8")
"""Kinds whose activations are quantized."""
BLOCK = 32
"""Elements that share a scale where weights have 4 bits and are of a dense layer: what XNNPACK's kernels are made for."""
_ELEMENTS = 1024
"""Weights that have fewer stay as they are in a dynamic-range file, as in TensorFlow's converter
(tensorflow/compiler/mlir/lite/quantization/lite/quantize_weights.cc)."""
_EVERY = {"regex": ".*", "operation": "*"}
_UNIFORM, _NOTHING = "min_max_uniform_quantize", "no_quantize"


def quantized(content: bytes, recipe: Recipe, samples: Iterable[tuple[str, Tensors]]) -> bytes:
    """The file with what the recipe names quantized. Samples, each with its signature's key, are asked for where ranges are.

    Raises Unsupported with what the quantizer says.
    """
    from ai_edge_quantizer.quantizer import Quantizer

    try:
        with _without_bars():
            quantizer = Quantizer(bytearray(content), recipe)
            ranges = _ranges(content, recipe, samples) if quantizer.need_calibration else None
            made = quantizer.quantize(ranges, enable_progress_report=False).quantized_model
    except Exception as error:  # each op's own code raises what it runs into
        raise Unsupported(f"the quantizer cannot: {said(error)}") from error
    assert made is not None
    model = flatbuffer.parse(bytes(made))
    flatbuffer.add_metadata(model, MADE_BY, f"ai-edge-quantizer {version('ai-edge-quantizer')}".encode())
    return flatbuffer.pack(model)


def _ranges(content: bytes, recipe: Recipe, samples: Iterable[tuple[str, Tensors]]) -> dict[str, Any]:
    """The least and greatest value of each tensor over all samples.

    The quantizer's own default is a moving average, in which the first sample counts more than all that follow: of 100
    samples it cost 9 dB of SNR, since values beyond a range are cut off.
    """
    from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
    from ai_edge_quantizer.recipe_manager import RecipeManager
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    uses = list(flatbuffer.uses(flatbuffer.parse(content)).values())
    hidden = sorted({op for use in uses for op in use.select_ops})
    hidden += ["a lookup table or variable"] if any(use.dtypes & {"RESOURCE", "VARIANT"} for use in uses) else []
    if hidden:
        # It reads every tensor, and those that the Flex delegate keeps to itself, and handles, are no memory to read.
        raise ValueError(f"its calibrator cannot read what {', '.join(hidden)} makes")
    rules = RecipeManager()
    rules.load_quantization_recipe(recipe)
    by_key: dict[str, list[Tensors]] = {}
    for key, sample in samples:
        by_key.setdefault(key, []).append(sample)
    mode = CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS
    calibrator = Calibrator(content, num_threads=2, mode=mode, qsv_update_func=min_max_update)
    calibrator.calibrate(by_key, rules)
    found: dict[str, Any] = calibrator.get_model_qsvs()
    return found


@contextmanager
def _without_bars() -> Iterator[None]:
    """What is shown of progress has no place in a log; its lock between processes would outlive one that is ended."""
    import tqdm

    tqdm.tqdm.set_lock(threading.RLock())
    with redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors")  # it is to look at each of them
        yield


def recipe(variant: str, content: bytes) -> Recipe:
    """That of a variant, for a float32 file. Raises KeyError where the quantizer makes none of that name."""
    made: Recipe = _RECIPES[variant](content)
    return made


def _float16(content: bytes) -> Recipe:
    weights = {"num_bits": 16, "symmetric": True, "granularity": "TENSORWISE", "dtype": "FLOAT"}
    how = {"weight_tensor_config": weights, "compute_precision": "FLOAT", "explicit_dequantize": True}
    return [{**_EVERY, "algorithm_key": "float_casting", "op_config": how}]


def _dynamic(content: bytes) -> Recipe:
    return [_weights(8, "CHANNELWISE", least=_ELEMENTS)]


def _weight_only(content: bytes) -> Recipe:
    return [_weights(8, "CHANNELWISE", computed="FLOAT")]


def _int4(content: bytes) -> Recipe:
    """Blocks where a dense layer's weights divide into them, and channels elsewhere: no kernel has blocks of a convolution."""
    rules = [_weights(4, "CHANNELWISE")]
    for name in _blockwise(flatbuffer.parse(content)):
        rule = _weights(4, f"BLOCKWISE_{BLOCK}")
        rules.append({**rule, "regex": f"^{re.escape(name)};?$", "operation": "FULLY_CONNECTED"})
    return rules


def _blockwise(model: Any) -> Iterator[str]:
    """The names of what dense layers with such weights make."""
    names = flatbuffer.op_names(model)
    for subgraph in model.subgraphs:
        for operator in subgraph.operators or ():
            if names[operator.opcodeIndex] == "FULLY_CONNECTED":
                shape = subgraph.tensors[operator.inputs[1]].shape
                if shape is not None and len(shape) and shape[-1] % BLOCK == 0:
                    yield subgraph.tensors[operator.outputs[0]].name.decode()


def _weights(bits: int, granularity: str, *, computed: str = "INTEGER", least: int = 0) -> dict[str, Any]:
    weights = {"num_bits": bits, "symmetric": True, "granularity": granularity, "dtype": "INT"}
    how = {
        "weight_tensor_config": weights,
        "compute_precision": computed,
        "explicit_dequantize": computed == "FLOAT",
        "min_weight_elements": least,
    }
    return {**_EVERY, "algorithm_key": _UNIFORM, "op_config": how}


def _static(bits: int, *, ends: bool) -> Recipe:
    """Weights of 8 bits and activations of so many, the signature's inputs and outputs (`ends`) too or in float."""
    rule = _weights(8, "CHANNELWISE")
    activations = {"num_bits": bits, "symmetric": bits == 16, "granularity": "TENSORWISE", "dtype": "INT"}
    rule["op_config"]["activation_tensor_config"] = activations
    left = [] if ends else [{**_EVERY, "operation": end, "algorithm_key": _NOTHING} for end in ("INPUT", "OUTPUT")]
    return [rule, *left]


_RECIPES: Mapping[str, Any] = {
    "float16": _float16,
    "dynamic": _dynamic,
    "int8": lambda content: _static(8, ends=False),
    "int8-io": lambda content: _static(8, ends=True),
    "int16x8": lambda content: _static(16, ends=False),
    "weight-only-int8": _weight_only,
    "int4": _int4,
}


_BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3, "CONV_3D": 2}
"""Op -> which of its inputs the bias is: where activations are floats it is left one, which costs next to nothing."""


def lacks(content: bytes, kind: str) -> int:
    """How much a file leaves in float32: bytes of large weights, or of a kind with quantized activations ops; 0 is best."""
    model = flatbuffer.parse(content)
    if kind in STATIC:
        return sum(len(use.float_ops) for use in flatbuffer.uses(model).values())
    names, left = flatbuffer.op_names(model), 0
    for subgraph in model.subgraphs:
        biases = {
            int(operator.inputs[_BIAS[name]])
            for operator in subgraph.operators or ()
            if (name := names[operator.opcodeIndex]) in _BIAS and len(operator.inputs) > _BIAS[name]
        }
        for index, tensor in enumerate(subgraph.tensors):
            data = model.buffers[tensor.buffer].data
            large = data is not None and len(data) >= 4 * _ELEMENTS and index not in biases
            if large and flatbuffer.dtype_name(tensor.type) == "FLOAT32":
                left += len(data)
    return left


def fault(rules: Any) -> str | None:
    """Why something is no recipe, as the quantizer says it; None where it is one."""
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        return "it is no list of rules"
    for number, rule in enumerate(rules):
        missing = [name for name in ("regex", "operation", "algorithm_key") if name not in rule]
        if not missing and rule["algorithm_key"] != _NOTHING and "op_config" not in rule:
            missing = ["op_config"]
        if missing:
            return f"rule {number} lacks {', '.join(map(repr, missing))}"
    from ai_edge_quantizer.recipe_manager import RecipeManager

    try:
        RecipeManager().load_quantization_recipe(rules)
    except Exception as error:  # as for `quantized`
        return said(error)
    return None
