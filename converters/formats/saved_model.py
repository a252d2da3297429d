"""Reading saved_model.pb: its MetaGraphDef for the `serve` tag-set, and that one's signatures. TensorFlow is not needed."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from converters.contract import names
from converters.contract.errors import BadInput, Damaged
from converters.contract.names import shown
from converters.contract.values import SERVE, Signature
from converters.formats import dtypes, graph, specs
from converters.formats.protos import load

CHUNKED = "saved_model.cpb"
VALUES = "variables/variables.index"
"""The file without which variables have no values."""
_OPS = ("__saved_model_init_op", "__saved_model_train_op")
"""SignatureDefs that name an op to run, and are no entry points (cc/saved_model/constants.h)."""


def read_all(saved_model: Path) -> list[Any]:
    """Every MetaGraphDef in the SavedModel.

    Raises:
        Damaged: there is neither saved_model.pb nor saved_model.pbtxt, or it is no SavedModel proto.
    """
    proto = load("tensorflow.core.protobuf.saved_model_pb2").SavedModel
    binary, text = saved_model / "saved_model.pb", saved_model / "saved_model.pbtxt"
    try:
        if text.is_file() and not binary.is_file():
            return list(text_format.Parse(text.read_bytes(), proto()).meta_graphs)
        return list(proto.FromString(binary.read_bytes()).meta_graphs)
    except (OSError, DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise Damaged(f"{saved_model} cannot be read as a SavedModel: {error}") from error


def read(saved_model: Path, tags: Iterable[str] | None = None) -> Any:
    """The MetaGraphDef of that tag-set; without one the MetaGraphDef of exactly `serve`, or else the first that holds `serve`.

    Raises:
        BadInput: there is none; names the tag-sets there are.
        Damaged: see `read_all`.
    """
    meta_graphs = read_all(saved_model)
    if tags is not None:
        fitting = [each for each in meta_graphs if set(each.meta_info_def.tags) == set(tags)]
    else:
        fitting = [each for each in meta_graphs if SERVE in each.meta_info_def.tags]
    if not fitting:
        sets = ", ".join(_written(each.meta_info_def.tags) for each in meta_graphs) or "none"
        wanted = f"tag-set with {SERVE!r}" if tags is None else f"tag-set {_written(tags)}"
        raise BadInput(f"{saved_model} has no {wanted}; it has {sets}; name one of these: --tags, or tags: in a config")
    return min(fitting, key=lambda each: len(each.meta_info_def.tags))


def _written(tags: Iterable[str]) -> str:
    return "{" + ",".join(sorted(map(shown, tags))) + "}"


def require_contained(folder: Path) -> None:
    """Refuse a SavedModel that is not all in its folder: what a link leads to would become part of a release.

    Raises:
        BadInput: names the link, or what is no file.
    """
    home = folder.resolve()
    for place, folders, files in os.walk(home):
        for path in (Path(place) / name for name in (*folders, *files)):
            where = f"{folder}: {path.relative_to(home).as_posix()!r}"
            if path.is_symlink() and (path.is_dir() or not path.exists() or home not in path.resolve().parents):
                raise BadInput(
                    f"{where} is a link to {os.readlink(path)!r}, and no file of the SavedModel; copy it with what its links "
                    "lead to (cp -rL), if that is yours"
                )
            if not path.is_dir() and not path.is_file():
                raise BadInput(f"{where} is no file; remove it")
    if (home / CHUNKED).is_file():
        raise BadInput(f"{folder}: {CHUNKED} is in the chunked form, which is not read; save the model whole")


def require_names(meta_graph: Any, where: Path) -> None:
    """Refuse signatures and tensors whose names are none that can be shown, or be part of a path; and sizes beyond reason.

    Raises:
        BadInput: names the first.
    """
    for key, signature in signatures(meta_graph).items():
        if (fault := names.fault(key)) is not None:
            raise BadInput(f"{where}: the signature {key!r} {fault}; rename it")
        for side in (signature.inputs, signature.outputs):
            for name in side:
                if (fault := names.fault(name)) is not None:
                    raise BadInput(f"{where}: {name!r} of the signature {key!r} {fault}; rename it")
        for name, spec in signature.inputs.items():
            if (problem := specs.problem(spec)) is not None:
                raise BadInput(f"{where}: input {name!r} of the signature {key!r}: {problem}")


def signatures(meta_graph: Any) -> dict[str, Signature]:
    """The entry points that take and return arrays, by signature key; `refused` has the others."""
    return {
        key: Signature(
            inputs={name: specs.of_info(info) for name, info in definition.inputs.items()},
            outputs={name: specs.of_info(info) for name, info in definition.outputs.items()},
        )
        for key, definition in _entry_points(meta_graph)
        if _refusal(definition) is None
    }


def refused(meta_graph: Any) -> dict[str, str]:
    """The entry points that `signatures` leaves out, each with the reason."""
    refusals = ((key, _refusal(definition)) for key, definition in _entry_points(meta_graph))
    return {key: reason for key, reason in refusals if reason is not None}


def lacks_values(meta_graph: Any, saved_model: Path) -> bool:
    """Whether there are variables without values: TensorFlow's loaders only log that there are none to restore."""
    has_variables = any(node.op in graph.VARIABLES for node in meta_graph.graph_def.node)
    return has_variables and not (saved_model / VALUES).is_file()


def _entry_points(meta_graph: Any) -> list[tuple[str, Any]]:
    definitions = sorted(meta_graph.signature_def.items())
    return [(key, definition) for key, definition in definitions if key not in _OPS and definition.outputs]


def _refusal(definition: Any) -> str | None:
    """Which inputs and outputs are no single dense tensor (TensorInfo.encoding, meta_graph.proto), or no array."""
    named = sorted([*definition.inputs.items(), *definition.outputs.items()], key=lambda item: item[0])
    composite = [repr(name) for name, info in named if info.WhichOneof("encoding") != "name"]
    if composite:
        return (
            f"{', '.join(composite)} is a sparse or composite tensor; export its dense parts under names of their own"
        )
    kinds = [(name, dtypes.name_of(info.dtype)) for name, info in named]
    opaque = [f"{name!r} is of data type {kind}" for name, kind in kinds if kind not in dtypes.DTYPES]
    return f"{', '.join(opaque)}, which does not leave TensorFlow as an array" if opaque else None
