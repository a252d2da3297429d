"""What was promoted when: RELEASES/NAME/history.jsonl, a line for each time that `current` was moved, the last at the end."""

import getpass
import os
import socket
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from converters.contract.errors import Damaged
from converters.contract.values import Frozen
from converters.release import durable

HISTORY = "history.jsonl"

How = Literal["deployed", "promoted", "rolled back", "found"]
"""`found`: it was current, and no line said so: whoever had moved it was killed before that, or it was moved by hand."""


class Promotion(Frozen):
    """A version took the place of `replaced`, at a time in UTC, by whom (a run, or user and host), and why."""

    at: str
    version: int
    replaced: int | None
    how: How
    by: str
    reason: str | None = None

    @property
    def time(self) -> datetime:
        """When that was."""
        return datetime.fromisoformat(self.at)


def promotion(version: int, replaced: int | None, how: How, by: str | None, reason: str | None) -> Promotion:
    """One of just now."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return Promotion(at=now, version=version, replaced=replaced, how=how, by=by or somebody(), reason=reason)


def somebody() -> str:
    """Who runs this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def read(model_dir: Path) -> list[Promotion]:
    """All of them, the oldest first. Raises Damaged where a line is none."""
    path = model_dir / HISTORY
    try:
        lines = path.read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise Damaged(f"{path} cannot be read: {error}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):  # whoever wrote it was killed, or the disk was full
            break
        try:
            found.append(Promotion.model_validate_json(line))
        except ValidationError as error:
            raise Damaged(f"{path}, line {number} is no promotion; correct or remove that line") from error
    return found


def append(model_dir: Path, entry: Promotion) -> None:
    """Add one at the end, on the disk when this returns. A line that was cut off is taken away. Raises OSError."""
    path = model_dir / HISTORY
    with path.open("ab+") as file:
        file.seek(0)
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
        file.write(entry.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    durable.sync(model_dir)


def earlier(entries: Sequence[Promotion]) -> list[int]:
    """The versions to go back to from the current one, the one promoted last first.

    Going back takes back the promotions after that version: 1, 2, 3 and two steps back leave 1 with nothing before it.
    """
    standing: list[int] = []
    for entry in entries:
        if entry.how == "rolled back" and entry.version in standing:
            del standing[len(standing) - standing[::-1].index(entry.version) :]
        elif entry.how == "rolled back":
            standing = [entry.version]
        elif standing[-1:] != [entry.version]:
            standing.append(entry.version)
    return list(dict.fromkeys(version for version in reversed(standing[:-1]) if version != standing[-1]))
