"""A build that begins before Prefect is there."""

from collections.abc import Callable
from pathlib import Path

import pytest
import samples

from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput, ChildDied
from flows import ahead, one_at_a_time

pytestmark = pytest.mark.tensorflow


@pytest.fixture(name="spec")
def _spec(make_spec: Callable[..., ModelSpec]) -> ModelSpec:
    return make_spec(samples.MODULE, name="early", targets={"serving": {}})


def _remains(releases: Path) -> list[str]:
    return sorted(path.name for path in (releases / "early").glob(".*")) if (releases / "early").exists() else []


def test_what_has_begun_is_taken_over_and_becomes_a_source(spec: ModelSpec, tmp_path: Path) -> None:
    with ahead.building("early", ["early"], spec, tmp_path):
        begun = ahead.taken_over("early", spec)
        assert begun is not None
        assert ahead.taken_over("early", spec) is None
        with begun:
            assert begun.builder.build().value.kind == "module"
            assert begun.builder.export().value.saved_model.is_relative_to(begun.place.release)
            with pytest.raises(_Locked), one_at_a_time.one_at_a_time(tmp_path, "early", _locked):
                pass
    assert _remains(tmp_path) == []
    with one_at_a_time.one_at_a_time(tmp_path, "early", _locked):
        pass


def test_what_nobody_takes_over_is_ended_and_removed(spec: ModelSpec, tmp_path: Path) -> None:
    with ahead.building("early", ["early"], spec, tmp_path):
        builder = ahead._begun["early"].builder
        assert _remains(tmp_path) == [".staging-1"]
    assert _remains(tmp_path) == []
    with pytest.raises(ChildDied):
        builder.build()


def test_what_has_begun_of_another_spec_is_ended_and_removed(spec: ModelSpec, tmp_path: Path) -> None:
    with ahead.building("early", ["early"], spec, tmp_path):
        other = spec.model_copy(update={"targets": {}})
        assert ahead.taken_over("early", other) is None
        assert _remains(tmp_path) == []


def test_nothing_begins_while_another_process_deploys_the_model(spec: ModelSpec, tmp_path: Path) -> None:
    with one_at_a_time.one_at_a_time(tmp_path, "early", _locked), ahead.building("early", ["early"], spec, tmp_path):
        assert ahead.taken_over("early", spec) is None
        assert _remains(tmp_path) == []


def test_a_build_that_fails_says_so_to_the_flow(make_spec: Callable[..., ModelSpec], tmp_path: Path) -> None:
    spec = make_spec("def build():\n    raise RuntimeError('no checkpoint')\n", name="early", targets={"serving": {}})
    with ahead.building("early", ["early"], spec, tmp_path):
        begun = ahead.taken_over("early", spec)
        assert begun is not None
        with begun, pytest.raises(BadInput, match="no checkpoint"):
            begun.builder.build()


class _Locked(Exception):
    pass


def _locked() -> None:
    raise _Locked
