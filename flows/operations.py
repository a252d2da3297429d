"""Flows on releases that exist: check again, promote, roll back."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from converters.contract.errors import BadInput, FanoutError
from converters.release import publish
from converters.steps.recheck import recheck
from flows import elsewhere
from flows.settings import in_force
from flows.show import artifacts

ONCE: dict[str, Any] = {"validate_parameters": True, "retries": 0, "persist_result": False}
"""What is the same for every flow, whatever Prefect's settings say of others."""


def this_run() -> str:
    """The flow run that this is called in, for a person."""
    return f"flow run {flow_run.name} ({flow_run.id})"


@flow(name="check-release", flow_run_name="check {model} {version}", **ONCE)
def check_release(model: str, version: int | None = None, trust_code: bool = False) -> State[Any]:
    """Check a release's digests, and every check again; the current version unless one is named.

    `trust_code` runs the code that came with it too: a metric of its own.
    """
    logger = get_run_logger()
    try:
        settings = in_force()
        chosen = version if version is not None else publish.current(settings.releases, model)
        if chosen is None or chosen not in publish.versions(settings.releases, model):
            raise BadInput(f"version: {model} has no {'current version' if version is None else f'version {version}'}")
        manifest = recheck(
            settings.releases / model / str(chosen),
            lambda target, variant: logger.info("checking %s %s", target, variant),
            settings.read_keys(),
            trust_code=trust_code,
        )
    except FanoutError as error:
        return Failed(message=str(error))
    artifacts.record_check(manifest, settings)
    if manifest.refusals:
        return Failed(message=f"{model} {chosen} does not pass its checks any more: {manifest.refusal()}")
    return Completed(message=f"{model} {chosen} passes every check")


@flow(name="promote", flow_run_name="promote {release}{model} {version}", **ONCE)
def promote_release(release: str | None = None, model: str | None = None, version: int | None = None) -> State[Any]:
    """Make a passed version the current one: `release`, as "MODEL VERSION", or `model` and `version`."""
    try:
        settings = in_force()
        model, version = _chosen(release, model, version)
        publish.promote(settings.releases, model, version, by=this_run(), keys=settings.read_keys())
        elsewhere.publish(settings, model)
    except FanoutError as error:
        return Failed(message=str(error))
    return Completed(message=f"{model} {version} is current")


def _chosen(release: str | None, model: str | None, version: int | None) -> tuple[str, int]:
    """Model and version. Raises BadInput where both ways of naming a release are used, or neither is."""
    named, _, number = (release or "").rpartition(" ")
    if release is None and model is not None and version is not None:
        return model, version
    if release is not None and model is None and version is None and number.isdigit():
        return named, int(number)
    raise BadInput("choose a release, as 'MODEL VERSION', or give model and version")


@flow(name="rollback", flow_run_name="roll back {model}", **ONCE)
def rollback_release(model: str) -> State[Any]:
    """Go back to the passed version before the current one."""
    try:
        settings = in_force()
        version = publish.rollback(settings.releases, model, by=this_run(), keys=settings.read_keys())
        elsewhere.publish(settings, model)
    except FanoutError as error:
        return Failed(message=str(error))
    return Completed(message=f"{model} {version} is current")
