"""The ModelServer as a check: found, started, asked, stopped; and whatever may be wrong with one turns the row red.

No real one is to be had here: a double of it (tests/support/model_server_double.py) runs the real SavedModel.
"""

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import model_server_double as double
import psutil
import pytest
import samples
from samples import Converted, Sample
from staying import staying
from waiting import PATIENCE_SECONDS, alive, wait_until

from converters.contract.errors import BadInput, ChildDied, MissingRuntime, ServerFailed
from converters.contract.settings import Limits
from converters.contract.values import CheckResult, Prediction
from converters.processes.child import Child, run
from converters.release.manifest import Row
from converters.targets.serving import model_server
from converters.targets.serving.layout import Layout
from converters.targets.serving.model_server import Container, Program, Remote
from converters.targets.serving.running import ADDRESSES
from tests.targets.saved_model import harms as saved_model_harms

EVERY = {"serving_default", "summary"}
RUNTIME = "tensorflow_model_server 2.19.0"

KINDS = """
import tensorflow as tf

KINDS = ["bool", "int8", "int32", "int64", "uint8", "uint32", "uint64", "float32", "float64", "string"]
ONLY_GRPC = ["float16", "bfloat16", "complex64"]

class Kinds(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 2], kind, name=f"in_{kind}") for kind in KINDS])
    def __call__(self, *given):
        outputs = {f"out_{kind}": tf.identity(value) for kind, value in zip(KINDS, given)}
        odd = tf.math.log(given[KINDS.index("float32")] * 0) + [1.0, float("nan")]  # -inf and nan
        return outputs | {"odd": odd, "raw_bytes": given[-1], "latin": given[-1] + b"\\xff\\x00\\n"}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], kind, name=f"in_{kind}") for kind in ONLY_GRPC])
    def narrow(self, *given):
        return {f"out_{kind}": tf.identity(value) for kind, value in zip(ONLY_GRPC, given)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="x"), tf.TensorSpec([3], tf.int64, name="n")])
    def scalar(self, x, n):
        return {"sum": x + tf.cast(tf.reduce_sum(n), tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def shout(self, words):
        return {"loud": tf.strings.upper(words)}

def build():
    module = Kinds()
    return module
"""

EXAMPLES = """
import tensorflow as tf

FEATURES = {
    "x": tf.io.FixedLenFeature([3], tf.float32),
    "n": tf.io.FixedLenFeature([1], tf.int64),
    "word": tf.io.FixedLenFeature([], tf.string),
}

class Estimator(tf.Module):
    def scores(self, inputs):
        parsed = tf.io.parse_example(inputs, FEATURES)
        length = tf.cast(tf.strings.length(parsed["word"]), tf.float32)[:, None]
        return tf.sigmoid(parsed["x"]) * (1.5 + tf.sin(tf.cast(parsed["n"], tf.float32) + length))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def __call__(self, inputs):
        scores = self.scores(inputs)
        return {"scores": scores, "classes": tf.strings.as_string(tf.argsort(scores))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def price(self, inputs):
        return {"outputs": tf.reduce_sum(self.scores(inputs), axis=1, keepdims=True)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def flat(self, inputs):
        return {"outputs": tf.reduce_sum(self.scores(inputs), axis=1)}

def build():
    return Estimator()
"""
METHODS = {"serving_default": "classify", "price": "regress", "flat": "regress"}


def from_sample(sample: Sample, **changes: Any) -> Converted:
    """serving/1 of the sample, to be checked with the spec's serving options and limits changed."""
    limits = changes.pop("limits", sample.spec.limits)
    options = sample.spec.targets["serving"].model_copy(update=changes)
    spec = sample.spec.model_copy(update={"targets": {**sample.spec.targets, "serving": options}, "limits": limits})
    return samples.converted(Sample(spec, sample.built, sample.source), "serving")


@pytest.fixture(scope="module", autouse=True)
def _staying() -> Iterator[None]:
    """Only what looks for servers and asks them has children of its own, which see the test's PATH."""
    with staying(model_server.__name__):
        yield


@pytest.fixture(scope="module")
def sound(module_sample: Sample) -> Converted:
    """serving/1 of a tf.Module with two signatures."""
    return from_sample(module_sample)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is all of PATH (but for the shell's programs); afterwards nothing that was started there lives."""
    folder = tmp_path / "bin"
    folder.mkdir()
    shell = tmp_path / "shell"
    shell.mkdir()
    for name in ("sh", "cat"):
        (shell / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", f"{folder}:{shell}")
    monkeypatch.delenv(ADDRESSES, raising=False)
    left_before = leftovers()
    yield folder
    lines = [line for started in folder.rglob("started") for line in started.read_text().splitlines()]
    wait_until(lambda: not any(alive(int(line.split()[0])) for line in lines), lambda: lines)
    assert leftovers() == left_before


def leftovers() -> set[str]:
    """What checks of servers keep in the directory for temporary files; other tests' logs are files."""
    return {p.name for p in Path("/tmp").glob("fanout-*") if (p / "models").is_dir()}


def of_server(row: Row) -> list[CheckResult]:
    """The row's findings that a ModelServer, or its absence, gave."""
    return [c for c in row.checks if c.runtime.startswith(("tensorflow_model_server", "ModelServer"))]


def asked(made: Converted, server: Any, work: Path, seconds: float = PATIENCE_SECONDS) -> list[Prediction]:
    """What a server makes of each signature, in a child of its own as in a check."""
    work.mkdir()
    cases = {key: [case.inputs for case in cases] for key, cases in made.sample.golden.cases.items()}
    artifacts, deadline = made.conversion.artifacts, time.monotonic() + seconds
    answered: list[Prediction] = run(server.predict, artifacts, cases, work, deadline, fresh=True).value
    return answered


# Absent.


def test_check_leaves_the_server_out_and_passes_when_there_is_none(sound: Converted, path: Path) -> None:
    rows = sound.check()
    assert samples.turned(rows) == {}
    for row in rows:
        assert (row.status, row.reason) == ("passed", None)
        (check,) = of_server(row)
        assert (check.name, check.status, check.required) == ("model_server", "not_run", False)
        assert check.detail == (
            "no ModelServer is on this machine: install tensorflow_model_server, or Docker and its image by "
            "`docker pull tensorflow/serving:2.19.0`, or set FANOUT_MODEL_SERVER to one that runs"
        )
        assert row.left_out() == [check]
        assert row.runtimes() == ["TensorFlow C API 2.19.0", "warmup replay"]


def test_check_fails_model_server_when_there_is_none_and_it_is_required(module_sample: Sample, path: Path) -> None:
    rows = from_sample(module_sample, require_server=True).check()
    assert samples.turned(rows) == {key: {"model_server"} for key in EVERY}
    for row in rows:
        assert str(row.reason).startswith("model_server on tensorflow_model_server: the config requires it, but no Mod")
        assert row.runtimes() == ["TensorFlow C API 2.19.0", "warmup replay"]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (None, "Docker's engine does not answer: install tensorflow_model_server, or start the engine and get its"),
        ((), "or get Docker's image by `docker pull tensorflow/serving:2.19.0`"),
        (("latest-devel", "<none>"), "or get Docker's image by `docker pull tensorflow/serving:2.19.0`"),
    ],
    ids=["no engine", "no image", "no usable image"],
)
def test_find_raises_missing_runtime_and_pulls_nothing_when_docker_cannot_run_it(
    path: Path, tags: tuple[str, ...] | None, said: str
) -> None:
    double.write_docker(path, tags)
    with pytest.raises(MissingRuntime, match=re.escape(said)):
        model_server.find()
    assert set(docker_commands(path)) <= {"version", "image"}


def docker_commands(folder: Path) -> list[str]:
    """The first word of every command that the double of docker was given."""
    return [line.split('"')[1] for line in (folder / "commands").read_text().splitlines()]


# Present.


def test_check_passes_over_grpc_and_rest_when_the_server_is_sound(sound: Converted, path: Path) -> None:
    double.write_program(path)
    rows = sound.check()
    assert samples.turned(rows) == {}
    for row in rows:
        (server, *others) = of_server(row)
        assert (server.name, server.status, server.runtime) == ("model_server", "passed", RUNTIME)
        assert server.detail.startswith("tensorflow_model_server: AVAILABLE after ")
        assert server.detail.endswith("; 2 warmup requests replayed, says its log")
        for how in ("grpc", "rest"):
            names = [check.name for check in others if check.runtime == f"{RUNTIME} {how}"]
            assert set(names) == {"outputs", "finite", "values", "batch"}
        assert row.runtimes() == ["TensorFlow C API 2.19.0", "warmup replay", f"{RUNTIME} grpc", f"{RUNTIME} rest"]


def test_check_passes_when_inputs_and_outputs_are_of_every_kind(make_sample: Callable[..., Sample], path: Path) -> None:
    double.write_program(path)
    keys = ("serving_default", "narrow", "scalar", "shout")
    methods = {key: key if key != "serving_default" else "__call__" for key in keys}
    inputs = {"in_string": {"values": ["caf\xe9", "tea", '"'], "shape": [2]}}
    sample = make_sample(KINDS, signatures=methods, golden={"inputs": inputs, "constant": ["odd"]})
    rows = {str(row.signature): row for row in from_sample(sample).check()}
    assert {key: (row.status, row.reason) for key, row in rows.items()} == dict.fromkeys(keys, ("passed", None))
    for key, row in rows.items():
        rest = f"{RUNTIME} rest" in row.runtimes()
        assert rest == (key != "narrow")
        left_out = "not asked over REST, whose JSON has no such type: input 'in_bfloat16' is bfloat16"
        assert (left_out in of_server(row)[0].detail) != rest


@pytest.fixture(scope="module")
def estimator(make_sample: Callable[..., Sample], tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """serving/1 of a model that takes tf.Examples, with one signature for classify and two for regress."""
    methods = {"serving_default": "__call__", "price": "price", "flat": "flat"}
    inputs = {"inputs": {}}
    made = samples.converted(make_sample(EXAMPLES, signatures=methods, golden={"inputs": inputs}), "serving")
    for key, method in METHODS.items():
        run(saved_model_harms.edit_saved_model, made.path, "set_method", key, method)
    return made


def test_check_classifies_and_regresses_when_the_method_names_say_so(estimator: Converted, path: Path) -> None:
    double.write_program(path)
    rows = estimator.check()
    assert samples.turned(rows) == {}
    for row in rows:
        method = METHODS[str(row.signature)]
        assert {f"{RUNTIME} {how} {method}" for how in ("grpc", "rest")} <= set(row.runtimes())


def test_check_fails_values_when_classify_alone_answers_wrongly(estimator: Converted, path: Path) -> None:
    double.write_program(path, "wrong classify")
    rows = estimator.check()
    assert samples.turned(rows) == {"serving_default": {"values"}} or samples.turned(rows) == {
        "serving_default": {"values", "batch"}
    }
    assert {check.runtime for check in samples.not_passed(rows)} == {f"{RUNTIME} grpc classify"}


def test_check_fails_when_a_classify_signature_has_other_inputs_than_tf_examples(sound: Converted, path: Path) -> None:
    double.write_program(path)
    (copy := sound.copy(path / "copy"))
    run(saved_model_harms.edit_saved_model, copy.path, "set_method", "summary", "classify")
    rows = copy.check()
    assert samples.turned(rows) == {"summary": {"runs"}}
    assert "classify over grpc: takes one input called 'inputs', and the signature has ['signal']" in str(
        rows[1].reason
    )


# Whatever may be wrong with it.


@pytest.mark.parametrize("how", ["grpc", "rest"])
def test_check_fails_one_runtime_when_the_server_answers_wrongly_there(sound: Converted, path: Path, how: str) -> None:
    double.write_program(path, f"wrong {how}")
    rows = sound.check()
    assert samples.turned(rows).keys() == EVERY
    assert all("values" in checks for checks in samples.turned(rows).values())
    assert {check.runtime for check in samples.not_passed(rows)} == {f"{RUNTIME} {how}"}


def test_check_fails_model_server_with_a_sentence_when_the_server_does_not_start(sound: Converted, path: Path) -> None:
    double.write_program(path, "exits")
    rows = sound.check()
    assert samples.turned(rows) == {key: {"model_server"} for key in EVERY}
    for row in rows:
        assert row.reason == (
            "model_server on tensorflow_model_server: tensorflow_model_server ended with exit status 255 before it served "
            "the model: Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: 'models.config'"
        )
        assert row.runtimes() == ["TensorFlow C API 2.19.0", "warmup replay"]


def test_check_fails_runs_when_the_server_dies_in_the_middle_of_a_call(sound: Converted, path: Path) -> None:
    double.write_program(path, "dies")
    rows = sound.check()
    assert samples.turned(rows) == {key: {"runs"} for key in EVERY}
    assert str(rows[0].reason).startswith(
        f"runs on {RUNTIME} grpc: tensorflow_model_server ended with exit status 3 while it was asked"
    )
    assert {check.runtime for check in samples.not_passed(rows)} == {f"{RUNTIME} grpc", f"{RUNTIME} rest"}


@pytest.mark.parametrize(
    ("behaviour", "seconds", "said"),
    [
        (
            "load error",
            PATIENCE_SECONDS,
            "tensorflow_model_server could not load tiny_module 1: Could not find meta graph def",
        ),
        ("no warmup", PATIENCE_SECONDS, "tensorflow_model_server found no warmup requests, says its log"),
        ("half warmup", PATIENCE_SECONDS, "tensorflow_model_server replayed 1 of 2 warmup requests, says its log"),
        ("loading", 6, r"tiny_module 1 was not AVAILABLE in tensorflow_model_server after \d\.\d s: "),
    ],
)
def test_predict_raises_server_failed_with_a_sentence_when_it_does_not_come_up(
    sound: Converted, path: Path, tmp_path: Path, behaviour: str, seconds: float, said: str
) -> None:
    with pytest.raises(ServerFailed, match=f"^{said}"):
        asked(sound, Program(path=double.write_program(path, behaviour)), tmp_path / "work", seconds)


def test_predict_raises_server_failed_when_the_program_cannot_be_executed(
    sound: Converted, path: Path, tmp_path: Path
) -> None:
    program = path / "tensorflow_model_server"
    program.write_bytes(b"\x7fELF nothing")
    program.chmod(0o755)
    with pytest.raises(ServerFailed, match=r"ended with exit status 1 before it served the model: .*format error"):
        asked(sound, Program(path=program), tmp_path / "work")


def test_predict_does_not_claim_a_warmup_when_the_log_is_silent(sound: Converted, path: Path, tmp_path: Path) -> None:
    answers = asked(sound, Program(path=double.write_program(path, "silent")), tmp_path / "work")
    assert "its log says nothing of warmup requests" in (answers[0].ran or "")
    assert [prediction.error for prediction in answers[0].also] == [None, None]


def test_predict_gives_an_error_for_one_signature_when_its_calls_hang(
    sound: Converted, path: Path, tmp_path: Path
) -> None:
    first, second = asked(sound, Program(path=double.write_program(path, "hangs")), tmp_path / "work", 20)
    assert [prediction.error for prediction in first.also] == [
        "a call over gRPC had no answer in the time it had",
        "predict over REST had no answer in the time it had",
    ]
    assert [prediction.error for prediction in second.also] == [None, None]


def test_server_is_killed_when_it_ignores_sigterm(sound: Converted, path: Path, tmp_path: Path) -> None:
    asked(sound, Program(path=double.write_program(path, "ignores SIGTERM")), tmp_path / "work")  # `path` looks for it


def test_server_ends_when_the_process_that_started_it_is_killed(sound: Converted, path: Path, tmp_path: Path) -> None:
    server = Program(path=double.write_program(path, "loading"))
    cases = {key: [case.inputs for case in cases] for key, cases in sound.sample.golden.cases.items()}
    (tmp_path / "work").mkdir()

    def kill_when_started() -> None:
        started = path / "started"
        wait_until(lambda: started.exists() and "--port" in started.read_text())
        for child in psutil.Process().children():
            if "--multiprocessing-fork" in child.cmdline():
                child.kill()

    with Child(fresh=True, limits=Limits(seconds=PATIENCE_SECONDS)) as child:
        killer = threading.Thread(target=kill_when_started)
        killer.start()
        with pytest.raises(ChildDied):
            child.call(
                server.predict,
                sound.conversion.artifacts,
                cases,
                tmp_path / "work",
                time.monotonic() + PATIENCE_SECONDS,
            )
        killer.join()
        (line,) = [line for line in (path / "started").read_text().splitlines() if "--port" in line]
        wait_until(lambda: not alive(int(line.split()[0])))


# Docker.


@pytest.mark.parametrize(
    ("tags", "chosen"),
    [(("nightly", "2.19.0"), "2.19.0"), (("latest-devel", "latest"), "latest"), (("2.18.0",), "2.18.0")],
)
def test_find_chooses_the_image_of_this_tensorflow_or_the_latest(
    path: Path, tags: tuple[str, ...], chosen: str
) -> None:
    docker = double.write_docker(path, tags)
    assert model_server.find() == Container(docker=docker, image=f"tensorflow/serving:{chosen}")


def test_check_runs_the_container_when_docker_holds_the_image(sound: Converted, path: Path) -> None:
    double.write_docker(path, ("latest",))
    rows = sound.check()
    assert samples.turned(rows) == {}
    for row in rows:
        assert of_server(row)[0].detail.startswith("tensorflow_model_server of tensorflow/serving:latest: AVAILABLE")
        assert {f"{RUNTIME} grpc", f"{RUNTIME} rest"} <= set(row.runtimes())
    assert docker_commands(path) == ["version", "image"] * 2 + ["run", "run", "rm"]  # looked for here, and in the child


def test_container_is_removed_when_it_does_not_come_up(sound: Converted, path: Path, tmp_path: Path) -> None:
    docker = double.write_docker(path, ("latest",), "exits")
    with pytest.raises(ServerFailed, match="tensorflow/serving:latest ended with exit status 255 before it served"):
        asked(sound, Container(docker=docker, image="tensorflow/serving:latest"), tmp_path / "work")
    assert docker_commands(path)[-1] == "rm"


def test_container_ends_when_its_standard_input_does(sound: Converted, path: Path, tmp_path: Path) -> None:
    docker = double.write_docker(path, ("latest",))
    layout = Layout(sound.path, "tiny_module", 2)
    with Container(docker=docker, image="tensorflow/serving:latest").running(layout, tmp_path) as running:
        assert running.process is not None
        assert running.process.stdin is not None
        wait_until((path / "image" / "started").exists)
        running.process.stdin.close()  # as when the docker client is killed
        running.process.wait(PATIENCE_SECONDS)


# By address.


@pytest.fixture
def running(sound: Converted, path: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A double that somebody else started on version 1 of tiny_module, where `path` does not find it: its addresses."""
    program = double.write_program(tmp_path / "elsewhere")
    layout = Layout(sound.path, "tiny_module", 2)
    config = layout.write(tmp_path / "models", str(tmp_path / "models"), link=True)
    ports = model_server.free_ports()
    process = subprocess.Popen(
        [program, f"--port={ports['grpc']}", f"--rest_api_port={ports['rest']}", f"--model_config_file={config}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: _listens(ports["rest"]))
        yield f"127.0.0.1:{ports['grpc']}", f"127.0.0.1:{ports['rest']}"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_check_asks_the_server_at_the_address_and_leaves_it_running(
    sound: Converted, running: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ADDRESSES, f"grpc={running[0]},rest={running[1]}")
    rows = sound.check()
    assert samples.turned(rows) == {}
    assert {f"ModelServer at {running[0]} grpc", f"ModelServer at {running[0]} rest"} <= set(rows[0].runtimes())
    assert "whether it replayed the warmup requests is not to be seen from here" in of_server(rows[0])[0].detail
    again = asked(sound, model_server.find(), tmp_path / "work")
    assert [prediction.error for answered in again for prediction in answered.also] == [None] * 4


def test_predict_raises_server_failed_when_the_address_serves_another_version(
    module_sample: Sample, tmp_path: Path, running: tuple[str, str]
) -> None:
    source = module_sample.source.model_copy(update={"version": 2})
    second = samples.converted(Sample(module_sample.spec, module_sample.built, source), "serving")
    with pytest.raises(ServerFailed, match="does not serve tiny_module 2: it has version 1 of it"):
        asked(second, Remote(grpc=running[0], rest=running[1]), tmp_path / "work")


def test_predict_raises_server_failed_when_the_address_serves_another_model(
    keras_sample: Sample, tmp_path: Path, running: tuple[str, str]
) -> None:
    other = samples.converted(keras_sample, "serving")
    with pytest.raises(ServerFailed, match="does not serve tiny_keras 1: it knows no such model"):
        asked(other, Remote(grpc=running[0], rest=running[1]), tmp_path / "work")


def test_check_fails_model_server_when_nothing_listens_at_the_address(
    sound: Converted, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = model_server.free_ports()
    nobody = f"127.0.0.1:{ports['grpc']}"
    monkeypatch.setenv(ADDRESSES, f"grpc={nobody},rest=127.0.0.1:{ports['rest']}")
    rows = sound.check()
    assert samples.turned(rows) == {key: {"model_server"} for key in EVERY}
    said = f"nothing listens at {nobody}: [Errno 111] Connection refused; correct or unset FANOUT_MODEL_SERVER"
    assert rows[0].reason == f"model_server on tensorflow_model_server: {said}"
    with pytest.raises(MissingRuntime, match=re.escape(said)):
        model_server.look()


def test_predict_raises_server_failed_when_the_address_answers_no_grpc(
    sound: Converted, running: tuple[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ServerFailed, match="a call over gRPC ended as UNAVAILABLE"):
        asked(sound, Remote(grpc=running[1], rest=running[1]), tmp_path / "work")


def test_predict_gives_an_error_over_rest_when_the_address_answers_no_http(
    sound: Converted, running: tuple[str, str], tmp_path: Path
) -> None:
    for answered in asked(sound, Remote(grpc=running[0], rest=running[0]), tmp_path / "work"):
        over_grpc, over_rest = answered.also
        assert over_grpc.error is None
        assert str(over_rest.error).startswith("predict over REST was cut off: ")


@pytest.mark.parametrize("given", ["localhost:8500", "grpc=a:1", "grpc=a,rest=b", "grpc=a:1,rest=b:x"])
def test_find_raises_bad_input_when_the_address_is_malformed(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESSES, given)
    with pytest.raises(BadInput, match=r"it must be grpc=HOST:PORT,rest=HOST:PORT"):
        model_server.find()


def test_look_says_version_and_place_of_each_kind(path: Path, running: tuple[str, str], monkeypatch: Any) -> None:
    with pytest.raises(MissingRuntime, match="no ModelServer is on this machine"):
        model_server.look()
    double.write_docker(path, ("2.19.0",))
    assert model_server.look() == "2.19.0 (Docker's image tensorflow/serving:2.19.0)"
    program = double.write_program(path)
    assert model_server.look() == f"2.19.0 ({program})"
    monkeypatch.setenv(ADDRESSES, f"grpc={running[0]},rest={running[1]}")
    assert model_server.look() == f"version unknown (at {running[0]} and {running[1]}, by FANOUT_MODEL_SERVER)"
