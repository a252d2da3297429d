"""What is current here, in the other place that the settings name."""

from typing import NamedTuple

from converters.contract.errors import FanoutError, StoreFailed
from converters.release import publish as here
from converters.release.assemble import Released
from converters.release.locking import reading
from converters.release.mirror import Sent
from flows.settings import Settings


class Published(NamedTuple):
    """The version that is current there, and what it took."""

    version: int
    sent: Sent


def publish(settings: Settings, model: str) -> Published | None:
    """Have what is current here there, too; None where nothing is, or no other place is named.

    Raises:
        StoreFailed: it could not be brought there; what is here stays as it is, and what has been sent is not sent again.
    """
    if settings.publish is None:
        return None
    done = None
    # Somebody may promote another meanwhile: who comes last has seen what is current at the end.
    while (version := here.current(settings.releases, model)) is not None and (done is None or done.version != version):
        done = Published(version, _bring(settings, model, version))
    return done


def _bring(settings: Settings, model: str, version: int) -> Sent:
    release = settings.releases / model / str(version)
    try:
        with reading(release):
            return settings.mirror().publish(release, settings.read_keys())
    except FanoutError as error:
        raise StoreFailed(
            f"{model} {version} is current here, and not there: {error}; `fanout publish {model}` tries again, and "
            "sends only what is missing"
        ) from error


def published(settings: Settings, released: Released) -> Released:
    """A promoted version, and what kept it from being current there too, if anything did."""
    try:
        publish(settings, released.manifest.model)
    except StoreFailed as error:
        return released.model_copy(update={"only_here": str(error)})
    return released
