"""What a caller's raw values become before a model is given them."""

from typing import Any, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from converters.contract.frozen import Told


class Preprocessing(Told):
    """What a caller's raw values become before they are given to an input; text alone is the description.

    `mean` and `std` have one value, or one for each channel (the last dimension): the input is (raw - mean) / std, as in
    TensorFlow Lite Metadata's NormalizationOptions (metadata_schema.fbs).
    """

    description: str = Field(default="", description="in words")
    mean: tuple[float, ...] = Field(default=(), description="taken off a raw value; one, or one for each channel")
    std: tuple[float, ...] = Field(default=(), description="by which it is divided then; one, or one for each channel")
    color: Literal["rgb", "bgr", "grayscale"] | None = Field(
        default=None, description="the order of an image's channels"
    )

    @model_validator(mode="before")
    @classmethod
    def _description_alone(cls, value: Any) -> Any:
        return {"description": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(schema) | {"minProperties": 1}]}

    @model_validator(mode="after")
    def _of_one_length(self) -> "Preprocessing":
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean and std must be as many: {len(self.mean)} and {len(self.std)} are given")
        if not self.description and not self.std and self.color is None:
            raise ValueError("says nothing: give a text, or mean and std, or color")
        if any(each <= 0 for each in self.std):
            raise ValueError("std must be above 0")
        return self
