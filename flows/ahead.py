"""A build that begins before Prefect is there, whose import and server take seconds, and is then taken over by the flow.

What has begun holds what the flow would hold by then: the model's lock, the version's staging directory, and the child that
builds.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from converters.config.spec import ModelSpec
from converters.contract import layout
from converters.release.publish import tidy
from converters.release.staging import Staging, staging
from converters.source.builder import Builder
from converters.steps import again, key
from flows.one_at_a_time import one_at_a_time


@dataclass(frozen=True)
class Begun:
    """A version whose model is being built; a context manager that ends and removes what has not become a release."""

    spec: ModelSpec
    recipe: key.Recipe
    place: Staging
    builder: Builder
    since: float
    """By the monotonic clock."""
    _held: ExitStack

    def __enter__(self) -> "Begun":
        return self

    def __exit__(self, *exc: object) -> None:
        self._held.close()


class _Busy(Exception):
    """Another process deploys the model."""


_begun: dict[str, Begun] = {}


def start(named: Sequence[str], spec: ModelSpec, place: Staging) -> Builder:
    """Begin to build a version; `named` is how the person named the model and its data."""
    work, log = place.release / layout.SOURCE, place.release / layout.BUILD_LOG
    work.mkdir()
    again.head(log, f"builds {spec.name} {place.version}", ["fanout", "deploy", *named, "--force"])
    return Builder(spec, place.release, work, place.version, log)


@contextmanager
def building(model: str, named: Sequence[str], spec: ModelSpec, releases: Path) -> Iterator[None]:
    """Build a model of which nothing may stay, until in the block its flow takes it over.

    Where another process deploys it, nothing begins. Raises BadInput where the releases cannot be written.
    """
    with suppress(_Busy):
        _begun[model] = _begin(named, spec, releases)
    try:
        yield
    finally:
        if (left := _begun.pop(model, None)) is not None:
            with left:
                pass


def taken_over(model: str, spec: ModelSpec) -> Begun | None:
    """What has begun of the model, if it is what a deploy would begin now."""
    begun = _begun.pop(model, None)
    if begun is None or (begun.spec == spec and begun.recipe == key.recipe(spec)):
        return begun
    with begun:
        return None


def _begin(named: Sequence[str], spec: ModelSpec, releases: Path) -> Begun:
    since = time.monotonic()
    with ExitStack() as held:
        held.enter_context(one_at_a_time(releases, spec.name, _give_way))
        tidy(releases, spec.name)
        recipe = key.recipe(spec)
        place = held.enter_context(staging(releases, spec.name))
        builder = held.enter_context(start(named, spec, place))
        return Begun(spec, recipe, place, builder, since, held.pop_all())


def _give_way() -> None:
    raise _Busy
