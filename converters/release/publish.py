"""Releases on disk: staged beside, published by one rename, promoted by switching one symlink.

RELEASES/NAME/VERSION/       a published release, never changed after
RELEASES/NAME/.staging-N/    one being made; whoever makes it holds a lock on its file `.lock`
RELEASES/NAME/current        symlink to the promoted version
RELEASES/models.config       what the ModelServer is told, one entry for each model with a promoted release
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from converters.contract.errors import BadInput, Damaged
from converters.contract.layout import MANIFEST
from converters.release import manifest as manifests
from converters.release.manifest import Manifest
from converters.targets import serving
from converters.targets.serving import layout

CURRENT = "current"
_STAGING = ".staging-"
_LOCK = ".lock"
_LOCK_SECONDS = 60.0
"""A staging directory that has no lock after this time is nobody's."""
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

    def publish(self, manifest: Manifest) -> Path:
        """Write the manifest, last, and make the version appear by one rename."""
        _write(self.release / MANIFEST, manifest.to_json())
        target = self.model_dir / str(self.version)
        os.rename(self.release, target)
        _sync(self.model_dir)
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
            _remove_abandoned(model_dir)
        place, lock = _reserve(model_dir)
    except OSError as error:
        raise _unwritable(releases, error) from error
    try:
        yield place
    finally:
        _remove(place.root, lock)
        os.close(lock)
        with suppress(OSError):  # it holds releases
            model_dir.rmdir()


def _remove(root: Path, lock: int) -> None:
    """Remove it; for a moment again and again, since a process that is being ended may still write there."""
    deadline = time.monotonic() + _LAST_WORDS_SECONDS
    while True:
        _clear(root)
        if not os.fstat(lock).st_nlink or time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _clear(root: Path) -> None:
    """Remove what can be removed, and at last the lock: whoever is killed meanwhile leaves what is seen to be nobody's."""
    lock = root / _LOCK
    for path in set(root.iterdir()) - {lock}:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    if set(root.iterdir()) == {lock}:
        lock.unlink()
        with suppress(OSError):  # somebody has written there again
            root.rmdir()


def require_writable(releases: Path) -> None:
    """Make sure that releases can be made there. Raises BadInput where they cannot."""
    try:
        releases.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_STAGING, dir=releases):
            pass
    except OSError as error:
        raise _unwritable(releases, error) from error


def _unwritable(releases: Path, error: OSError) -> BadInput:
    return BadInput(
        f"the releases directory {releases} cannot be written: {error.strerror or error}; "
        "choose another with --releases or FANOUT_RELEASES"
    )


def _reserve(model_dir: Path) -> tuple[Staging, int]:
    while True:
        try:
            model_dir.mkdir(parents=True, exist_ok=True)
            names = [path.name.removeprefix(_STAGING) for path in model_dir.iterdir()]
            place = Staging(model_dir, max((int(name) for name in names if name.isdigit()), default=0) + 1)
            place.root.mkdir()
            lock = os.open(place.root / _LOCK, os.O_CREAT | os.O_RDWR)
        except (FileExistsError, FileNotFoundError):
            if os.path.lexists(model_dir) and not model_dir.is_dir():
                raise
            continue  # somebody else was faster: took the version, or removed the model's empty directory
        if not _locked(lock, fcntl.LOCK_EX):
            os.close(lock)
            continue
        place.release.mkdir()
        return place, lock


def _remove_abandoned(model_dir: Path) -> None:
    for root in model_dir.glob(f"{_STAGING}*"):
        try:
            lock = os.open(root / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            # Its maker has not come to the lock yet; or is gone, lock and all, and what it started wrote on for a moment.
            if time.time() - root.stat().st_mtime > _LOCK_SECONDS:
                shutil.rmtree(root, ignore_errors=True)
            continue
        except OSError:
            continue
        try:
            if _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
                _clear(root)
        finally:
            os.close(lock)


def _locked(lock: int, how: int) -> bool:
    """Lock the file; False where another holds it, or has removed it since it was opened."""
    try:
        fcntl.flock(lock, how)
    except BlockingIOError:
        return False
    return os.fstat(lock).st_nlink > 0


def versions(releases: Path, model: str) -> list[int]:
    """The published versions of a model, oldest first. Raises BadInput where the model has none."""
    model_dir = releases / model
    numbers = sorted(int(p.name) for p in model_dir.iterdir() if p.name.isdigit()) if model_dir.is_dir() else []
    if not numbers:
        others = sorted(p.name for p in releases.iterdir() if p.is_dir()) if releases.is_dir() else []
        raise BadInput(f"{releases} has no release of {model!r}; it has {', '.join(others) or 'none at all'}")
    return numbers


def current(releases: Path, model: str) -> int | None:
    """The promoted version, if any."""
    link = releases / model / CURRENT
    return int(os.readlink(link)) if link.is_symlink() else None


def promote(releases: Path, model: str, version: int) -> None:
    """Make a version the current one, by one rename of a symlink, and list the model in models.config.

    Raises:
        BadInput: there is no such version, or its manifest says that a check failed. One that was only refused for being
            worse than the release before it may be promoted.
    """
    if version not in versions(releases, model):
        raise BadInput(f"{model} has no version {version}; it has {', '.join(map(str, versions(releases, model)))}")
    manifest = manifests.read(releases / model / str(version))
    if not manifest.promotable:
        raise BadInput(f"{model} {version} failed its checks and cannot be promoted; see its report.html")
    link = releases / model / CURRENT
    fresh = link.with_name(f".{CURRENT}-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(str(version))
    os.replace(fresh, link)
    _sync(link.parent)
    _write_models_config(releases)


def rollback(releases: Path, model: str) -> int:
    """Promote the newest passed version older than the current one; returns it. Raises BadInput where there is none."""
    now = current(releases, model)
    if now is None:
        versions(releases, model)
        raise BadInput(f"{model} has no promoted release to roll back from")
    for version in reversed(versions(releases, model)):
        if version < now and manifests.read(releases / model / str(version)).status == "passed":
            promote(releases, model, version)
            return version
    raise BadInput(f"{model} {now} is the oldest passed release; there is none to roll back to")


def prune(releases: Path, model: str, keep: int) -> list[int]:
    """Remove all but the newest `keep` versions; the current one always stays. Returns what was removed."""
    if keep < 1:
        raise BadInput(f"--keep must be at least 1, not {keep}")
    removed = [v for v in versions(releases, model)[:-keep] if v != current(releases, model)]
    for version in removed:
        gone = releases / model / f"{_STAGING}pruned-{version}"
        os.rename(releases / model / str(version), gone)  # so that no half of a release is ever seen
        shutil.rmtree(gone)
    return removed


def _write_models_config(releases: Path) -> None:
    """List every model that has a promoted release with a TF Serving layout; read back before it takes effect."""
    with (releases / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        served = sorted(p.parent.name for p in releases.glob(f"*/{CURRENT}") if (p / serving.NAME).is_dir())
        text = layout.models_config(served)
        if sorted(layout.parse_models_config(text)) != served:
            raise Damaged(f"{layout.CONFIG} does not list the models it was made for: {served}")
        _write(releases / layout.CONFIG, text)


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}-{os.getpid()}")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
