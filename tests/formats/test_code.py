"""What a model would do beside calculating is found by reading it: each op, wherever it is hidden, and nothing else."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import pytest
from hostile import STRING, function, node, text, writes

from converters.contract.errors import BadInput
from converters.formats import code, effects, savers
from converters.formats.protos import load
from converters.processes import child

OUT = ("type", STRING)


def found(nodes: list[Any], **more: Any) -> list[str]:
    meta_graph = hostile.meta_graph(nodes, **more)
    return [*effects.of_graph(meta_graph.graph_def), *savers.foreign(meta_graph)]


@pytest.mark.parametrize(
    ("made", "does"),
    [
        (node("n", "ReadFile", "p"), "reads files"),
        (node("n", "MatchingFiles", "p"), "reads files"),
        (node("n", "WholeFileReaderV2"), "reads files"),
        (node("n", "TFRecordDatasetV2", "p"), "reads files"),
        (node("n", "ImmutableConst", memory_region_name="/etc/passwd"), "reads files"),
        (node("n", "FixedUnigramCandidateSampler", "p", vocab_file="/etc/passwd"), "reads files"),
        (node("n", "DecodeProtoV2", "p", descriptor_source="/etc/passwd"), "reads files"),
        (node("n", "SaveDatasetV2", "p"), "writes files"),
        (node("n", "CacheDatasetV2", "p", "p"), "writes files"),
        (node("n", "PrintV2", "p", output_stream="file:///tmp/x"), "writes files"),
        (node("n", "DebugIdentityV3", "p", debug_urls=["file:///tmp/x"]), "writes files"),
        (node("n", "EagerPyFunc", "p", token="pyfunc_0"), "runs Python"),
        (node("n", "PyFuncStateless", "p", token="pyfunc_0"), "runs Python"),
        (node("n", "DataServiceDatasetV4", "p"), "uses the network"),
        (node("n", "DatasetFromGraph", "p"), "cannot be looked through"),
        (node("n", "Abort"), "ends the process"),
    ],
    ids=lambda each: each.op if hasattr(each, "op") else "",
)
def test_of_graph_names_what_reaches_out(made: Any, does: str) -> None:
    (sentence,) = found([text("p", "/etc/passwd"), made])
    assert sentence.startswith(f"{made.op} (node n) ")
    assert does in sentence


@pytest.mark.parametrize(
    "made",
    [
        node("n", "PrintV2", "p", output_stream="stderr"),
        node("n", "CacheDatasetV2", "p", "nothing"),
        node("n", "DecodeProtoV2", "p", descriptor_source="local://"),
        node("n", "DebugIdentityV2", "p"),
        node("n", "DecodeJpeg", "p"),
    ],
    ids=lambda each: str(each.op),
)
def test_of_graph_names_nothing_that_only_calculates(made: Any) -> None:
    assert found([text("p", "x"), text("nothing", ""), made]) == []


def test_of_graph_looks_into_functions_that_nothing_calls(tmp_path: Path) -> None:
    inner = function("inner", [], writes(tmp_path / "m"), "written_path:output:0")
    assert found([], functions=[inner]) == ["WriteFile (node written, function inner) writes files"]


SAVES = [
    hostile.placeholder("file", STRING),
    text("name", "v"),
    text("slice", ""),
    node("save", "SaveV2", "file", "name", "slice", "x_in", dtypes=("types", 1)),
    node("saved", "Identity", "file", "^save", T=OUT),
    node("restored", "RestoreV2", "file", "name", "slice", dtypes=("types", 1)),
    node("restore", "NoOp", "^restored"),
    text("elsewhere", "/etc/passwd"),
]
SAVER = ("file", "saved", "restore")


def test_foreign_names_nothing_when_the_saver_touches_its_checkpoint() -> None:
    assert found(SAVES, saver=SAVER) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda nodes: nodes[5].input.__setitem__(0, "elsewhere"), "RestoreV2 (node restored) reads files"),
        (lambda nodes: nodes[6].input.append("^save"), "SaveV2 (node save) writes files"),
        (lambda nodes: nodes.append(node("y2", "Identity", "saved", T=OUT)), None),
    ],
)
def test_foreign_names_a_saver_that_the_loader_makes_touch_others(
    change: Callable[[list[Any]], None], named: str | None
) -> None:
    nodes = [type(each).FromString(each.SerializeToString()) for each in SAVES]
    change(nodes)
    assert found(nodes, saver=SAVER) == ([] if named is None else [named])


def test_foreign_names_a_saver_that_a_signature_or_the_loader_runs() -> None:
    assert found(SAVES, saver=SAVER, after=["saved"]) == ["SaveV2 (node save) writes files"]
    assert found(SAVES, saver=SAVER, initialize="saved") == ["SaveV2 (node save) writes files"]
    assert found(SAVES, saver=SAVER, after=["restored"]) == ["RestoreV2 (node restored) reads files"]


def test_foreign_names_a_saver_that_an_object_is_loaded_with() -> None:
    body = [text("n", "v"), node("save", "SaveV2", "path", "n:output:0", "n:output:0", "n:output:0")]
    meta_graph = hostile.meta_graph([], functions=[function("begin", ["path"], body, "path")])
    assert savers.foreign(meta_graph) == []  # a loader runs none of it
    meta_graph.object_graph_def.concrete_functions["begin"].SetInParent()
    assert savers.foreign(meta_graph) == ["SaveV2 (node save, function begin) writes files"]


TABLE = [node("table", "HashTableV2"), text("asset", "vocab.txt"), text("other", "/etc/passwd")]
INIT = node("init", "InitializeTableFromTextFileV2", "table", "asset")


def test_foreign_names_nothing_when_a_table_is_read_from_an_asset() -> None:
    assert found([*TABLE, INIT], assets={"asset": "vocab.txt"}, initialize="init") == []


def test_foreign_follows_an_asset_through_a_variable_and_a_function() -> None:
    body = [node("fill", "InitializeTableFromTextFileV2", "table", "path"), text("done", "")]
    filled = function("fill", ["table", "path"], body, "done:output:0")
    variable = [
        *TABLE,
        node("variable", "VarHandleOp", shared_name="v"),
        node("assigned", "AssignVariableOp", "variable", "asset"),
        node("path", "ReadVariableOp", "variable", "^assigned"),
        node("call", "StatefulPartitionedCall", "table", "path", f=("func", "fill")),
    ]
    assert found(variable, functions=[filled], assets={"asset": "vocab.txt"}) == []
    also = node("again", "AssignVariableOp", "variable", "other")
    sentence = [
        "InitializeTableFromTextFileV2 (node fill, function fill) reads a file that is no asset of the SavedModel"
    ]
    assert found([*variable, also], functions=[filled], assets={"asset": "vocab.txt"}) == sentence
    alias = node("alias", "VarHandleOp", shared_name="v")
    assert found([*variable, alias], functions=[filled], assets={"asset": "vocab.txt"}) == sentence
    second = node("second", "StatefulPartitionedCall", "table", "other", f=("func", "fill"))
    assert found([*variable, second], functions=[filled], assets={"asset": "vocab.txt"}) == sentence


def test_foreign_names_a_table_of_another_file_or_that_a_signature_fills() -> None:
    of_other = node("init", "InitializeTableFromTextFileV2", "table", "other")
    assert "reads a file that is no asset" in found([*TABLE, of_other], assets={"asset": "vocab.txt"})[0]
    assert "reads a file that is no asset" in found([*TABLE, INIT], assets={"asset": "vocab.txt"}, after=["init"])[0]


def test_require_none_names_what_and_how_to_trust_it() -> None:
    code.require_none("m", [])
    with pytest.raises(
        BadInput, match=r"m comes with code .* A does; B does.*trust_code: true in a config, or --trust-code"
    ):
        code.require_none("m", ["A does", "B does"])


RUNS = re.compile(
    r"filename|file_pattern|(?<!top_)path|directory|debug_urls|server_address|^address$|memory_region|data_source|"
    r"output_stream|descriptor_source|vocab_file|ckpt|chunk_file"
)
REVIEWED = frozenset({"ShardedFilename", "ShardedFilespec", "TensorSliceDataset", "_TensorSliceDataset"})
"""Ops that speak of files, and only join their names."""


def registered() -> bytes:
    """The OpList of all ops there are; for a child process."""
    from tensorflow.python.client import pywrap_tf_session as session

    listed: bytes = session.TF_GetBuffer(session.TF_GetAllOpList())
    return listed


@pytest.mark.tensorflow
def test_reaches_out_knows_every_op_of_the_registry_that_takes_a_file() -> None:
    listed = load("tensorflow.core.framework.op_def_pb2").OpList.FromString(child.run(registered).value)
    assert len(listed.op) > 1000
    unknown = [
        op.name
        for op in listed.op
        if (any(RUNS.search(each.name) for each in (*op.input_arg, *op.attr)) or "PyFunc" in op.name)
        and op.name not in REVIEWED
        and not effects.reaches_out(op.name)
    ]
    assert unknown == []
