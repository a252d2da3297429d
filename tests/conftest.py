"""Fixtures that tests of both packages share: specs from a builder's text, and tiny sources built once."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Helper modules and the tests' own functions, importable in child processes too, which are given this process's sys.path.
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent / "support"))

import samples
from samples import Sample
from sharing import Shared
from staying import staying

from converters.config import read
from converters.config.spec import ModelSpec
from converters.processes import child as isolate
from converters.processes import resident

pytest_plugins = ["command"]

NEEDS = {
    "tensorflow": {
        "make_sample",
        "given_sample",
        "keras_sample",
        "module_sample",
        "kept_runtimes",
        "kept_children",
        "fanout",
        "home",
    },
    "server": {"server", "fanout", "home"},
}
"""Mark -> the fixtures by which a test has that need. Modules whose tests start such things themselves say it in `pytestmark`."""


LONGEST = (
    "soak/test_long_runs.py",
    *(
        "flows/ui/test_ui.py",
        "flows/ui/test_machines.py",
        "flows/cluster/test_dask.py",
        "whole/test_matrix.py",
        "targets/test_registry.py",
    ),
    *(
        "flows/test_deploy.py",
        "targets/serving/test_model_server.py",
        "flows/ui/test_ui_auth.py",
        "flows/test_unchanged.py",
    ),
    *("release/explain/test_programs.py", "flows/visitor/test_open.py"),
    *(
        "javascript/test_models.py",
        "whole/test_portable.py",
        "whole/test_trained.py",
        "source/test_build.py",
        "whole/test_digits.py",
        "docs/test_commands.py",
    ),
    *("targets/saved_model/test_c_api.py", "targets/test_battery.py", "whole/test_sensitivity_digits.py"),
)
"""Files of tests that take longest: they begin first, so that no process is left alone with one at the end."""
HERE = Path(__file__).parent


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: a test often waits, for a server, a browser or a schedule."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    begins = {HERE / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: begins.get(item.path, len(begins)))
    for item in items:
        for mark, fixtures in NEEDS.items():
            if not fixtures.isdisjoint(getattr(item, "fixturenames", ())):
                item.add_marker(mark)


@pytest.fixture(scope="session", autouse=True)
def warm(request: pytest.FixtureRequest) -> None:
    """Load TensorFlow in the fork server while the first tests run, if one of them needs it."""
    if any(item.get_closest_marker("tensorflow") for item in request.session.items):
        isolate.warm_up()


@pytest.fixture(scope="module")
def kept_runtimes() -> Iterator[None]:
    """What runs the files of a module's tests starts once, as in a deploy of several models."""
    with resident.keeping():
        yield


@pytest.fixture(scope="module")
def kept_children() -> Iterator[None]:
    """What converts, checks and runs the files of a module's tests starts once, for all of them."""
    with staying():
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """What all workers of this run have together."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if own.name.startswith("popen-") else own) / "shared"
    folder.mkdir(exist_ok=True)
    return Shared(folder)


@pytest.fixture(scope="session")
def make_spec(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ModelSpec]:
    """Call with a builder's code and a config's fields: the spec, read from files in a folder of its own."""

    def make(code: str, **fields: object) -> ModelSpec:
        return samples.write_spec(tmp_path_factory.mktemp("model"), code, **fields)

    return make


@pytest.fixture(scope="session")
def make_sample(shared: Shared) -> Callable[..., Sample]:
    """Call as `make_spec`: the model built and exported, once for the same code and fields, so nobody may change it."""

    def make(code: str, **fields: object) -> Sample:
        name = hashlib.sha256(repr((code, sorted(fields.items()))).encode()).hexdigest()[:16]
        return shared.once(name, lambda folder: samples.build(samples.write_spec(folder, code, **fields), folder))

    return make


@pytest.fixture(scope="session")
def given_sample(shared: Shared) -> Callable[..., Sample]:
    """Call with a function of `zoo_sources`, what it takes beside a path, and a name's ending: what it saves, taken by path.

    It is written, built and exported once; nobody may change it.
    """

    def make(write: Callable[..., None], *arguments: Any, ending: str = "") -> Sample:
        name = hashlib.sha256(repr((write.__name__, arguments, ending)).encode()).hexdigest()[:16]

        def build(folder: Path) -> Sample:
            path = folder / f"given{ending}"
            isolate.run(write, path, *arguments)
            return samples.build(read.find(str(path)), folder)

        return shared.once(name, build)

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
    parser.addoption(
        "--machines", choices=["some", "all"], default="some", help="how many odd environments to deploy in"
    )


@pytest.fixture(scope="session")
def share(request: pytest.FixtureRequest) -> int:
    """One in so many mutants is examined."""
    return 1 if request.config.getoption("--mutants") == "all" else 6


@pytest.fixture(scope="session")
def seeds(request: pytest.FixtureRequest) -> int:
    """How many releases of differing seeds are made to see that none is refused."""
    return 20 if request.config.getoption("--mutants") == "all" else 3
