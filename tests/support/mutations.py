"""Changes to the deployed bytes of a release, for every kind of file: a converter that went wrong in one place.

`of(folder, target, variant, rng)` lists them for one artifact as they are found in it: for every tensor of weights in
it several, and those of its signatures, its graph and its files. Each is a name and a function that changes a copy.
All of it runs in a child with TensorFlow.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import damage
import numpy as np

from converters.targets.tflite import flatbuffer
from tests.targets.saved_model import harms as saved_model_harms
from tests.targets.serving import harms as serving_harms
from tests.targets.tflite import harms as tflite_harms

Array = np.ndarray[Any, Any]
Change = Callable[[Path], Any]
"""Changes the artifact below a release's copy, which it is given."""


class Mutation(NamedTuple):
    """`kind` is the table's line, `what` the place."""

    kind: str
    what: str
    change: Change


class Written(NamedTuple):
    """A mutation's copy of the artifact, below `folder` as it was below the release."""

    kind: str
    what: str
    folder: Path


def write(release: Path, target: str, variant: str, place: Path, seed: int, older: Path | None) -> list[Written]:
    """Write a mutated copy for every mutation of one artifact; `older` is another release of the same model."""
    rng = np.random.default_rng(seed)
    written = []
    source = _home(release, target, variant)
    for number, mutation in enumerate(of(release, target, variant, rng, older)):
        folder = place / f"{target}-{variant}-{seed}-{number}"
        copy = folder / source.relative_to(release)
        copy.parent.mkdir(parents=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
        mutation.change(folder)
        written.append(Written(mutation.kind, mutation.what, folder))
    return written


def _home(release: Path, target: str, variant: str) -> Path:
    """The file or directory that holds the whole of an artifact."""
    if target == "tflite":
        return release / target / f"{variant}.tflite"
    if target == "hdf5":
        return release / target / f"{variant}.h5"
    return release / target / variant if target == "tfjs" else release / target


def of(release: Path, target: str, variant: str, rng: np.random.Generator, older: Path | None) -> Iterator[Mutation]:
    """Every mutation of one artifact."""
    home = _home(release, target, variant)
    here = home.relative_to(release)
    if older is not None:
        yield Mutation("older file", home.name, partial(_replace, here, _home(older, target, variant)))
    if target == "tflite":
        yield from _of_tflite(home, here, rng)
    elif target == "hdf5":
        yield from _of_hdf5(home, here, variant, rng)
    elif target == "tfjs":
        for path in sorted(home.rglob("model.json")):
            yield from _of_tfjs(path, path.relative_to(release), rng)
        models = sorted(home.rglob("model.json"))
        if len(models) > 1:
            yield Mutation("another's file", models[0].parent.name, lambda folder: _swap_files(folder, release, models))
    else:
        (saved_model,) = (path.parent for path in home.rglob("saved_model.pb"))
        yield from _of_saved_model(saved_model, saved_model.relative_to(release), rng)
        if target == "serving":
            yield from _of_serving(saved_model, saved_model.relative_to(release))


def _replace(here: Path, other: Path, folder: Path) -> None:
    if other.is_dir():
        shutil.rmtree(folder / here)
        shutil.copytree(other, folder / here)
        versions = [path for path in (folder / here).iterdir() if path.name.isdigit()]
        for version in versions:  # put in the newer one's place
            if here.name == "serving":
                version.rename(version.with_name("1"))
    else:
        shutil.copy(other, folder / here)


def _swap_files(folder: Path, release: Path, models: list[Path]) -> None:
    one, two = models[0].parent, models[1].parent
    shutil.rmtree(folder / one.relative_to(release))
    shutil.copytree(two, folder / one.relative_to(release))


# What is done to one tensor of weights.


def _zeroed(value: Array, rng: np.random.Generator) -> Array:
    return np.zeros_like(value)


def _flipped(value: Array, rng: np.random.Generator) -> Array:
    """One element with its most significant bit below the sign flipped (of a float, the exponent's)."""
    changed = np.array(value)
    raw = changed.reshape(-1).view(np.uint8).reshape(changed.size, changed.itemsize)
    raw[rng.integers(changed.size), -1] ^= 0x40
    return changed


def _negated(value: Array, rng: np.random.Generator) -> Array:
    return (-value.astype(np.int64)).clip(*_bounds(value)).astype(value.dtype) if value.dtype.kind == "i" else -value


def _shifted(value: Array, rng: np.random.Generator) -> Array:
    """Every element at its neighbour's place, as a wrong layout or an offset leaves them."""
    return np.roll(value.reshape(-1), 1).reshape(value.shape)


def _one_channel(value: Array, rng: np.random.Generator) -> Array:
    """One index of the last dimension zeroed: a lost filter, unit, or bias."""
    changed = np.array(value)
    changed[..., rng.integers(value.shape[-1])] = 0
    return changed


def _bounds(value: Array) -> tuple[int, int]:
    limits = np.iinfo(value.dtype)
    return int(limits.min), int(limits.max)


_ON_VALUES: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "weights zeroed": _zeroed,
    "bit flipped": _flipped,
    "sign changed": _negated,
    "weights shifted": _shifted,
    "channel zeroed": _one_channel,
}


def _changed_values(value: Array, rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """(kind, new value), where the value differs."""
    if value.dtype.kind not in "fi" and value.dtype != np.uint8 and value.dtype != np.uint16:
        return
    for kind, change in _ON_VALUES.items():
        if value.dtype.kind == "u" and kind == "sign changed":
            continue
        if kind == "channel zeroed" and (value.ndim == 0 or value.shape[-1] < 2):
            continue
        changed = change(value, rng)
        if changed.tobytes() != value.tobytes():
            yield kind, changed


# TF Lite


def _of_tflite(path: Path, here: Path, rng: np.random.Generator) -> Iterator[Mutation]:
    from ai_edge_litert import schema_py_generated as schema

    model = flatbuffer.parse(path.read_bytes())
    dtypes = {
        schema.TensorType.FLOAT32: np.float32,
        schema.TensorType.FLOAT16: np.float16,
        schema.TensorType.INT8: np.int8,
        schema.TensorType.INT32: np.int32,
        schema.TensorType.INT64: np.int64,
    }
    seen = set()
    for number, graph in enumerate(model.subgraphs):
        constant = [tensor for tensor in graph.tensors if model.buffers[tensor.buffer].data is not None]
        for tensor in constant:
            if tensor.buffer in seen or tensor.type not in dtypes or not len(model.buffers[tensor.buffer].data):
                continue
            seen.add(tensor.buffer)
            value = np.asarray(model.buffers[tensor.buffer].data).view(dtypes[tensor.type])
            shape = [] if tensor.shape is None else list(tensor.shape)
            for kind, changed in _changed_values(value.reshape(shape), rng):
                yield Mutation(kind, _text(tensor.name), _edit(here, "set_buffer", tensor.buffer, changed))
        for index, tensor in enumerate(graph.tensors):
            quantization = tensor.quantization
            if quantization is None or quantization.scale is None:
                continue
            for kind, factor, offset in (("scale changed", 2.0, 0), ("zero point changed", 1.0, 40)):
                if offset and tensor.type == schema.TensorType.INT32:
                    continue  # a bias has none
                change = _edit(here, "requantize", number, index, factor, offset)
                yield Mutation(kind, _text(tensor.name), change)
        for index, operator in enumerate(graph.operators):
            options = operator.builtinOptions
            if getattr(options, "fusedActivationFunction", None):
                yield Mutation("activation changed", f"operator {index}", _edit(here, "drop_activation", number, index))
            if len(operator.inputs) > 1 and operator.inputs[0] != operator.inputs[1]:
                yield Mutation("operands swapped", f"operator {index}", _edit(here, "swap_operands", number, index))
    for definition in model.signatureDefs:
        key = definition.signatureKey.decode()
        yield Mutation("signature renamed", key, _edit(here, "rename_tflite_signature", key, f"{key}_2"))
        yield Mutation("signature dropped", key, _edit(here, "drop_tflite_signature", key))
        yield Mutation("dtype changed", key, _edit(here, "set_tflite_dtype", key, schema.TensorType.INT32))
        yield Mutation("shape changed", key, _edit(here, "fix_tflite_batch", key, 3))
        if len(definition.outputs) == 2:
            yield Mutation("outputs swapped", key, _edit(here, "swap_tflite_outputs", key))
    yield Mutation("truncated", path.name, lambda folder: damage.truncate(folder / here, 0.7))


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _edit(here: Path, change: str, *args: Any) -> Change:
    return lambda folder: tflite_harms.edit_tflite(folder / here, change, *args)


# SavedModel and TF Serving


def _of_saved_model(saved_model: Path, here: Path, rng: np.random.Generator) -> Iterator[Mutation]:
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    prefix = saved_model / "variables" / "variables"
    if prefix.with_suffix(".index").is_file():
        checkpoint = tf.train.load_checkpoint(str(prefix))
        for name in sorted(checkpoint.get_variable_to_shape_map()):
            value = np.asarray(checkpoint.get_tensor(name))
            for kind, changed in _changed_values(value, rng) if value.dtype.kind == "f" else ():
                yield Mutation(kind, name, lambda f, n=name, v=changed: saved_model_harms.set_variable(f / here, n, v))
        (data,) = (saved_model / "variables").glob("variables.data-*")
        yield Mutation("truncated", data.name, lambda f: damage.truncate(f / here / "variables" / data.name))
        yield Mutation("shard dropped", data.name, lambda f: (f / here / "variables" / data.name).unlink())
    for asset in sorted((saved_model / "assets").glob("*")) if (saved_model / "assets").is_dir() else ():
        for line in range(len(asset.read_text().splitlines())):
            yield Mutation(
                "asset changed", f"line {line}", lambda f, a=asset, n=line: _swap_lines(f / here / "assets" / a.name, n)
            )
    proto = SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    for key, definition in sorted(proto.meta_graphs[0].signature_def.items()):
        if key.startswith("__"):
            continue
        outputs, inputs = sorted(definition.outputs), sorted(definition.inputs)

        def edit(kind: str, change: str, *args: Any, key: str = key) -> Mutation:
            return Mutation(kind, key, lambda f: saved_model_harms.edit_saved_model(f / here, change, *args))

        yield edit("signature renamed", "rename_signature", key, f"{key}_2")
        yield edit("signature dropped", "drop_signature", key)
        yield edit("dtype changed", "set_output_dtype", key, outputs[0], 2)
        yield edit("shape changed", "set_input_size", key, inputs[0], 7)
        if len(outputs) > 1:
            yield edit("outputs swapped", "swap_outputs", key, outputs[0], outputs[1])
            yield edit("output dropped", "drop_output", key, outputs[1])
    functions = proto.meta_graphs[0].graph_def.library.function
    for function in functions:
        for node in function.node_def:
            if node.op in ("Relu", "Tanh", "Softmax"):
                change = lambda f, o=function.signature.name, n=node.name: saved_model_harms.edit_saved_model(  # noqa: E731
                    f / here, "set_op", o, n, "Identity"
                )
                yield Mutation("activation changed", f"{function.signature.name}/{node.name}", change)


def _swap_lines(path: Path, number: int) -> None:
    """Another word in this line's place."""
    lines = path.read_text().splitlines()
    lines[number] = f"not-{lines[number]}"
    path.write_text("\n".join(lines) + "\n")


def _of_serving(servable: Path, here: Path) -> Iterator[Mutation]:
    from converters.targets.serving.layout import WARMUP
    from converters.targets.serving.warmup import requests

    recorded = requests(servable / WARMUP)

    def edit(kind: str, what: str, change: str, *args: Any) -> Mutation:
        return Mutation(kind, what, lambda f: serving_harms.edit_warmup(f / here / WARMUP, change, *args))

    for key in recorded:
        yield edit("warmup damaged", f"{key} dropped", "drop_request", key)
        yield edit("warmup damaged", f"{key} redirected", "redirect_request", key, f"{key}_2")
        yield edit("warmup damaged", f"{key} doubled and redirected", "add_request", key, f"{key}_2")
        for name, value in recorded[key].items():
            yield edit("warmup damaged", f"{key} {name} renamed", "rename_request_input", name, f"{name}_2")
            if value.dtype.kind in "fi":
                yield edit("warmup damaged", f"{key} {name} changed", "change_request_value", name)
                yield edit("warmup damaged", f"{key} {name} doubled and damaged", "double_request", key, name)
    yield Mutation("warmup damaged", "truncated", lambda f: damage.truncate(f / here / WARMUP))
    yield Mutation("warmup damaged", "removed", lambda f: (f / here / WARMUP).unlink())
    yield Mutation(
        "another version beside", "99", lambda f: shutil.copytree(f / here, (f / here).with_name("99")) and None
    )


# tensorflow.js


def _of_tfjs(path: Path, here: Path, rng: np.random.Generator) -> Iterator[Mutation]:
    model = json.loads(path.read_text())
    name = path.parent.name

    def edit(kind: str, what: str, change: Callable[..., Any], *args: Any) -> Mutation:
        return Mutation(kind, what, lambda f: _edit_json(f / here, change, *args))

    (group,) = model["weightsManifest"]
    content = b"".join((path.parent / shard).read_bytes() for shard in group["paths"])
    offset = 0
    places: dict[tuple[Any, ...], list[int]] = {}
    for index, weight in enumerate(group["weights"]):
        dtype = np.dtype(weight.get("quantization", weight)["dtype"])
        count = int(np.prod(weight["shape"], dtype=np.int64))
        value = np.frombuffer(content, dtype, count, offset).reshape(weight["shape"])
        places.setdefault((dtype, tuple(weight["shape"])), []).append(index)
        for kind, changed in _changed_values(value, rng):
            yield Mutation(
                kind, f"{name} {weight['name']}", lambda f, o=offset, v=changed: _overwrite(f / here, group, o, v)
            )
        offset += count * dtype.itemsize
        if "scale" in weight.get("quantization", {}):
            yield edit("scale changed", f"{name} {weight['name']}", _rescale, index)
    for alike in places.values():
        for one, two in pairwise(alike):
            yield edit("weights swapped", f"{name} {one} and {two}", _swap_weights, one, two)
    yield Mutation("truncated", name, lambda f: damage.truncate((f / here).with_name(group["paths"][0])))
    yield Mutation("wrong shard", name, lambda f: _wrong_shard(f / here))
    yield Mutation("shards reordered", name, lambda f: _split(f / here, reverse=True))
    for side in ("inputs", "outputs"):
        for tensor in model.get("signature", {}).get(side, {}):
            yield edit("signature renamed", f"{name} {tensor}", _rename_json, side, tensor)
            yield edit("dtype changed", f"{name} {tensor}", _retype_json, side, tensor)
    if len(model.get("signature", {}).get("outputs", {})) > 1:
        yield edit("outputs swapped", name, _swap_json)
    if "signature" in model:
        yield edit("signature dropped", name, lambda m: m.pop("signature"))
        for index, node in enumerate(model["modelTopology"]["node"]):
            if node["op"] in ("Relu", "Tanh", "Softmax"):
                yield edit("activation changed", f"{name} {node['name']}", _set_json_op, index, "Identity")
            if node["op"].startswith("_Fused") and len(node["attr"]["fused_ops"]["list"]["s"]) > 1:
                yield edit("activation changed", f"{name} {node['name']}", _unfuse, index)
    else:
        layers = model["modelTopology"]["model_config"]["config"]["layers"]
        for index, layer in enumerate(layers):
            if layer["config"].get("activation") not in (None, "linear"):
                yield edit("activation changed", layer["config"]["name"], _set_layer, index)
        ends = model["modelTopology"]["model_config"]["config"].get("output_layers", [])
        if len(ends) > 1:
            yield edit("outputs swapped", name, _swap_ends)


def _edit_json(path: Path, change: Callable[..., Any], *args: Any) -> None:
    model = json.loads(path.read_text())
    change(model, *args)
    path.write_text(json.dumps(model))


def _overwrite(path: Path, group: Any, offset: int, value: Array) -> None:
    for shard in group["paths"]:
        file = path.with_name(shard)
        content = bytearray(file.read_bytes())
        if offset < len(content):
            content[offset : offset + value.nbytes] = value.tobytes()
            file.write_bytes(content)
            return
        offset -= len(content)


def _rescale(model: Any, index: int) -> None:
    model["weightsManifest"][0]["weights"][index]["quantization"]["scale"] *= 2


def _swap_weights(model: Any, one: int, two: int) -> None:
    weights = model["weightsManifest"][0]["weights"]
    weights[one]["name"], weights[two]["name"] = weights[two]["name"], weights[one]["name"]


def _wrong_shard(path: Path) -> None:
    """Point at a file of the same size that is not the shard."""
    model = json.loads(path.read_text())
    paths = model["weightsManifest"][0]["paths"]
    content = path.with_name(paths[0]).read_bytes()
    path.with_name("other.bin").write_bytes(content[4:] + content[:4])
    paths[0] = "other.bin"
    path.write_text(json.dumps(model))


def _split(path: Path, *, reverse: bool) -> None:
    """The first shard as two, listed in the wrong order."""
    model = json.loads(path.read_text())
    paths = model["weightsManifest"][0]["paths"]
    content = path.with_name(paths[0]).read_bytes()
    middle = len(content) // 8 * 4
    path.with_name("a.bin").write_bytes(content[:middle])
    path.with_name("b.bin").write_bytes(content[middle:])
    paths[:1] = ["b.bin", "a.bin"] if reverse else ["a.bin", "b.bin"]
    path.write_text(json.dumps(model))


def _rename_json(model: Any, side: str, name: str) -> None:
    model["signature"][side][f"{name}_2"] = model["signature"][side].pop(name)


def _retype_json(model: Any, side: str, name: str) -> None:
    model["signature"][side][name]["dtype"] = "DT_BOOL"


def _swap_json(model: Any) -> None:
    outputs = model["signature"]["outputs"]
    one, two = list(outputs)[:2]
    outputs[one]["name"], outputs[two]["name"] = outputs[two]["name"], outputs[one]["name"]


def _set_json_op(model: Any, index: int, op: str) -> None:
    model["modelTopology"]["node"][index]["op"] = op


def _unfuse(model: Any, index: int) -> None:
    model["modelTopology"]["node"][index]["attr"]["fused_ops"]["list"]["s"].pop()


def _set_layer(model: Any, index: int) -> None:
    model["modelTopology"]["model_config"]["config"]["layers"][index]["config"]["activation"] = "linear"


def _swap_ends(model: Any) -> None:
    ends = model["modelTopology"]["model_config"]["config"]["output_layers"]
    ends[0], ends[1] = ends[1], ends[0]


# HDF5


def _of_hdf5(path: Path, here: Path, variant: str, rng: np.random.Generator) -> Iterator[Mutation]:
    import h5py

    found: dict[str, Array] = {}
    with h5py.File(path) as file:

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu":
                found[name] = item[()]

        file.visititems(visit)
        model = json.loads(file.attrs["model_config"]) if "model_config" in file.attrs else None
    places: dict[Any, list[str]] = {}
    for name, value in found.items():
        places.setdefault((value.dtype, value.shape), []).append(name)
        for kind, changed in _changed_values(np.asarray(value), rng):
            yield Mutation(kind, name, lambda f, n=name, v=changed: _set_dataset(f / here, n, v))
    for alike in places.values():
        for one, two in pairwise(alike):
            yield Mutation(
                "weights swapped", f"{one} and {two}", lambda f, a=one, b=two: _swap_datasets(f / here, a, b)
            )
    yield Mutation("truncated", path.name, lambda f: damage.truncate(f / here, 0.8))
    if variant == "weights":
        for name in found:
            yield Mutation("weights dropped", name, lambda f, n=name: _drop_dataset(f / here, n))
        return
    assert model is not None
    yield Mutation("layer order changed", "layer_names", lambda f: _reverse_layers(f / here))
    for index, layer in enumerate(model["config"]["layers"]):
        if layer["config"].get("activation") not in (None, "linear"):
            change = partial(
                _edit_config, here, lambda m, i=index: m["config"]["layers"][i]["config"].update(activation="linear")
            )
            yield Mutation("activation changed", layer["config"]["name"], change)
        if layer["class_name"] == "InputLayer":
            change = partial(
                _edit_config, here, lambda m, i=index: m["config"]["layers"][i]["config"].update(dtype="float64")
            )
            yield Mutation("dtype changed", layer["config"]["name"], change)
    if len(model["config"].get("output_layers", [])) > 1:
        yield Mutation(
            "outputs swapped", "", partial(_edit_config, here, lambda m: m["config"]["output_layers"].reverse())
        )


def _edit_config(here: Path, change: Callable[[Any], Any], folder: Path) -> None:
    import h5py

    with h5py.File(folder / here, "r+") as file:
        model = json.loads(file.attrs["model_config"])
        change(model)
        file.attrs["model_config"] = json.dumps(model)


def _set_dataset(path: Path, name: str, value: Array) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        file[name][...] = value


def _swap_datasets(path: Path, one: str, two: str) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        kept = file[one][()]
        file[one][...] = file[two][()]
        file[two][...] = kept


def _drop_dataset(path: Path, name: str) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        del file[name]


def _reverse_layers(path: Path) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        weights = file["model_weights"]
        weights.attrs["layer_names"] = weights.attrs["layer_names"][::-1]
