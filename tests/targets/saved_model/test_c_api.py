"""The C loader, on SavedModels that TensorFlow writes here, in child processes where Python's TensorFlow never runs."""

import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import PATIENCE_SECONDS

from converters.contract import errors
from converters.contract.settings import Limits
from converters.contract.values import Signature, Tensors, TensorSpec
from converters.processes import child, resident
from converters.targets.saved_model import c_api

pytestmark = pytest.mark.tensorflow

ROOT = Path(__file__).parents[3]

CHILD = """
import pickle, sys
from converters.targets.saved_model import c_api
path, tags, calls, also = pickle.load(sys.stdin.buffer)
answer = {}
try:
    with c_api.Model(path, tags) as model:
        answer["outputs"] = [model.run(key, inputs) for key, inputs in calls]
        exec(also)
except Exception as error:
    answer["error"] = error
answer["python_tensorflow"] = [name for name in sys.modules if name.partition(".")[0] == "tensorflow"]
if sys.platform == "linux":
    with open("/proc/self/maps") as maps:
        answer["libraries"] = {line.split()[-1].rpartition("/")[2] for line in maps if "/tensorflow/" in line}
pickle.dump(answer, sys.stdout.buffer)
"""


@pytest.fixture(scope="module", autouse=True)
def _one_interpreter() -> Iterator[None]:
    """What `load` starts stays for the whole module."""
    with resident.keeping():
        yield


def load(path: Path, calls: Sequence[tuple[str, Tensors]] = (), tags: Sequence[str] = ("serve",)) -> Any:
    """Load and run a model in an interpreter without TensorFlow; what it found, or the exception as `error`."""
    return resident.run("c_api", answered, path, tuple(tags), list(calls), limits=Limits(), fresh=True).value


def answered(path: Path, tags: tuple[str, ...], calls: list[tuple[str, Tensors]]) -> dict[str, Any]:
    """For that interpreter: the model's signatures, and the outputs of each call."""
    answer: dict[str, Any] = {}
    try:
        with c_api.Model(path, tags) as model:
            answer.update(signatures=model.signatures, refused=model.refused)
            answer["outputs"] = [model.run(key, inputs) for key, inputs in calls]
    except Exception as error:
        answer["error"] = error
    return answer


def load_alone(path: Path, calls: Sequence[tuple[str, Tensors]] = (), also: str = "") -> Any:
    """Load and run a model in an interpreter that does nothing else but `also`; what became of it, and what it has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=pickle.dumps((path, ("serve",), list(calls), also)),
        capture_output=True,
        cwd=ROOT,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


def run(path: Path, signature: str, **inputs: np.ndarray[Any, Any]) -> Tensors:
    """The outputs of one call."""
    answer = load(path, [(signature, inputs)])
    if "error" in answer:
        raise answer["error"]
    outputs: Tensors = answer["outputs"][0]
    return outputs


def texts(*items: bytes) -> np.ndarray[Any, Any]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


NUMERIC = (
    *("float16", "float32", "float64", "bfloat16", "bool", "complex64", "complex128"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
FLOATS = {size: np.random.default_rng(size).normal(size=(size, 3)).astype(np.float32) for size in (1, 7)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder of SavedModels, and what TensorFlow computed with them."""
    root = tmp_path_factory.mktemp("saved_models")
    return root, child.run(write, root).value


def write(root: Path) -> dict[str, Any]:
    """Write the SavedModels; what TensorFlow computes with them. For a child process."""
    import tensorflow as tf
    import tf_keras

    words = root / "words.txt"
    words.write_text("red\ngreen\nblue\n")

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(tf.random.normal([3, 4], seed=1))
            self.ballast = tf.Variable(tf.zeros([1 << 20]))
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.TextFileInitializer(
                    *(str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE),
                    *(tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
                ),
                default_value=-1,
            )

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def floats(self, x: Any) -> Any:
            return {"product": tf.matmul(x, self.weights), "total": tf.reduce_sum(x)}

        @tf.function(
            input_signature=[tf.TensorSpec([], tf.float32, name="factor"), tf.TensorSpec(None, tf.float32, name="x")]
        )
        def scaled(self, factor: Any, x: Any) -> Any:
            return {"y": factor * x + self.ballast[0]}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def strings(self, text: Any) -> Any:
            return {
                "same": text,
                "twice": tf.strings.join([text, text]),
                "length": tf.strings.length(text),
                "all": tf.strings.reduce_join(text, separator="|"),
                "constant": tf.constant([b"a string of the graph's own, longer than 22 bytes"]),
            }

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.string, name="word")])
        def lookup(self, word: Any) -> Any:
            return {"index": self.table.lookup(word)}

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.as_dtype(t), name=t) for t in NUMERIC])
        def types(self, *tensors: Any) -> Any:
            return {f"{t}_twice": tf.concat([tensor, tensor], 0) for t, tensor in zip(NUMERIC, tensors, strict=True)}

    module = Module()
    signatures = {key: getattr(module, key) for key in ("floats", "scaled", "strings", "lookup", "types")}
    tf.saved_model.save(module, str(root / "module"), signatures=signatures)
    # The SavedModel must do with its own copy of the file.
    words.unlink()

    dense = tf_keras.Sequential([tf_keras.layers.Input((3,)), tf_keras.layers.Dense(5, "softmax")])
    dense.export(str(root / "dense"))

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 3])
        sparse = tf.compat.v1.sparse_placeholder(tf.float32, [None, 3])
        scale = tf.compat.v1.get_variable("scale", initializer=[1.5, -2.0, 0.25], use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer())
        info, definition = tf.compat.v1.saved_model.build_tensor_info, tf.compat.v1.saved_model.build_signature_def
        builder = tf.compat.v1.saved_model.Builder(str(root / "tf1"))
        builder.add_meta_graph_and_variables(
            session,
            ["serve", "cpu"],
            {
                "serving_default": definition({"x": info(x)}, {"y": info(x * scale), "scale": info(scale)}),
                "sparse": definition({"x": info(sparse)}, {"y": info(tf.sparse.to_dense(sparse))}),
            },
        )
        builder.save()

    with tf.Graph().as_default(), tf.device("/device:GPU:5"), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None])
        builder = tf.compat.v1.saved_model.Builder(str(root / "pinned"))
        pinned = {"serving_default": definition({"x": info(x)}, {"y": info(x * 2.0)})}
        builder.add_meta_graph_and_variables(session, ["serve"], pinned)
        builder.save()

    weights = module.weights.numpy()
    return {
        "floats": {size: x @ weights for size, x in FLOATS.items()},
        "dense": dense.predict(FLOATS[7], verbose=0),
    }


def test_library_is_in_the_installed_package_when_tensorflow_is_installed() -> None:
    assert c_api.library().is_file()
    assert c_api.library().parent.name == "tensorflow"


def test_library_raises_missing_runtime_with_a_remedy_when_the_file_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(errors.MissingRuntime, match=r"pip install tensorflow"):
        c_api.library()


def test_library_raises_missing_runtime_when_tensorflow_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(errors.MissingRuntime, match=r"not installed here.*pip install tensorflow"):
        c_api.library()


def test_version_is_the_wheels_when_the_library_is_loaded() -> None:
    from importlib.metadata import version

    answer = subprocess.run(
        [
            sys.executable,
            "-c",
            "from converters.targets.saved_model import c_api; print(c_api.version())",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert answer.stdout.strip() == version("tensorflow")


def test_model_leaves_python_tensorflow_unexecuted_when_it_has_run(models: tuple[Path, dict[str, Any]]) -> None:
    answer = load_alone(models[0] / "module", [("floats", {"x": FLOATS[1]})])
    assert answer["outputs"]
    assert answer["python_tensorflow"] == []
    if sys.platform == "linux":
        assert answer["libraries"] == {"libtensorflow_cc.so.2", "libtensorflow_framework.so.2"}


def test_model_lets_tensorflow_be_imported_when_it_has_run(models: tuple[Path, dict[str, Any]]) -> None:
    also = "import tensorflow as tf; answer['there'] = list(tf.saved_model.load(str(path)).signatures)"
    answer = load_alone(models[0] / "module", [("floats", {"x": FLOATS[1]})], also=also)
    assert "floats" in answer["there"], answer.get("error")


def test_model_lists_signatures_when_loaded(models: tuple[Path, dict[str, Any]]) -> None:
    found = load(models[0] / "module")["signatures"]
    assert set(found) == {"floats", "scaled", "strings", "lookup", "types"}
    assert found["floats"].signature == Signature(
        inputs={"x": TensorSpec(shape=(None, 3), dtype="float32")},
        outputs={
            "product": TensorSpec(shape=(None, 4), dtype="float32"),
            "total": TensorSpec(shape=(), dtype="float32"),
        },
    )
    assert found["floats"].inputs == {"x": "floats_x:0"}
    assert found["scaled"].signature.inputs["x"].shape is None
    assert {name: spec.dtype for name, spec in found["types"].signature.inputs.items()} == {t: t for t in NUMERIC}
    assert found["strings"].signature.inputs == {"text": TensorSpec(shape=(None,), dtype="string")}


@pytest.mark.parametrize("size", FLOATS)
def test_run_matches_tensorflow_when_the_batch_size_varies(models: tuple[Path, dict[str, Any]], size: int) -> None:
    outputs = run(models[0] / "module", "floats", x=FLOATS[size])
    assert set(outputs) == {"product", "total"}
    np.testing.assert_allclose(outputs["product"], models[1]["floats"][size], rtol=0, atol=1e-6)
    np.testing.assert_allclose(outputs["total"], FLOATS[size].sum(), rtol=0, atol=1e-5)
    assert outputs["total"].shape == ()


def test_run_matches_keras_when_the_model_is_a_tf_keras_dense_model(models: tuple[Path, dict[str, Any]]) -> None:
    [name] = load(models[0] / "dense")["signatures"]["serving_default"].inputs
    [output] = run(models[0] / "dense", "serving_default", **{name: FLOATS[7]}).values()
    np.testing.assert_allclose(output, models[1]["dense"], rtol=0, atol=1e-6)


def test_run_takes_scalars_any_rank_and_any_memory_order_when_the_shape_is_free(
    models: tuple[Path, dict[str, Any]],
) -> None:
    cube = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    given = [cube, np.asfortranarray(cube), cube[:0], np.asarray(cube[0, 0, 1]), cube.astype(">f4")]
    answer = load(models[0] / "module", [("scaled", {"factor": np.array(0.5, np.float32), "x": x}) for x in given])
    for x, outputs in zip(given, answer["outputs"], strict=True):
        np.testing.assert_array_equal(outputs["y"], x * 0.5)
        assert outputs["y"].dtype == np.float32
        assert outputs["y"].shape == x.shape


def test_run_returns_every_numeric_dtype_when_given_it(models: tuple[Path, dict[str, Any]]) -> None:
    import ml_dtypes

    dtypes = {t: np.dtype(ml_dtypes.bfloat16 if t == "bfloat16" else t) for t in NUMERIC}
    inputs = {t: np.array([[0, 1], [3, 100]]).astype(dtype) for t, dtype in dtypes.items()}
    inputs["uint64"][0, 0] = np.iinfo(np.uint64).max
    inputs["int64"][0, 0] = np.iinfo(np.int64).min
    inputs["complex128"] += 2j
    outputs = run(models[0] / "module", "types", **inputs)
    for t, dtype in dtypes.items():
        assert outputs[f"{t}_twice"].dtype == dtype
        np.testing.assert_array_equal(outputs[f"{t}_twice"], np.concatenate([inputs[t], inputs[t]]))


def test_run_keeps_every_byte_when_tensors_are_strings(models: tuple[Path, dict[str, Any]]) -> None:
    text = texts(
        b"", b"plain", b"zeros at the end\0\0", b"\0", b"x" * 22, b"x" * 23, b"long " * 1000 + b"\0", b"\xff\xfe"
    )
    outputs = run(models[0] / "module", "strings", text=text)
    assert outputs["same"].dtype == object
    assert outputs["same"].tolist() == text.tolist()
    assert outputs["twice"].tolist() == [item * 2 for item in text]
    assert outputs["length"].tolist() == [len(item) for item in text]
    assert outputs["all"].shape == ()
    assert outputs["all"].item() == b"|".join(text)


def test_run_accepts_str_and_empty_batches_when_tensors_are_strings(models: tuple[Path, dict[str, Any]]) -> None:
    answer = load(models[0] / "module", [("strings", {"text": np.array(["grün"])}), ("strings", {"text": texts()})])
    assert answer["outputs"][0]["same"].tolist() == ["grün".encode()]
    assert answer["outputs"][1]["twice"].shape == (0,)


def test_run_reads_the_saved_models_own_asset_when_a_table_is_looked_up(models: tuple[Path, dict[str, Any]]) -> None:
    word = texts(b"blue", b"red", b"green", b"mauve").reshape(2, 2)
    index = run(models[0] / "module", "lookup", word=word)["index"]
    assert index.dtype == np.int64
    assert index.tolist() == [[2, 0], [1, -1]]


def test_run_matches_tensorflow_when_the_saved_model_is_of_tf1_with_reference_variables(
    models: tuple[Path, dict[str, Any]],
) -> None:
    answer = load(models[0] / "tf1", [("serving_default", {"x": FLOATS[7]})], tags=("serve", "cpu"))
    assert answer["signatures"]["serving_default"].signature.outputs["scale"] == TensorSpec(shape=(3,), dtype="float32")
    np.testing.assert_allclose(answer["outputs"][0]["y"], FLOATS[7] * [1.5, -2.0, 0.25], rtol=0, atol=1e-6)
    assert answer["outputs"][0]["scale"].tolist() == [1.5, -2.0, 0.25]


def test_run_raises_unsupported_when_an_input_is_sparse(models: tuple[Path, dict[str, Any]]) -> None:
    answer = load(models[0] / "tf1", [("sparse", {"x": FLOATS[1]})], tags=("serve", "cpu"))
    assert set(answer["signatures"]) == {"serving_default"}
    assert isinstance(answer["error"], errors.Unsupported)
    assert "'x' is a sparse" in str(answer["error"])


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("absent", {}, r"no signature absent; it has floats, lookup, scaled"),
        ("scaled", {"x": FLOATS[1]}, r"takes factor, x, but was given x\."),
        ("floats", {"x": FLOATS[1], "more": FLOATS[1]}, r"takes x, but was given more, x\."),
        ("floats", {"x": FLOATS[1].astype(np.float64)}, r"input x is float32 in the model, but was given as float64"),
        ("strings", {"text": FLOATS[1]}, r"input text is string in the model, but was given as float32"),
        ("strings", {"text": np.array([1, 2], dtype=object)}, r"neither bytes nor str"),
        ("floats", {"x": np.ones((2, 5), np.float32)}, r"Matrix size-incompatible"),
    ],
)
def test_run_raises_damaged_with_the_reason_when_a_call_does_not_fit(
    models: tuple[Path, dict[str, Any]], signature: str, inputs: Tensors, message: str
) -> None:
    with pytest.raises(errors.Damaged, match=message):
        run(models[0] / "module", signature, **inputs)


def test_run_raises_value_error_when_the_model_is_closed(models: tuple[Path, dict[str, Any]]) -> None:
    answer = load_alone(models[0] / "module", also="model.close(); model.run('floats', {})")
    assert isinstance(answer["error"], ValueError)
    assert "is closed" in str(answer["error"])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc: a child's ru_maxrss begins at its parent's")
@pytest.mark.parametrize(
    ("what", "leaked"),
    [
        ("model.run('scaled', {'factor': np.float32(2), 'x': np.ones(1 << 20, np.float32)})", 4 << 20),
        ("model.run('strings', {'text': np.array([b'x' * 40_000] * 100, dtype=object)})", 4 << 20),
        ("c_api.Model(path, tags).close()", 4 << 20),
    ],
    ids=["numbers", "strings", "models"],
)
def test_run_and_close_free_what_they_used_when_called_many_times(
    models: tuple[Path, dict[str, Any]], what: str, leaked: int
) -> None:
    also = f"""
import numpy as np, resource
def resident():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * resource.getpagesize()
for turn in range(60):
    if turn == 20:
        before = resident()
    {what}
answer["grown"] = resident() - before
"""
    answer = load_alone(models[0] / "module", also=also)
    # Forty turns that each leaked one tensor, or the model's 4 MiB of weights, would be 160 MiB.
    assert answer["grown"] < 40 * leaked / 2, answer.get("error")


def test_model_raises_damaged_naming_the_tags_when_the_tag_set_is_absent(models: tuple[Path, dict[str, Any]]) -> None:
    error = load(models[0] / "module", tags=("serve", "tpu"))["error"]
    assert isinstance(error, errors.Damaged)
    assert "tag-set serve, tpu" in str(error)
    assert "Could not find meta graph def matching supplied tags" in str(error)


def test_model_raises_damaged_when_a_variables_file_is_truncated(
    models: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    copy = shutil.copytree(models[0] / "module", tmp_path / "copy")
    [data] = (copy / "variables").glob("variables.data-*")
    data.write_bytes(data.read_bytes()[:-1])
    assert isinstance(load(copy)["error"], errors.Damaged)


@pytest.mark.parametrize("kind", ["module", "tf1"])
def test_model_raises_damaged_when_the_variables_directory_is_missing(
    models: tuple[Path, dict[str, Any]], tmp_path: Path, kind: str
) -> None:
    copy = shutil.copytree(models[0] / kind, tmp_path / "copy")
    shutil.rmtree(copy / "variables")
    error = load(copy, tags=("serve",) if kind == "module" else ("serve", "cpu"))["error"]
    assert isinstance(error, errors.Damaged)
    assert "variables" in str(error)


def test_model_raises_damaged_when_an_asset_is_missing(models: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    copy = shutil.copytree(models[0] / "module", tmp_path / "copy")
    shutil.rmtree(copy / "assets")
    error = load(copy)["error"]
    assert isinstance(error, errors.Damaged)
    assert "words.txt" in str(error)


@pytest.mark.parametrize("content", [None, b"", b"no protocol buffer"])
def test_model_raises_damaged_when_saved_model_pb_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "saved_model.pb").write_bytes(content)
    assert isinstance(load(tmp_path)["error"], errors.Damaged)


def test_model_raises_damaged_when_the_graph_is_pinned_to_a_device_that_is_not_here(
    models: tuple[Path, dict[str, Any]],
) -> None:
    error = load(models[0] / "pinned", [("serving_default", {"x": np.ones(2, np.float32)})])["error"]
    assert isinstance(error, errors.Damaged)
    assert "GPU:5" in str(error)
