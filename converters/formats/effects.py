"""Ops that reach out of a graph: to files, to Python, to the process, to a network. Found by reading, before anything runs.

The lists are of TensorFlow 2.19's registry; `tests/formats/test_effects.py` goes through the registry of the one that is
installed, so that an op that an upgrade brings is found there. Savers are `savers`' affair: every SavedModel has them.
"""

from collections.abc import Iterable, Iterator
from typing import Any

READS = frozenset({
    "ReadFile", "MatchingFiles", "MatchingFilesDataset", "ExperimentalMatchingFilesDataset",
    "TextLineReader", "TextLineReaderV2", "WholeFileReader", "WholeFileReaderV2", "TFRecordReader", "TFRecordReaderV2",
    "FixedLengthRecordReader", "FixedLengthRecordReaderV2", "LMDBReader", "RecordInput",
    "TextLineDataset", "TFRecordDataset", "TFRecordDatasetV2", "FixedLengthRecordDataset", "FixedLengthRecordDatasetV2",
    "CSVDataset", "CSVDatasetV2", "ExperimentalCSVDataset", "LMDBDataset", "ExperimentalLMDBDataset",
    "SqlDataset", "ExperimentalSqlDataset", "LoadDataset", "LoadAndRemapMatrix", "GenerateVocabRemapping",
    "ImmutableConst", "Skipgram", "SnapshotDatasetReader", "SnapshotNestedDatasetReader", "SnapshotChunkDataset",
    "ListSnapshotChunksDataset", "InitializeTRTResource", "ImportEvent",
})  # fmt: skip
WRITES = frozenset({
    "WriteFile", "SnapshotDataset", "SnapshotDatasetV2", "SaveDataset", "SaveDatasetV2", "DistributedSave",
    "DatasetToTFRecord", "ExperimentalDatasetToTFRecord", "CreateSummaryFileWriter", "CreateSummaryDbWriter",
    "DumpTensor", "CalibrationStatisticsSaver",
})  # fmt: skip
PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
NETWORK = frozenset({
    "RpcClient", "RpcServer", "RpcServerStart", "RpcServerRegister", "RpcCall", "RegisterDataset", "RegisterDatasetV2",
    "DataServiceDataset", "DataServiceDatasetV2", "DataServiceDatasetV3", "DataServiceDatasetV4",
})  # fmt: skip
HIDDEN = frozenset({"DatasetFromGraph", "MlirPassthroughOp", "RemoteFusedGraphExecute"})
"""A graph in a value, whose ops cannot be seen."""
SAVES = frozenset({"Save", "SaveSlices", "SaveV2", "MergeV2Checkpoints"})
RESTORES = frozenset({"Restore", "RestoreSlice", "RestoreV2"})
TABLES = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})
_DOES = {
    "reads files": READS,
    "writes files": WRITES,
    "runs Python": PYTHON,
    "uses the network": NETWORK,
    "holds a graph that cannot be looked through": HIDDEN,
    "ends the process": frozenset({"Abort"}),
    "changes how files are opened": frozenset({"FileSystemSetConfiguration"}),
}
_DEBUG_URLS = frozenset({"DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "DebugNanCount", "DebugNumericSummary"})
_BUILT_IN_PROTOS = (b"", b"local://", b"bytes://")
_STREAMS = (b"stderr", b"stdout", b"log(info)", b"log(warning)", b"log(error)")


def of_node(node: Any) -> str | None:
    """What a NodeDef does beyond its graph, as a verb and its object; None for all that only calculates.

    Savers and table initializers are left to `savers`, and so is a dataset's cache, whose file is an input.
    """
    for does, ops in _DOES.items():
        if node.op in ops:
            return does
    attr = node.attr
    if node.op == "PrintV2" and attr["output_stream"].s not in (b"", *_STREAMS):
        return "writes files"
    if node.op in _DEBUG_URLS and attr["debug_urls"].list.s:
        return "writes files"
    if node.op == "FixedUnigramCandidateSampler" and attr["vocab_file"].s:
        return "reads files"
    if node.op in ("DecodeProtoV2", "EncodeProto") and not _is_built_in(attr["descriptor_source"].s):
        return "reads files"
    return None


def named(nodes: Iterable[Any], function: str | None = None) -> Iterator[str]:
    """`OP (node NODE, function FUNCTION) does what`, for each node that does something beyond its graph."""
    return (sentence(node, does, function) for node in nodes if (does := of_node(node)) is not None)


def sentence(node: Any, does: str, function: str | None = None) -> str:
    """What one node does, for a person."""
    return f"{node.op} (node {node.name}{f', function {function}' if function else ''}) {does}"


def touches_files(op: str) -> bool:
    """Whether an op is one of those that in a SavedModel may be its own saver or table."""
    return op in SAVES or op in RESTORES or op in TABLES or op in ("CacheDataset", "CacheDatasetV2")


def reaches_out(op: str) -> bool:
    """Whether an op, whatever its attributes and inputs, may reach out of its graph."""
    others = ("PrintV2", "FixedUnigramCandidateSampler", "DecodeProtoV2", "EncodeProto", *_DEBUG_URLS)
    return touches_files(op) or op in others or any(op in ops for ops in _DOES.values())


def of_graph(graph_def: Any) -> list[str]:
    """What a traced GraphDef does beyond itself, its functions' bodies included. Its savers and tables are its maker's."""
    found = [*named(graph_def.node)]
    for function in graph_def.library.function:
        found += named(function.node_def, function.signature.name)
    return found


def _is_built_in(source: bytes) -> bool:
    return source in _BUILT_IN_PROTOS or source.startswith(b"bytes://")
