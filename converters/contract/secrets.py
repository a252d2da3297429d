"""What is said of an address or a program does not repeat the secrets that it was given."""

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

_SHORTEST = 4
"""Characters; what is shorter is no secret, and would be found in any text."""
_NAMED = re.compile(r"^FANOUT_|AUTH|CREDENTIAL|KEY|PASSW|SECRET|TOKEN", re.IGNORECASE)


def shown(url: str) -> str:
    """A URL without user, password, query and fragment; a path as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no URL)"
    if not parts.netloc:
        return url
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def of_environment() -> dict[str, str]:
    """`$NAME` -> value of the environment's variables whose names say that they may be secret."""
    return {f"${name}": value for name, value in os.environ.items() if _NAMED.search(name)}


def hidden(text: str, secrets: Mapping[str, str]) -> str:
    """The text with the name in place of each secret's value."""
    for name, value in sorted(secrets.items(), key=lambda each: -len(each[1])):
        if len(value) >= _SHORTEST:
            text = text.replace(value, name)
    return text
