"""Writing such that a power cut finds the old content or the new one, and nothing between."""

import os
import shutil
import tempfile
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Replace a file's text by one rename, after the new one is on the disk. Raises OSError, and leaves nothing then."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.chmod(name, FILE_MODE)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync(path.parent)


def link(path: Path, to: str) -> None:
    """Have a symlink lead elsewhere, by one rename. Raises OSError, and leaves nothing then."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        (folder / "link").symlink_to(to)
        os.replace(folder / "link", path)
    finally:
        (folder / "link").unlink(missing_ok=True)
        folder.rmdir()
    sync(path.parent)


def unfinished(path: Path) -> list[Path]:
    """What is left of writes and links to `path` whose process was killed, or still works on it."""
    return list(path.parent.glob(f".{path.name}-*"))


def remove_unfinished(path: Path) -> None:
    """Remove that; nobody else may be writing to `path`."""
    for left in unfinished(path):
        shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


FILE_MODE = 0o644
FOLDER_MODE = 0o755


def settle(root: Path) -> None:
    """Give all that lies below `root` a release's modes, and have it on the disk: files, then the directories of their names.

    (fsync(2): that a file is there needs its directory's too.) Directories without a file go.
    """
    for folder, _, files in os.walk(root, topdown=False):
        for file in files:
            os.chmod(Path(folder, file), FILE_MODE)
            sync(Path(folder, file))
        if not os.listdir(folder):
            os.rmdir(folder)
            continue
        os.chmod(folder, FOLDER_MODE)
        sync(Path(folder))


def sync(path: Path) -> None:
    """Have a file's content, or a directory's names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
