"""RELEASES/index.html: all models, their current releases and what was made after these, with links to the reports."""

from functools import cache
from pathlib import Path

from converters.contract import names
from converters.contract.errors import BadInput
from converters.contract.layout import MANIFEST
from converters.contract.values import Frozen, Status
from converters.release import durable, figures, pages
from converters.release import manifest as manifests

INDEX = "index.html"


class Entry(Frozen):
    """One release in the list. `why` is the first reason for which it was refused."""

    model: str
    version: int
    status: Status
    created: str = ""
    bytes: int | None = None
    metric: str = ""
    targets: tuple[str, ...] = ()
    why: str | None = None


def write(releases: Path, current: dict[str, int]) -> None:
    """Write it anew where it would be another; `current` are the promoted versions, by model. Raises OSError."""
    models = {}
    for folder in sorted(releases.iterdir()):
        numbers = [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if _is_models(folder) else []
        if numbers:
            now = current.get(folder.name)
            models[folder.name] = (
                _of(folder / str(now)) if now in numbers else None,
                _of(folder / str(max(numbers))),
            )
    text = pages.render("index.html.j2", models=models)
    path = releases / INDEX
    if not path.is_file() or path.read_text() != text:
        durable.write(path, text)


def newest(releases: Path, most: int) -> dict[str, list[Entry]]:
    """So many of the versions of each model, the newest first; none where there is no such directory. Raises OSError."""
    folders = sorted(each for each in releases.iterdir() if _is_models(each)) if releases.is_dir() else []
    found = {}
    for folder in folders:
        numbers = sorted((int(path.name) for path in folder.iterdir() if path.name.isdigit()), reverse=True)
        if numbers:
            found[folder.name] = [_of(folder / str(number)) for number in numbers[:most]]
    return found


def _is_models(folder: Path) -> bool:
    return folder.is_dir() and names.model_fault(folder.name) is None


def _of(release: Path) -> Entry:
    written = release / MANIFEST
    return _entry(release, written.stat().st_mtime_ns if written.is_file() else None)


@cache
def _entry(release: Path, written: int | None) -> Entry:
    """What is known of a version, which never changes once it is `written`."""
    try:
        manifest = manifests.read(release)
    except BadInput as error:
        return Entry(model=release.parent.name, version=int(release.name), status="failed", why=str(error))
    live = manifest.evaluation
    return Entry(
        model=release.parent.name,
        version=int(release.name),
        status=manifest.status,
        created=manifest.created,
        bytes=manifest.bytes,
        metric=f"{live.metric} {figures.metric(live.live)}" if live is not None else "",
        targets=tuple(dict.fromkeys(row.target for row in manifest.targets if row.status == "passed")),
        why=manifest.refusal() if manifest.refusals else None,
    )
