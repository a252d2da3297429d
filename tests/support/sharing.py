"""What is made once for a run of the tests, by whichever of its processes needs it first. Found by tests as `samples` is."""

import fcntl
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock that the file stands for, alone or with all who share it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Shared:
    """A folder that all processes of one run of the tests reach."""

    folder: Path

    def once(self, name: str, make: Callable[[Path], T]) -> T:
        """What `make` returned when the first process called it, with a folder of its own; nobody may change it."""
        value = self.folder / f"{name}.pickle"
        with locked(self.folder / f"{name}.lock"):
            if not value.exists():
                place = self.folder / name
                place.mkdir()
                value.write_bytes(pickle.dumps(make(place)))
            made: T = pickle.loads(value.read_bytes())
            return made
