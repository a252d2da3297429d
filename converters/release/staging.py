"""Versions in the making: staged beside the releases, on the same file system, and published by one rename.

RELEASES/NAME/.staging-N/    whoever makes version N holds a lock on its file `.lock`; it appears with that, by a rename
"""

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from converters.contract.errors import BadInput
from converters.contract.layout import MANIFEST, SIGNATURE
from converters.release import durable
from converters.release.locking import LOCK, taken
from converters.release.manifest import Manifest
from converters.release.signing import NO_KEYS, Keys

_STAGING = ".staging-"
_PRUNED = ".pruned-"
_NEW = ".new-"
_NEW_SECONDS = 60.0
"""A directory that was to become a staging directory is nobody's after this time; it takes milliseconds."""
_LAST_WORDS_SECONDS = 3.0


@dataclass(frozen=True)
class Staging:
    """A version being made: its directory becomes the release."""

    model_dir: Path
    version: int

    @property
    def root(self) -> Path:
        """Holds the release-to-be and the lock."""
        return self.model_dir / f"{_STAGING}{self.version}"

    @property
    def release(self) -> Path:
        """What will be RELEASES/NAME/VERSION."""
        return self.root / "release"

    def publish(self, manifest: Manifest, keys: Keys = NO_KEYS) -> Path:
        """Write the manifest, last, signed if there is a key, and make the version appear by one rename, when it is on the disk."""
        text = manifest.to_json()
        if (signature := keys.sign(text.encode())) is not None:
            (self.release / SIGNATURE).write_bytes(signature)
        (self.release / MANIFEST).write_text(text)
        durable.settle(self.release)
        target = self.model_dir / str(self.version)
        os.rename(self.release, target)
        durable.sync(self.model_dir)
        return target


@contextmanager
def staging(releases: Path, model: str) -> Iterator[Staging]:
    """Reserve the next version of a model; what is left in the staging directory at the end is removed.

    A staging directory whose maker was killed is removed here too: its lock is free.

    Raises:
        BadInput: the releases directory cannot be written.
    """
    model_dir = releases / model
    try:
        with suppress(FileNotFoundError):  # it is new, or another's failed deploy has just removed it
            remove_abandoned(model_dir)
        place, lock = _reserve(model_dir)
    except OSError as error:
        raise unwritable(releases, error) from error
    try:
        yield place
    finally:
        _remove(place.root, lock)
        os.close(lock)
        with suppress(OSError):  # it holds releases
            model_dir.rmdir()


def require_writable(releases: Path) -> None:
    """Make sure that releases can be made there. Raises BadInput where they cannot."""
    try:
        releases.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_STAGING, dir=releases):
            pass
    except OSError as error:
        raise unwritable(releases, error) from error


def unwritable(releases: Path, error: OSError) -> BadInput:
    """Why releases cannot be changed, for a person."""
    return BadInput(
        f"the releases directory {releases} cannot be written: {error.strerror or error}; "
        "choose another with --releases or FANOUT_RELEASES"
    )


def set_aside(release: Path) -> Path:
    """Take a version away by one rename, so that no half of it is ever seen; where it is now, to be removed."""
    gone = Path(tempfile.mkdtemp(prefix=f"{_PRUNED}{release.name}-", dir=release.parent))
    os.rename(release, gone)
    return gone


def remove(path: Path) -> None:
    """Remove all of a directory, which others may remove at the same time. Raises OSError."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():  # not for want of it, then
        shutil.rmtree(path)


def remove_abandoned(model_dir: Path) -> None:
    """Remove what killed processes left of versions that they made or pruned. Raises FileNotFoundError without such a model."""
    for root in model_dir.iterdir():
        new = root.name.startswith(_NEW) and time.time() - root.stat().st_mtime > _NEW_SECONDS
        if new or root.name.startswith(_PRUNED):
            shutil.rmtree(root, ignore_errors=True)  # whoever else removes it finds no fault with that
        if not root.name.startswith(_STAGING):
            continue
        try:
            lock = os.open(root / LOCK, os.O_RDWR)
        except FileNotFoundError:  # gone, lock and all, and what its maker had started wrote on for a moment
            shutil.rmtree(root, ignore_errors=True)
            continue
        except OSError:
            continue
        try:
            if taken(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
                _clear(root)
        finally:
            os.close(lock)


def _remove(root: Path, lock: int) -> None:
    """Remove it; for a moment again and again, since a process that is being ended may still write there."""
    deadline = time.monotonic() + _LAST_WORDS_SECONDS
    while True:
        with suppress(FileNotFoundError):  # the whole releases directory may have been taken away
            _clear(root)
        if not os.fstat(lock).st_nlink or time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _clear(root: Path) -> None:
    """Remove what can be removed, and at last the lock: whoever is killed meanwhile leaves what is seen to be nobody's."""
    lock = root / LOCK
    for path in set(root.iterdir()) - {lock}:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    if set(root.iterdir()) == {lock}:
        lock.unlink()
        with suppress(OSError):  # somebody has written there again
            root.rmdir()


def _reserve(model_dir: Path) -> tuple[Staging, int]:
    while True:
        try:
            model_dir.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=_NEW, dir=model_dir))
        except (FileExistsError, FileNotFoundError):
            if os.path.lexists(model_dir) and not model_dir.is_dir():
                raise
            continue  # another's failed deploy has just removed the model's empty directory
        lock = os.open(new / LOCK, os.O_CREAT | os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        (new / Staging(model_dir, 0).release.name).mkdir()
        while True:
            names = [path.name.removeprefix(_STAGING) for path in model_dir.iterdir()]
            place = Staging(model_dir, max((int(name) for name in names if name.isdigit()), default=0) + 1)
            try:
                os.rename(new, place.root)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    shutil.rmtree(new)
                    os.close(lock)
                    raise
                continue  # somebody else was faster
            return place, lock
