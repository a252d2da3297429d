"""Load and run a SavedModel through TensorFlow's C API, without Python's TensorFlow.

`TF_LoadSessionFromSavedModel` is the C++ loader that TF Serving itself uses: it restores variables, assets and
lookup tables, runs the init op, and hands back a session. It is in `libtensorflow_cc` of the tensorflow wheel, and
called here by ctypes. Nothing of Python's TensorFlow runs, so that a model that only works with the help of the
process that exported it is found out, and so that a check starts in under a second.

Sources: tensorflow/c/c_api.h, tf_buffer.h, tf_datatype.h, tf_status.h, tf_tensor.h, tf_tstring.h,
tensorflow/cc/saved_model/{loader,constants}.h, tensorflow/core/protobuf/meta_graph.proto.
"""

import ctypes
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ctypes import Structure, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from converters.contract.errors import Damaged, MissingRuntime, Unsupported
from converters.contract.values import SERVE, Signature, Tensors
from converters.formats import saved_model
from converters.formats.dtypes import CODES, DTYPES, NAMES, dtype_name
from converters.formats.protos import REMEDY, load, tensorflow_package

_TSTRING_BYTES = 24
"""sizeof(TF_TString), ctstring_internal.h."""

_P = c_void_p
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "Version": (c_char_p,),
    "Message": (c_char_p, _P),
    "NewStatus NewBuffer NewGraph NewSessionOptions": (_P,),
    "TensorData StringGetDataPointer": (_P, _P),
    "GraphOperationByName": (_P, _P, c_char_p),
    "LoadSessionFromSavedModel": (_P, _P, _P, c_char_p, _P, c_int, _P, _P, _P),
    "SessionRun": (None, _P, _P, _P, _P, c_int, _P, _P, c_int, _P, c_int, _P, _P),
    "CloseSession DeleteSession": (None, _P, _P),
    "AllocateTensor": (_P, c_int, _P, c_int, c_size_t),
    "GetCode TensorType NumDims": (c_int, _P),
    "Dim": (c_int64, _P, c_int),
    "StringGetSize": (c_size_t, _P),
    "StringCopy": (None, _P, c_char_p, c_size_t),
    "StringInit": (None, _P),
    "DeleteStatus DeleteBuffer DeleteGraph DeleteSessionOptions DeleteTensor": (None, _P),
}
"""Functions of the C API, less their prefix "TF_" -> their result's type, then their arguments' types."""


class _Output(Structure):
    """TF_Output: one output of one operation of a graph."""

    _fields_ = [("oper", c_void_p), ("index", c_int)]


class Endpoint(NamedTuple):
    """One signature: input and output names -> tensor names ("op:index"), and their dtypes and shapes."""

    inputs: dict[str, str]
    outputs: dict[str, str]
    signature: Signature


def library() -> Path:
    """Path of the C library in the installed TensorFlow package, found without importing the package.

    Raises MissingRuntime.
    """
    name = "libtensorflow_cc.2.dylib" if sys.platform == "darwin" else "libtensorflow_cc.so.2"
    path = tensorflow_package() / name
    if not path.is_file():
        raise MissingRuntime(f"TensorFlow's C library is not here: {path} does not exist. {REMEDY}")
    return path


def version() -> str:
    """Version of the C library, such as "2.19.0". Raises MissingRuntime."""
    text: bytes = _api().TF_Version()
    return text.decode()


class Model:
    """A SavedModel's MetaGraphDef under one tag-set, loaded and initialised in a session of its own.

    A context manager: leaving it frees the session. `signatures` holds the entry points that can be run, `refused`
    the keys of those that cannot, each with the reason. The session has TensorFlow's default options, as TF
    Serving's has: a graph pinned to a device that is not here does not load.
    """

    def __init__(self, path: Path, tags: Sequence[str] = (SERVE,)) -> None:
        """Load `path`, the directory that holds saved_model.pb. Raises Damaged, MissingRuntime."""
        self.path = path
        self.signatures: dict[str, Endpoint] = {}
        self.refused: dict[str, str] = {}
        self._session: int | None = None
        self._graph: int | None = _api().TF_NewGraph()
        try:
            meta_graph = self._load(tuple(tags))
        except BaseException:
            self.close()
            raise
        self.refused = saved_model.refused(meta_graph)
        for key, signature in saved_model.signatures(meta_graph).items():
            definition = meta_graph.signature_def[key]
            sides = (signature.inputs, definition.inputs), (signature.outputs, definition.outputs)
            inputs, outputs = ({name: infos[name].name for name in specs} for specs, infos in sides)
            self.signatures[key] = Endpoint(inputs, outputs, signature)

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the session and the graph. Does nothing the second time."""
        api = _api()
        if self._session is not None:
            status = api.TF_NewStatus()
            # Whatever the status says, TF_DeleteSession discards all that the session holds (c_api.h).
            api.TF_CloseSession(self._session, status)
            api.TF_DeleteSession(self._session, status)
            api.TF_DeleteStatus(status)
        if self._graph is not None:
            api.TF_DeleteGraph(self._graph)
        self._session = self._graph = None

    def run(self, signature_key: str, inputs: Tensors) -> Tensors:
        """Run one signature: output name -> array, a string tensor as an object array of bytes.

        Dtypes must be the signature's, exactly; shapes are left to the graph, as TF Serving leaves them.
        Raises Damaged when the model has no such signature or inputs, or TensorFlow reports an error; Unsupported
        when the signature is a refused one; ValueError when the model is closed.
        """
        if self._session is None:
            raise ValueError(f"{self.path} is closed; run it inside its `with` block.")
        where = f"Signature {signature_key} of {self.path}"
        if signature_key in self.refused:
            raise Unsupported(f"{where} cannot be run: {self.refused[signature_key]}")
        if signature_key not in self.signatures:
            raise Damaged(f"{self.path} has no signature {signature_key}; it has {_listed(self.signatures)}.")
        endpoint = self.signatures[signature_key]
        if inputs.keys() != endpoint.inputs.keys():
            raise Damaged(f"{where} takes {_listed(endpoint.inputs)}, but was given {_listed(inputs)}.")
        specs = endpoint.signature.inputs
        api = _api()
        feeds = (_Output * len(inputs))(*(self._output(endpoint.inputs[name]) for name in inputs))
        fetches = (_Output * len(endpoint.outputs))(*(self._output(name) for name in endpoint.outputs.values()))
        results = (c_void_p * len(fetches))()
        with ExitStack() as stack:
            tensors = (_tensor(array, specs[name].dtype, f"{where}: input {name}") for name, array in inputs.items())
            values = (c_void_p * len(feeds))(*(stack.enter_context(tensor) for tensor in tensors))
            with _status(f"{where} failed") as status:
                api.TF_SessionRun(
                    *(self._session, None, feeds, values, len(feeds)),
                    *(fetches, results, len(fetches), None, 0, None, status),
                )
            for result in results:
                stack.callback(api.TF_DeleteTensor, result)
            return {name: _array(result) for name, result in zip(endpoint.outputs, results, strict=True)}

    def _load(self, tags: tuple[str, ...]) -> Any:
        """Fill the graph, start the session, and return the MetaGraphDef. Raises Damaged."""
        api = _api()
        names = (c_char_p * len(tags))(*(tag.encode() for tag in tags))
        options, buffer = api.TF_NewSessionOptions(), api.TF_NewBuffer()
        try:
            with _status(f"{self.path} cannot be loaded under the tag-set {_listed(tags)}") as status:
                self._session = api.TF_LoadSessionFromSavedModel(
                    options, None, os.fsencode(self.path), names, len(tags), self._graph, buffer, status
                )
            # TF_Buffer begins with its data's address and length (tf_buffer.h).
            data, length = (c_size_t * 2).from_address(buffer)
            proto = ctypes.string_at(data, length)
        finally:
            api.TF_DeleteBuffer(buffer)
            api.TF_DeleteSessionOptions(options)
        meta_graph = load("tensorflow.core.protobuf.meta_graph_pb2").MetaGraphDef.FromString(proto)
        if saved_model.lacks_values(meta_graph, self.path):  # TF Serving would serve errors
            raise Damaged(f"{self.path} has variables, but their values ({saved_model.VALUES}) are missing.")
        return meta_graph

    def _output(self, tensor_name: str) -> _Output:
        """The graph's output of that name. Raises Damaged when the graph lacks it."""
        operation, _, index = tensor_name.partition(":")
        handle = _api().TF_GraphOperationByName(self._graph, operation.encode())
        if handle is None:
            raise Damaged(f"{self.path}: a signature names tensor {tensor_name}, which the graph does not have.")
        return _Output(handle, int(index or 0))


@cache
def _api() -> ctypes.CDLL:
    """The C library, with every function's types declared. Raises MissingRuntime."""
    try:
        api = ctypes.CDLL(str(library()))
        for names, (result, *arguments) in _FUNCTIONS.items():
            for name in names.split():
                function = getattr(api, f"TF_{name}")
                function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise MissingRuntime(f"TensorFlow's C library cannot be used: {error}. {REMEDY}") from error
    return api


@contextmanager
def _status(what: str) -> Iterator[int]:
    """A TF_Status for one call. Raises Damaged with `what` and TensorFlow's message when the call failed."""
    api = _api()
    status: int = api.TF_NewStatus()
    try:
        yield status
        if api.TF_GetCode(status) != 0:
            raise Damaged(f"{what}: {api.TF_Message(status).decode(errors='replace')}")
    finally:
        api.TF_DeleteStatus(status)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


@contextmanager
def _tensor(value: np.ndarray[Any, Any], dtype: str, what: str) -> Iterator[int]:
    """A TF_Tensor that holds a copy of the array, freed on leaving. Raises Damaged when its dtype is not `dtype`."""
    given = np.asarray(value)
    if dtype != dtype_name(given):
        raise Damaged(f"{what} is {dtype} in the model, but was given as {given.dtype}.")
    array = np.asarray(given, dtype=DTYPES[dtype], order="C")
    texts = [item.encode() if isinstance(item, str) else item for item in array.flat] if dtype == "string" else []
    if not all(isinstance(text, bytes) for text in texts):
        raise Damaged(f"{what} is string in the model, but was given elements that are neither bytes nor str.")
    api = _api()
    size = array.size * (_TSTRING_BYTES if dtype == "string" else array.itemsize)
    tensor: int = api.TF_AllocateTensor(CODES[dtype], (c_int64 * array.ndim)(*array.shape), array.ndim, size)
    data = api.TF_TensorData(tensor)
    for index, text in enumerate(texts):
        address = data + index * _TSTRING_BYTES
        api.TF_StringInit(address)
        api.TF_StringCopy(address, text, len(text))
    if dtype != "string":
        ctypes.memmove(data, array.ctypes.data, size)
    try:
        yield tensor
    finally:
        # Frees the strings too, unless the model still refers to them, by a variable for instance (measured, 2.19).
        api.TF_DeleteTensor(tensor)


def _array(tensor: int) -> np.ndarray[Any, Any]:
    """A copy of a TF_Tensor's content. Its strings belong to TensorFlow and may be the graph's own, so only read."""
    api = _api()
    data, name = api.TF_TensorData(tensor), NAMES[api.TF_TensorType(tensor)]
    result = np.empty([api.TF_Dim(tensor, axis) for axis in range(api.TF_NumDims(tensor))], dtype=DTYPES[name])
    if name != "string":
        ctypes.memmove(result.ctypes.data, data, result.nbytes)
        return result
    for index in range(result.size):
        address = data + index * _TSTRING_BYTES
        result.flat[index] = ctypes.string_at(api.TF_StringGetDataPointer(address), api.TF_StringGetSize(address))
    return result
