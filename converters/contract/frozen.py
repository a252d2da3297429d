"""What every value is made of."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value: never changed after it is made, and refusing keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Told(Frozen):
    """What a person says in a config: numbers are finite."""

    model_config = ConfigDict(allow_inf_nan=False)
