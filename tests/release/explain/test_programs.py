"""Each example program of a release, run as it stands: it prints what response.json holds."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import programs_run as run
import pytest
import releases
import yaml
from staying import Pool, staying

from converters.config.spec import ModelSpec
from converters.javascript import programs
from converters.release.explain import quoting
from converters.release.manifest import read

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # from TensorFlow's import
]

PICTURES = """
import numpy as np
import tf_keras

def build():
    tf_keras.utils.set_random_seed(3)
    layers = tf_keras.layers
    return tf_keras.Sequential([
        layers.Input((5, 4, 3), name="photo"),
        layers.Conv2D(4, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(3, activation="softmax", bias_initializer=tf_keras.initializers.Constant(0.3125), name="kind"),
    ])

def data():
    return {"photo": np.random.default_rng(5).uniform(-2, 2, (24, 5, 4, 3)).astype(np.float32)}
"""
"""photo [n, 5, 4, 3] -> kind [n, 3], probabilities."""
MIXED = """
import tensorflow as tf

class Mixed(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words"), tf.TensorSpec([None], tf.int64, name="times")])
    def __call__(self, words, times):
        return {"loud": tf.strings.join([words, "!", words]), "raw_bytes": words, "many": times * 3, "more": times > 1}

    @tf.function(input_signature=[tf.TensorSpec([2, 3], tf.float32, name="x"), tf.TensorSpec([], tf.float32, name="by")])
    def scale(self, x, by):
        return {"scaled": x * by, "sum": tf.reduce_sum(x, 1)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float16, name="half")])
    def half(self, half):
        return {"double": half * 2}

    @tf.function(input_signature=[tf.TensorSpec([None, 300000], tf.float32, name="wave")])
    def long(self, wave):
        return {"peak": tf.reduce_max(wave, 1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="value")])
    def positive(self, value):
        return {"positive": tf.boolean_mask(value, value > 0)}

def build():
    return Mixed()
"""
FLOAT, INTEGERS = 1e-4, 2e-2
"""How far a program's answer may be, by the runtime's own rounding and by that of int8 ends."""

Make = Callable[..., ModelSpec]


@pytest.fixture(scope="module", name="pool", autouse=True)
def _pool() -> Iterator[Pool]:
    with staying() as pool:
        yield pool


def installed(release: Path, folder: Path) -> Path:
    """A copy of a release with npm's packages, as USAGE.md says."""
    shutil.copytree(release, folder / "copy")
    (folder / "copy" / "node_modules").symlink_to(programs.JS / "node_modules")
    return folder / "copy"


@pytest.fixture(scope="module", name="pictures")
def _pictures(make_spec: Make, pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = make_spec(
        PICTURES, name="pictures", golden={"data": "pictures.py:data", "samples": 24},
        labels={"kind": ["cat", "dog", "<img src=x onerror=document.title=1>"]},
        preprocessing={"photo": {"mean": [127.5, 127.5, 127.5], "std": [60.0, 61.0, 62.0], "color": "bgr"}},
        targets={
            "tflite": {"variants": ["float32", "float16", "int8-io"], "shapes": {"batch": 2}},
            "tfjs": {}, "hdf5": {}, "serving": {},
        },
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("pictures")
    return installed(releases.publish(spec, folder / "releases", pool).path, folder)


@pytest.fixture(scope="module", name="mixed")
def _mixed(make_spec: Make, pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    signatures = {"serving_default": "__call__", **{key: key for key in ("scale", "half", "long", "positive")}}
    targets = {name: {"optional": True} for name in ("tflite", "tfjs", "hdf5", "serving")}
    targets["tflite"] |= {"variants": ["float32"]}
    spec = make_spec(MIXED, name="mixed", signatures=signatures, targets=targets)
    folder = tmp_path_factory.mktemp("mixed")
    return installed(releases.publish(spec, folder / "releases", pool).path, folder)


def default_first(keys: Iterable[str | None]) -> list[str]:
    """In the order in which programs print."""
    return sorted((key for key in keys if key is not None), key=lambda key: key != "serving_default")


def expected(release: Path, key: str, sizes: str = "") -> Any:
    """What response.json holds."""
    return json.loads((release / "examples" / key / sizes / "response.json").read_text())


@pytest.mark.parametrize(
    ("program", "argument", "sizes", "limit"),
    [
        ("tflite", None, "", FLOAT),
        ("tflite", "tflite/float16.tflite", "", 1e-2),
        ("tflite_int8-io", None, "", INTEGERS),
        ("tflite_float32-batch2", None, "2x5x4x3", FLOAT),
        ("tflite_int8-io-batch2", None, "2x5x4x3", INTEGERS),
        ("keras", None, "", FLOAT),
        ("saved_model", None, "", FLOAT),
    ],
)
def test_python_prints_the_answer(pictures: Path, program: str, argument: str | None, sizes: str, limit: float) -> None:
    (answer,) = run.python(pictures / f"examples/{program}.py", *filter(None, [argument]))
    assert run.distance(answer, expected(pictures, "serving_default", sizes)) <= limit


def test_python_prints_something_else_when_a_weight_is_wrong(pictures: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(pictures / "examples", copy / "examples")
    shutil.copytree(pictures / "tflite", copy / "tflite")
    content = (copy / "tflite/float32.tflite").read_bytes()
    bias, other = (np.array(values, "<f4").tobytes() for values in ([0.3125] * 3, [3, 0.3125, 0.3125]))
    assert content.count(bias) == 1
    (copy / "tflite/float32.tflite").write_bytes(content.replace(bias, other))
    (answer,) = run.python(copy / "examples/tflite.py")
    assert run.distance(answer, expected(copy, "serving_default")) > FLOAT


def test_python_needs_nothing_of_this_package_when_it_is_run_by_itself(pictures: Path) -> None:
    (answer,) = run.printed([sys.executable, "-W", "error", pictures / "examples/tflite.py"])
    assert run.distance(answer, expected(pictures, "serving_default")) <= FLOAT


@pytest.mark.parametrize("program", ["tfjs", "tfjs_layers"])
def test_node_prints_the_answer(pictures: Path, program: str) -> None:
    (line,) = run.node(pictures / f"examples/{program}.mjs")
    assert run.distance(json.loads(line), expected(pictures, "serving_default")) <= FLOAT


@pytest.mark.parametrize(("page", "sizes"), [("tfjs", ""), ("tfjs_layers", ""), ("tflite_float32-batch2", "2x5x4x3")])
def test_the_page_shows_the_answer(pictures: Path, page: str, sizes: str) -> None:
    with run.served_files(pictures) as address:
        shown = ["wait", "#answer:not(:empty)"], ["text", "answer", "#answer"], ["evaluate", "title", "document.title"]
        found = run.look(f"{address}/examples/{page}.html", *shown)
    assert run.distance(json.loads(found["answer"]), expected(pictures, "serving_default", sizes)) <= FLOAT
    assert (found["title"], found["thrown"], found["foreign"]) == ("pictures 1", [], [])


def test_the_page_names_what_is_on_a_picture_of_ones_own(pictures: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(run.png(8, 6))
    with run.served_files(pictures) as address:
        steps = ["upload", "#file", str(picture)], ["wait", "#yours:not(:empty)"], ["text", "yours", "#yours"]
        found = run.look(f"{address}/examples/tfjs.html", ["wait", "#answer:not(:empty)"], *steps)
    lines = [re.fullmatch(r"(.+)  ([01]\.\d+)", line) for line in found["yours"].splitlines()]
    assert {line[1] for line in lines if line} == {"cat", "dog", "<img src=x onerror=document.title=1>"}
    assert sum(float(line[2]) for line in lines if line) == pytest.approx(1, abs=1e-3)
    assert (found["thrown"], found["foreign"]) == ([], [])


@pytest.mark.parametrize("release", ["pictures", "mixed"])
def test_tf_serving_is_asked_when_it_serves_the_release(release: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(release)
    written = read(root)
    keys = default_first(written.source.signatures)
    asked = [key for key in keys if (root / "examples" / key / "request.json").is_file()]
    with run.model_server(written.model, root / "serving") as addresses:
        rest = run.python(root / "examples/serving_rest.py", addresses["rest"])
        curl = run.printed(["sh", root / "examples/curl.sh", addresses["rest"]])
        grpc = run.lines(root / "examples/serving_grpc.py", addresses["grpc"])
    over_rest = [key for key in asked if key != "half"]  # whose float16 JSON cannot carry there
    assert len(rest) == len(curl) == len(over_rest)
    for key, one, other in zip(over_rest, rest, curl, strict=True):
        assert run.distance(one, expected(root, key)) <= FLOAT
        assert run.distance(other, expected(root, key)) <= FLOAT
    assert len(grpc) == len(keys)
    answers = [
        json.loads(line) for line in grpc if line.startswith('{"')
    ]  # of those that are too large for JSON, the shapes
    for key, one in zip(asked, answers, strict=True):
        assert run.distance(one, expected(root, key)) <= FLOAT


def test_python_prints_the_answers_of_all_signatures_when_text_and_large_samples_are_among_them(mixed: Path) -> None:
    keys = [row.signature for row in read(mixed).targets if row.target == "tflite" and row.path is not None]
    lines = run.lines(mixed / "examples/tflite.py")
    assert len(lines) == len(keys)
    whole = dict(zip(default_first(keys), lines, strict=True))
    assert run.distance(json.loads(whole["serving_default"]), expected(mixed, "serving_default")) == 0
    assert "peak" in whole["long"]
    assert "select TF ops" in (mixed / "examples/tflite.py").read_text()


def test_node_prints_the_answers_of_all_graph_models(mixed: Path) -> None:
    keys = [row.signature for row in read(mixed).targets if row.target == "tfjs" and row.path is not None]
    lines = run.node(mixed / "examples/tfjs.mjs")
    told = dict(zip(default_first(keys), lines, strict=True))
    assert {"scale", "positive"} <= told.keys()
    for key in ("scale", "positive"):
        assert run.distance(json.loads(told[key]), expected(mixed, key)) <= FLOAT


def test_usage_holds_every_program_word_for_word(pictures: Path) -> None:
    usage = (pictures / "USAGE.md").read_text()
    names = {file.name for file in (pictures / "examples").iterdir() if file.is_file()} - {"labels.json"}
    assert {"tflite.py", "tfjs.html", "tfjs.mjs", "keras.py", "serving_grpc.py", "kubernetes.yaml", "curl.sh"} <= names
    for name in names:
        assert (pictures / "examples" / name).read_text().rstrip() in usage
        assert f"`examples/{name}`" in usage


def test_kotlin_and_swift_have_the_models_names_shapes_and_scales(pictures: Path) -> None:
    usage = (pictures / "USAGE.md").read_text()
    kotlin, swift = (re.findall(rf"```{language}\n(.*?)\n```", usage, re.DOTALL) for language in ("kotlin", "swift"))
    assert "fun servingDefault(file: File, photo: Array<Array<Array<FloatArray>>>): Map<String, Any>" in kotlin[0]
    assert '"kind" to Array(1) { FloatArray(3) }, // float32 [n, 3]' in kotlin[0]
    assert 'runSignature(inputs, outputs, "serving_default")' in kotlin[0]
    assert "toShape: Tensor.Shape([1, 5, 4, 3])" in swift[0]
    assert "photo: [Float32]" in swift[0]
    (row,) = [row for row in read(pictures).targets if row.variant == "int8-io"]
    assert row.quantized is not None
    scale = row.quantized.inputs["photo"]
    (integers,) = [text for text in kotlin if "tflite/int8-io.tflite" in text]
    assert "photo: Array<Array<Array<ByteArray>>>" in integers
    assert quoting.number_of(scale, "integer") in integers


def test_kubernetes_serves_the_model_under_its_name(pictures: Path) -> None:
    deployment, service = yaml.safe_load_all((pictures / "examples/kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "MODEL_NAME", "value": "pictures"} in container["env"]
    assert container["volumeMounts"][0]["mountPath"] == "/models/pictures"
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]


SEVERAL = """
import keras

def build():
    keras.utils.set_random_seed(3)
    one, two = keras.Input((3,), name="zebra"), keras.Input((2,), name="ant")
    both = keras.layers.Concatenate()([keras.layers.Dense(4, activation="tanh")(one), two])
    return keras.Model([one, two], [keras.layers.Dense(2, name="second")(both), keras.layers.Dense(1, name="first")(both)])
"""
"""A Keras 3 model whose inputs and outputs are in another order than their names'."""


def test_inputs_and_outputs_go_by_their_names_when_there_are_several(
    make_spec: Make, pool: Pool, tmp_path: Path
) -> None:
    spec = make_spec(
        SEVERAL, name="several", targets={"hdf5": {}, "tfjs": {"optional": True}, "tflite": {"variants": ["float32"]}}
    )
    root = installed(releases.publish(spec, tmp_path / "releases", pool).path, tmp_path)
    wanted = expected(root, "serving_default")
    assert {*wanted["outputs"]} == {"first", "second"}
    for program in ("keras", "saved_model", "tflite"):
        (answer,) = run.python(root / f"examples/{program}.py")
        assert run.distance(answer, wanted) <= FLOAT, program
    for program in (root / "examples").glob("*.mjs"):
        (line,) = run.node(program)
        assert run.distance(json.loads(line), wanted) <= FLOAT, program.name
