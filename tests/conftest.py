"""Fixtures that tests of both packages share: specs from a builder's text, and tiny sources built once."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Helper modules and the tests' own functions, importable in child processes too, which are given this process's sys.path.
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent / "support"))

import samples
from samples import Sample

from converters.config.spec import ModelSpec
from converters.processes import child as isolate
from converters.processes import resident

pytest_plugins = ["command"]


@pytest.fixture(scope="session", autouse=True)
def warm() -> None:
    """Load TensorFlow in the fork server while the first tests run."""
    isolate.warm_up()


@pytest.fixture(scope="module")
def kept_runtimes() -> Iterator[None]:
    """What runs the files of a module's tests starts once, as in a deploy of several models."""
    with resident.keeping():
        yield


@pytest.fixture(scope="session")
def make_spec(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ModelSpec]:
    """Call with a builder's code and a config's fields: the spec, read from files in a folder of its own."""

    def make(code: str, **fields: object) -> ModelSpec:
        return samples.write_spec(tmp_path_factory.mktemp("model"), code, **fields)

    return make


@pytest.fixture(scope="session")
def make_sample(make_spec: Callable[..., ModelSpec], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Sample]:
    """Call as `make_spec`: the model built and exported."""

    def make(code: str, **fields: object) -> Sample:
        return samples.build(make_spec(code, **fields), tmp_path_factory.mktemp("sample"))

    return make


@pytest.fixture(scope="session")
def keras_sample(make_sample: Callable[..., Sample]) -> Sample:
    """A tf_keras Sequential model, built and exported; shared, so nobody may change it."""
    return make_sample(samples.KERAS, name="tiny_keras")


@pytest.fixture(scope="session")
def module_sample(make_sample: Callable[..., Sample]) -> Sample:
    """A tf.Module with two signatures of two outputs each, built and exported; shared likewise."""
    return make_sample(samples.MODULE, name="tiny_module")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutants", choices=["some", "all"], default="some", help="how many mutated releases to check")


@pytest.fixture(scope="session")
def share(request: pytest.FixtureRequest) -> int:
    """One in so many mutants is examined."""
    return 1 if request.config.getoption("--mutants") == "all" else 6


@pytest.fixture(scope="session")
def seeds(request: pytest.FixtureRequest) -> int:
    """How many releases of differing seeds are made to see that none is refused."""
    return 20 if request.config.getoption("--mutants") == "all" else 3
