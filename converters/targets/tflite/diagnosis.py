"""What the TF Lite converter's exception or log says, as one sentence: which op, which node, and what to do.

The converter reports through MLIR: one `error:` line for each op that has no kernel, with the op's location as
`loc(...)` (a fused location holds "OP:" and "NODE@FUNCTION"), then lists of the ops that select TF ops, or nothing,
can run (tensorflow/compiler/mlir/lite/flatbuffer_export.cc). Its quantizer and calibrator raise RuntimeError with a
plain text (tensorflow/compiler/mlir/lite/quantization, lite/tools/optimize).
"""

import re
from typing import Literal

from converters.contract.errors import MOST
from converters.contract.values import Frozen
from converters.formats.graph import named_ops

Need = Literal["select", "lists", "custom", "freeze", "quantize", "run", "other"]
"""What a failed TF Lite conversion lacks: select TF ops; these for tensor lists too; a kernel that exists nowhere; a frozen
graph; an int8 kernel; other kernels, since what was converted does not run."""
_LISTED = re.compile(r"^(TF Select|Flex|Custom) ops: *(.+)$", re.MULTILINE)
_NO_KERNEL = re.compile(r"error: (loc\(.*\)): '(?:tf|tfl)\.(\w+)' op (.+)")
_FUSED = re.compile(r'fused\["(\w*):", "([^"]+)"')
_NAMED = re.compile(r'"([^"]+)"')
_NOT_SEEN = re.compile(r"should be recorded during calibration: Failed for tensor (\S+)")
_NO_INT16 = re.compile(r"Quantization to 16x8-bit not yet supported for op: '?(\w+)'?")
_NO_INT8 = re.compile(r"[Qq]uantization (?:is )?not (?:yet )?supported for op: '?(\w+)'?")
_PINNED = re.compile(r"Cannot assign a device for operation ([^\s:]+):.*?(/device:(?!CPU)\w+:\d+)", re.DOTALL)
_LISTS = re.compile(r"'tf\.(TensorList\w+)' op requires element_shape to be (?:static|1D tensor)")


class Diagnosis(Frozen):
    """Why a conversion failed, in one sentence, and what would let it succeed. `ops` are those at fault."""

    need: Need
    sentence: str
    ops: tuple[str, ...] = ()


def of_tflite(error: BaseException) -> Diagnosis:
    """What made the TF Lite converter fail."""
    # Messages of C++ may quote the model's data, which is no text.
    log = error.object.decode(errors="replace") if isinstance(error, UnicodeDecodeError) else str(error)
    if found := _NO_INT16.search(log):
        sentence = f"op {found[1]} has no kernel for activations of 16 bits in TF Lite; use int8 or dynamic"
        return Diagnosis(need="quantize", sentence=sentence, ops=(found[1],))
    if found := _NOT_SEEN.search(log):
        sentence = (
            f"the calibrator of TF Lite does not see the values of {found[1]!r}, which a loop or branch passes on"
        )
        return Diagnosis(need="quantize", sentence=f"{sentence}; use dynamic or float32")
    if found := _NO_INT8.search(log):
        return _no_int8([found[1]])
    listed: dict[str, list[str]] = {}
    for kind, names in _LISTED.findall(log):
        ops = listed.setdefault("Custom" if kind == "Custom" else "Select", [])
        ops += [op for op in re.split(r",\s*", names.strip()) if op and op not in ops]
    nodes = _nodes(log)
    if "Custom" in listed:
        why = f"TF Lite has no kernel for {named_ops(listed['Custom'], nodes)}, built in or among the select TF ops"
        remedy = "do this part before or after the model, or write a custom op"
        return Diagnosis(need="custom", sentence=f"{why}; {remedy}", ops=tuple(listed["Custom"]))
    if "Select" in listed:
        why = f"TF Lite has no built-in kernel for {named_ops(listed['Select'], nodes)}"
        remedy = "allow select TF ops (select_ops: auto), or replace it"
        return Diagnosis(need="select", sentence=f"{why}; {remedy}", ops=tuple(listed["Select"]))
    if found := _LISTS.search(log):
        why = f"{named_ops([found[1]], nodes)} keeps a list of tensors whose shape varies with the batch, as loops of Keras do"
        remedy = "allow select TF ops (select_ops: auto), or fix the batch size"
        return Diagnosis(need="lists", sentence=f"{why}; {remedy}", ops=(found[1],))
    if found := _PINNED.search(log):
        why = f"node {found[1]} is pinned to {found[2]}, which is not here; export the model without devices"
        return Diagnosis(need="freeze", sentence=why)
    if "lift variables" in log:
        node = next(iter(nodes.items()), None)
        which = f" ({node[0]} at node {node[1]})" if node else ""
        why = f"a variable is written, or of TF 1's reference kind{which}; export a signature that only reads them"
        return Diagnosis(need="freeze", sentence=why)
    silent = f"{type(error).__name__} without a word of why; what it printed is in the log of this conversion"
    return Diagnosis(need="other", sentence=f"the TF Lite converter: {first_error(log) or silent}")


def first_error(log: str) -> str:
    """The first line of a log that says what is wrong, without MLIR's locations; '' where there is none."""
    lines = [" ".join(line.split()) for line in log.splitlines() if line.strip()]
    chosen = next((line for line in lines if "error:" in line), lines[0] if lines else "")
    chosen = re.sub(r"^.*?error: (?:loc\(.*?\)+: )?", "", chosen)
    return chosen[:MOST]


def _no_int8(ops: list[str]) -> Diagnosis:
    names = " and ".join(ops)
    sentence = f"op {names} has no int8 kernel in TF Lite; use dynamic, whose activations stay in float32"
    return Diagnosis(need="quantize", sentence=sentence, ops=tuple(ops))


def _nodes(log: str) -> dict[str, str]:
    """Op -> node of its first error line, as its location names it."""
    nodes: dict[str, str] = {}
    for location, op, _ in _NO_KERNEL.findall(log):
        fused = [name for kind, name in _FUSED.findall(location) if kind == op] or _NAMED.findall(location)
        if fused:
            nodes.setdefault(op, fused[0].partition("@")[0])
    return nodes
