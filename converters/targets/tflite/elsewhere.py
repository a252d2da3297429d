"""Which ops of a file two other runtimes of TF Lite's do not know: its GPU delegate, and TF Lite Micro. Of those that they know,
how they compute them and for which sizes is not looked at.

TensorFlow 2.19 has an analyzer that is to say this of the GPU delegate (`tf.lite.experimental.Analyzer`), but is built
without the delegate's rules: it calls any file compatible, one with WHILE and UNIQUE too.
"""

from typing import Any

from converters.targets.tflite import flatbuffer

_GPU = """
    ABS ADD ADD_N ATAN2 AVERAGE_POOL_2D BATCH_MATMUL CAST CEIL CONCATENATION CONV_2D COS CUMSUM DENSIFY DEPTHWISE_CONV_2D
    DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED
    GATHER GELU GREATER GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGISTIC LSTM MAXIMUM MAX_POOL_2D
    MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU
    RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SELECT_V2 SIGN SIN SLICE SOFTMAX
    SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STABLEHLO_CLAMP STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE
    TRANSPOSE_CONV Convolution2DTransposeBias MaxPoolingWithArgmax2D MaxUnpooling2D Resampler
"""
_MICRO = """
    ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO
    CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE
    ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER
    GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR
    LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE
    READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND
    RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE
    STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
    CIRCULAR_BUFFER TFLite_Detection_PostProcess
"""
KNOWN = {"the GPU delegate": frozenset(_GPU.split()), "TF Lite Micro": frozenset(_MICRO.split())}
"""The GPU delegate's are those that `CheckGpuDelegateCompatibility` admits for some sizes
(tensorflow/lite/tools/versioning/gpu_compatibility.cc); TF Lite Micro's those that the interpreter of its wheel
(tflite-micro 0.dev20261023182759) finds in its `PythonOpsResolver`, asked for every op of the schema."""
_MOST_NAMED = 5


def lacking(model: Any, key: str) -> str:
    """For each of the two the ops of a signature that it does not know, in a sentence."""
    used = sorted({op for op, _, _ in flatbuffer.operators(model, key)})
    told = []
    for runtime, known in KNOWN.items():
        unknown = [op for op in used if op not in known]
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        told.append(f"{runtime}: {', '.join(unknown[:_MOST_NAMED])}{more}" if unknown else f"{runtime}: none")
    return f"ops that are unknown to {'; to '.join(told)}"
