"""What is wrong with a config, as sentences."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from converters.contract.values import Frozen


class TargetProblems(ValueError):
    """Problems of targets' own options; each already begins with the target's name."""


def described(error: ValidationError, model: type[Frozen]) -> list[str]:
    """One `FIELD: what is wrong` for each problem."""
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        joint = "." if isinstance(item.get("ctx", {}).get("error"), TargetProblems) else ": "
        lines.append(f"{where}{joint}{_message(item, model)}" if where else _message(item, model))
    return lines


def _message(item: ErrorDetails, model: type[Frozen]) -> str:
    if item["type"] == "extra_forbidden":
        return f"unknown key; {_known_keys(item['loc'], model)}"
    if item["type"] == "missing":
        return "is required"
    message = item["msg"].removeprefix("Value error, ")
    given = item.get("input")
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) and item["type"] != "value_error" else ""
    return message[0].lower() + message[1:] + shown


def _known_keys(loc: tuple[str | int, ...], model: type[Frozen]) -> str:
    """The keys allowed where `loc` ends, found by following its parts through the models' fields."""
    owner: Any = model
    for part in loc[:-1]:
        field = getattr(owner, "model_fields", {}).get(part)
        # Within a mapping (`inputs.image`) the part is a key, and the next fields are those of its values.
        owner = next(iter(_models(field.annotation)), None) if field is not None else owner
    fields = [name for name in getattr(owner, "model_fields", {}) if name != "base"]
    return choices(str(loc[-1]), fields) if fields else "remove it"


def _models(annotation: Any) -> Iterator[type[Frozen]]:
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def choices(given: str, choices: Iterable[str]) -> str:
    listed = sorted(choices)
    close = difflib.get_close_matches(given, listed, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}choose from {', '.join(listed)}" if listed else "there are none"
