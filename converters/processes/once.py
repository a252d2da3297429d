"""Files that several processes of a run need, and one of them makes for all."""

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from converters.processes.scratch import PREFIX


def once(name: str, make: Callable[[Path], None], otherwise: Path) -> Path:
    """The folder that `make` filled, here or in a process of the same run on this machine that asked for the same name.

    Where there is no directory of a run's own (scratch.begin), which ends with the run, it is made in `otherwise`. Raises
    what `make` raises.
    """
    place = Path(tempfile.gettempdir())
    if not place.name.startswith(PREFIX):
        folder = Path(tempfile.mkdtemp(dir=otherwise))
        make(folder)
        return folder
    folder = place / f"once-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    with folder.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
            part.mkdir()
            make(part)
            part.rename(folder)
    return folder
