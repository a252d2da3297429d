"""What a model file holds, for a person or as JSON: signatures, ops, parameters, weights. Nothing in it is run."""

import json
import math
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from converters.contract.errors import BadInput, Damaged, raised, said
from converters.contract.values import Artifact, Signature
from converters.formats import graph, keras_config, saved_model, variables
from converters.reference.golden import VARIABLES
from converters.targets import tfjs, tflite
from converters.targets.tfjs import check as tfjs_check
from converters.targets.tflite import check as tflite_check

Description: TypeAlias = dict[str, Any]
"""JSON-ready. Always `path`, `format` and `bytes`; the rest depends on the format."""

_KNOWN = "a SavedModel directory, a .keras, .h5 or .tflite file, or a tensorflow.js model.json"


def describe(path: Path) -> Description:
    """What the file or directory holds. Call it in a child process: it imports TensorFlow for most formats.

    Raises:
        BadInput: the path is missing, of no known format, or damaged; says which.
    """
    if not path.exists():
        raise BadInput(f"{path} does not exist; give {_KNOWN}")
    if path.name in ("saved_model.pb", "saved_model.pbtxt"):
        path = path.parent
    try:
        found = _describe(path)
    except Damaged as error:
        raise BadInput(f"{path}: {error}") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    return {"path": str(path), **found}


def _describe(path: Path) -> Description:
    if path.is_dir():
        if any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
            return _saved_model(path)
        if (path / "model.json").is_file():
            return _tfjs(path / "model.json")
        raise BadInput(f"{path} is no SavedModel: it holds no saved_model.pb; give {_KNOWN}")
    readers = {".keras": _keras_archive, ".h5": _hdf5, ".hdf5": _hdf5, ".tflite": _tflite, ".json": _tfjs}
    if path.suffix not in readers:
        raise BadInput(f"{path} is of no known format; give {_KNOWN}")
    return readers[path.suffix](path)


def _saved_model(path: Path) -> Description:
    import tensorflow as tf

    meta_graphs = saved_model.read_all(path)
    try:
        weights = variables.of_saved_model(path)
        parameters = sum(int(value.size) for value in weights.values())
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise Damaged(f"its variables cannot be read: {said(error)}") from error
    files = [file for file in path.rglob("*") if file.is_file()]
    return {
        "format": "SavedModel",
        "bytes": sum(file.stat().st_size for file in files),
        "parameters": parameters,
        "variables": len(weights),
        "assets": sorted(file.name for file in files if file.parent.name == "assets"),
        "tag_sets": [
            {
                "tags": sorted(meta_graph.meta_info_def.tags),
                "tensorflow": meta_graph.meta_info_def.tensorflow_version or None,
                "signatures": _signatures(saved_model.signatures(meta_graph)),
                "ops": counted(_used_ops(meta_graph)),
            }
            for meta_graph in meta_graphs
        ],
    }


def _used_ops(meta_graph: Any) -> Iterator[str]:
    """Ops that signatures' outputs depend on, a function's once however often it is called; saving's are left out."""
    nodes = graph.reached(meta_graph, meta_graph.signature_def)
    bodies = graph.called(nodes, graph.functions(meta_graph.graph_def))
    yield from (node.op for node in [*nodes, *(node for body in bodies for node in body.node_def)])


def _keras_archive(path: Path) -> Description:
    import h5py

    try:
        with zipfile.ZipFile(path) as archive:
            metadata, config = (json.loads(archive.read(name)) for name in ("metadata.json", "config.json"))
            with archive.open("model.weights.h5") as stored, h5py.File(stored, "r") as weights:
                parameters = _parameters(weights)
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise Damaged(f"it is no .keras archive, or an incomplete one: {said(error)}") from error
    return _keras(config, metadata.get("keras_version"), "Keras archive", path, parameters)


def _hdf5(path: Path) -> Description:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                return _weights_file(file, path)
            config = json.loads(file.attrs["model_config"])
            parameters = _parameters(file["model_weights"])
            return _keras(config, _text(file.attrs.get("keras_version")), "Keras HDF5 model", path, parameters)
    except (KeyError, ValueError, OSError) as error:
        raise Damaged(f"it is no HDF5 file, or an incomplete one: {said(error)}") from error


def _keras(config: Any, version: str | None, kind: str, path: Path, parameters: int) -> Description:
    layers = config["config"]["layers"] if keras_config.is_supported(config) else []
    try:
        signatures = {"call": keras_config.signature(config)}
    except Damaged:  # a subclassed model's config has neither layers nor inputs
        signatures = {}
    return {
        "format": kind,
        "bytes": path.stat().st_size,
        "keras": version,
        "class": config.get("class_name"),
        "signatures": _signatures(signatures),
        "parameters": parameters,
        "layers": [{"name": layer["config"].get("name"), "class": layer["class_name"]} for layer in layers],
    }


def _weights_file(file: Any, path: Path) -> Description:
    """Weights without a model: as this project writes them, where each dataset has its variable's name, or Keras's."""
    ours = VARIABLES in file
    datasets = {
        str(dataset.attrs.get("name", name)) if ours else name: {
            "dtype": str(dataset.attrs.get("dtype", dataset.dtype)),
            "shape": list(dataset.shape),
        }
        for name, dataset in _datasets(file)
    }
    return {
        "format": "HDF5 weights",
        "bytes": path.stat().st_size,
        "keras": _text(file.attrs.get("keras_version")),
        "parameters": _parameters(file),
        "datasets": dict(sorted(datasets.items())),
    }


def _datasets(group: Any) -> list[tuple[str, Any]]:
    """(path, dataset) of all below an HDF5 group."""
    import h5py

    found: list[tuple[str, Any]] = []
    group.visititems(lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None)
    return found


def _parameters(group: Any) -> int:
    """Elements of all datasets but an optimizer's or a metric's state and random generators' seeds."""
    names = ((name.split("/"), dataset) for name, dataset in _datasets(group))
    return sum(
        math.prod(dataset.shape)
        for parts, dataset in names
        if parts[0] not in ("optimizer", "metrics") and "seed_generator" not in parts
    )


def _tflite(path: Path) -> Description:
    from tensorflow.lite.python import schema_py_generated as schema

    signatures = tflite_check.inspect(Artifact(target=tflite.NAME, variant="", signature=None, path=path)).signatures
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    names = [_op_name(code, schema) for code in model.operatorCodes or ()]
    custom = [_text(code.customCode) for code in model.operatorCodes or () if code.customCode]
    ops = [[names[op.opcodeIndex] for op in graph.operators or ()] for graph in model.subgraphs]
    return {
        "format": "TF Lite",
        "bytes": path.stat().st_size,
        "schema": model.version,
        "min_runtime": _min_runtime(model),
        "signatures": _signatures(signatures),
        "subgraphs": [
            {"name": _text(graph.name), "tensors": len(graph.tensors), "ops": len(used)}
            for graph, used in zip(model.subgraphs, ops, strict=True)
        ],
        "ops": counted(name for used in ops for name in used),
        "select_tf_ops": sorted(name for name in custom if name and name.startswith("Flex")),
        "custom_ops": sorted(name for name in custom if name and not name.startswith("Flex")),
    }


def _op_name(code: Any, schema: Any) -> str:
    """The op's name; codes above 126 are only in the newer of the two fields (tensorflow/lite/schema/schema.fbs)."""
    if code.customCode:
        return str(_text(code.customCode))
    known: dict[int, str] = {v: name for name, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    return known.get(max(code.builtinCode, code.deprecatedBuiltinCode), f"op {code.builtinCode}")


def _min_runtime(model: Any) -> str | None:
    """The oldest TF Lite that has all of the file's op versions, which the converter leaves as metadata."""
    for entry in model.metadata or ():
        data = model.buffers[entry.buffer].data
        if entry.name == b"min_runtime_version" and data is not None:
            return bytes(data).rstrip(b"\0").decode()
    return None


def _tfjs(path: Path) -> Description:
    try:
        model = json.loads(path.read_text())
        kind, topology, groups = model["format"], model["modelTopology"], model["weightsManifest"]
        described: Description = {"ops": counted(_tfjs_ops(topology))} if kind == "graph-model" else {}
        weights = [_weight_group(path.parent, group) for group in groups]
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"it is no tensorflow.js model: {raised(error)}") from error
    signatures: Mapping[str, Signature] = {}
    if kind == "layers-model":
        described = _keras(topology["model_config"], topology.get("keras_version"), "", path, 0)
    if kind == "layers-model" or "signature" in model:
        variant = "layers" if kind == "layers-model" else "graph"
        signatures = tfjs_check.inspect(
            Artifact(target=tfjs.NAME, variant=variant, signature="model", path=path)
        ).signatures
    return {
        **described,
        "format": f"tensorflow.js {kind}",
        "bytes": path.stat().st_size + sum(sum(group["shards"].values()) for group in weights),
        "converted_by": model.get("convertedBy"),
        "tensorflow": model.get("generatedBy") if kind == "graph-model" else None,
        "signatures": _signatures(signatures),
        "parameters": sum(group["elements"] for group in weights),
        "weights": weights,
    }


def _tfjs_ops(topology: Any) -> Iterator[str]:
    yield from (node["op"] for node in topology["node"])
    for function in topology.get("library", {}).get("function", []):
        yield from (node["op"] for node in function.get("nodeDef", []))


def _weight_group(folder: Path, group: Any) -> Description:
    missing = [name for name in group["paths"] if not (folder / name).is_file()]
    if missing:
        raise Damaged(f"the weight file {missing[0]} is missing")
    return {
        "tensors": len(group["weights"]),
        "elements": sum(math.prod(weight["shape"]) for weight in group["weights"]),
        "dtypes": counted(weight.get("quantization", weight)["dtype"] for weight in group["weights"]),
        "shards": {name: (folder / name).stat().st_size for name in group["paths"]},
    }


def _signatures(signatures: Mapping[str, Signature]) -> Description:
    return {key: signature.model_dump(mode="json") for key, signature in signatures.items()}


def counted(names: Iterable[str]) -> dict[str, int]:
    """Name -> how often, the most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
