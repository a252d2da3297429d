"""When a model is deployed by itself, and who is told when that fails: the part of a config that no release depends on."""

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from converters.contract.values import Frozen

NEVER = "never"


class Schedule(Frozen):
    """A cron expression and the time zone it is meant in; a string alone is the cron expression, or `never`."""

    cron: str = Field(description="five fields: minute, hour, day of month, month, day of week; or 'never'")
    timezone: str = Field(default="UTC", description="an IANA name: UTC, Europe/Berlin, America/New_York")

    @model_validator(mode="before")
    @classmethod
    def _cron_alone(cls, value: Any) -> Any:
        return {"cron": value} if isinstance(value, str) else value

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        if value != NEVER and len(value.split()) != 5:
            raise ValueError(f"{value!r} is neither 'never' nor of five fields, as '0 2 * * *' is")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"there is no time zone {value!r}; give an IANA name such as Europe/Berlin") from error
        return value


class OnFailure(Frozen):
    """What is called when a run fails; `$NAME` and `${NAME}` stand for environment variables, so that secrets stay out."""

    webhook: str | None = Field(default=None, description="URL to which a JSON document is posted")
    command: str | None = Field(default=None, description="shell command that gets the same document on stdin")

    @model_validator(mode="after")
    def _something(self) -> "OnFailure":
        if self.webhook is None and self.command is None:
            raise ValueError("needs a webhook or a command")
        return self


class Nightly(Frozen):
    """configs/nightly.yaml: what holds for every model whose config does not say otherwise."""

    schedule: Schedule = Schedule(cron=NEVER)
    on_failure: OnFailure | None = None
