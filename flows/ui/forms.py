"""The forms of Prefect's UI by which a run is started, and their fields: JSON schemas."""

from collections.abc import Mapping, Sequence
from typing import Any

from converters.config import data
from converters.targets.registry import TARGETS


def form(fields: Mapping[str, dict[str, Any]], required: Sequence[str]) -> dict[str, Any]:
    """The JSON schema of a run's parameters. The server refuses what does not fit it, unknown names included."""
    properties = {
        name: {"title": name, **field, "position": position} for position, (name, field) in enumerate(fields.items())
    }
    return {
        "title": "Parameters",
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def choice(description: str, names: Sequence[str]) -> dict[str, Any]:
    """A field that takes one of these."""
    return {"type": "string", "enum": list(names), "description": description}


def choices(description: str, names: Sequence[str]) -> dict[str, Any]:
    """A field that takes some of these."""
    items = {"type": "string", "enum": list(names)}
    return {"type": "array", "items": items, "uniqueItems": True, "description": description}


ONLY = choices(
    "Only these targets; none chosen means all that the config names. The SavedModel is always made.", TARGETS.choices()
)
FORCE = {"type": "boolean", "default": False, "description": "Do all the work again, also where nothing has changed."}
PROMOTE = {
    "type": "boolean",
    "default": True,
    "description": "Make the new version the current one if every check passed. Without it, it is published only.",
}
TRUST_CODE = {"type": "boolean", "default": False, "description": "Run code that came with it; you trust its maker."}
ACCEPT = {
    "type": "boolean",
    "default": False,
    "description": "Promote it though its signatures are not those of the current release.",
}
DATA = {
    "type": "string",
    "description": f"Real inputs in place of the config's golden.data and representative: {data.FORMS}. By an absolute path.",
}
VERSION = {"type": "integer", "minimum": 1, "description": "The version; without one, the current one."}
