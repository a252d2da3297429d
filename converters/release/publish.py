"""Which version is current: promoted by switching one symlink, and listed for the ModelServer.

RELEASES/NAME/VERSION/          a published release, never changed after
RELEASES/NAME/current           symlink to the promoted version
RELEASES/NAME/history.jsonl     when it was which
RELEASES/models.config          what the ModelServer is told, one entry for each model with a promoted release
RELEASES/index.html             all models, for a person

All of it is changed under one lock. A model is listed in models.config only while what `current` leads to can be served:
it is listed after the switch, and taken off before.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from converters.contract import names
from converters.contract.errors import BadInput, Damaged
from converters.contract.values import Frozen
from converters.release import durable, files, history, index, locking, staging
from converters.release import manifest as manifests
from converters.release.history import How, Promotion
from converters.release.manifest import Manifest
from converters.release.signing import NO_KEYS, Keys
from converters.targets import serving
from converters.targets.serving import layout

CURRENT = "current"
GRACE_SECONDS = 1.0
"""For so long after a version was current it is not removed: who had just found it by `current` may open its files."""


class Pruned(Frozen):
    """The versions that were removed, and those that were not because somebody reads them."""

    removed: list[int]
    read: list[int]


def versions(releases: Path, model: str) -> list[int]:
    """The published versions of a model, oldest first. Raises BadInput where the model has none."""
    model_dir = _folder(releases, model)
    try:
        numbers = sorted(int(p.name) for p in model_dir.iterdir() if p.name.isdigit()) if model_dir.is_dir() else []
        others = sorted(p.name for p in releases.iterdir() if p.is_dir()) if releases.is_dir() else []
    except OSError as error:
        raise BadInput(f"the releases directory {releases} cannot be read: {error.strerror}") from error
    if not numbers:
        raise BadInput(f"{releases} has no release of {model!r}; it has {', '.join(others) or 'none at all'}")
    return numbers


def current(releases: Path, model: str) -> int | None:
    """The promoted version, if any. Raises BadInput where `current` leads to no version."""
    link = _folder(releases, model) / CURRENT
    if not link.is_symlink():
        return None
    target = os.readlink(link)
    if not target.isdigit():
        raise BadInput(f"{link} leads to {target!r}, which is no version; remove it and promote one (fanout promote)")
    return int(target)


def _folder(releases: Path, model: str) -> Path:
    """Where a model's releases are, and nothing else is. Raises BadInput where the name is none of a model."""
    if names.model_fault(model) is not None:
        raise BadInput(f"{model!r} is no model's name; give that of a config or of a release")
    return releases / model


def past(releases: Path, model: str) -> list[Promotion]:
    """What was promoted, the last at the end. Raises BadInput, Damaged."""
    versions(releases, model)
    return history.read(releases / model)


def tidy(releases: Path, model: str) -> None:
    """Undo or finish what killed processes left of a model. Raises BadInput where the releases cannot be changed."""
    model_dir = releases / model
    if not model_dir.is_dir():
        return
    try:
        staging.remove_abandoned(model_dir)
        now = current(releases, model)
        last = [entry.version for entry in history.read(model_dir)[-1:]]
        if (now is not None and [now] != last) or durable.unfinished(model_dir / CURRENT):
            with _changing(releases, model):
                pass
    except OSError as error:
        raise staging.unwritable(releases, error) from error


def promote(
    releases: Path,
    model: str,
    version: int,
    *,
    how: How = "promoted",
    by: str | None = None,
    reason: str | None = None,
    keys: Keys = NO_KEYS,
) -> None:
    """Make a version the current one, and list the model in models.config. `by` is the run that does, and `reason` why.

    Raises:
        BadInput: there is no such version, its files are not those it was published with, or its manifest says that a check
            failed. One that was only refused for being worse than the release before it may be promoted.
        SignatureFailed: `keys` do not trust it.
    """
    with _changing(releases, model):
        _switch(releases, model, version, how, by, reason, keys)


def rollback(
    releases: Path, model: str, *, by: str | None = None, reason: str | None = None, keys: Keys = NO_KEYS
) -> int:
    """Go back to the version that was promoted before the current one; returns it.

    Raises:
        BadInput: there is none.
        SignatureFailed: `keys` do not trust it.
    """
    with _changing(releases, model):
        now = current(releases, model)
        if now is None:
            versions(releases, model)
            raise BadInput(f"{model} has no promoted release to roll back from")
        there = versions(releases, model)
        promoted = history.earlier(history.read(releases / model))
        older = [version for version in reversed(there) if version < now]
        for version in promoted or older:
            if version in there and manifests.read(releases / model / str(version)).status == "passed":
                _switch(releases, model, version, "rolled back", by, reason, keys)
                return version
        raise BadInput(f"{model} {now} is the oldest passed release; there is none to roll back to")


def prune(releases: Path, model: str, keep: int) -> Pruned:
    """Remove all but the newest `keep` versions; the current one always stays, and so does one that is being read.

    Raises:
        BadInput: `keep` is less than one, there is no such model, or its versions cannot be removed.
    """
    if keep < 1:
        raise BadInput(f"--keep must be at least 1, not {keep}")
    gone: list[Path] = []
    read: list[int] = []
    while True:
        with _changing(releases, model):
            now = current(releases, model)
            chosen = [version for version in versions(releases, model)[:-keep] if version != now]
            wait = _since_current(releases / model, chosen)
            if wait <= 0:
                for version in chosen:
                    path = releases / model / str(version)
                    with locking.removing(path) as unread:
                        if unread:
                            gone.append(staging.set_aside(path))
                        else:
                            read.append(version)
                break
        time.sleep(wait)
    for path in gone:
        staging.remove(path)
    return Pruned(removed=[version for version in chosen if version not in read], read=read)


def _since_current(model_dir: Path, chosen: list[int]) -> float:
    """Seconds until each of these versions has not been current for GRACE_SECONDS."""
    now = datetime.now(timezone.utc)
    left = [GRACE_SECONDS - (now - e.time).total_seconds() for e in history.read(model_dir) if e.replaced in chosen]
    return min(max(left, default=0.0), GRACE_SECONDS)


def list_anew(releases: Path, model: str) -> None:
    """Have a version that was not promoted in the list of all models. Raises BadInput where the releases cannot be changed."""
    with _changing(releases, model):
        pass


def _promoted(releases: Path) -> dict[str, int]:
    """The promoted version of each model that has one."""
    links = {path.parent.name: os.readlink(path) for path in releases.glob(f"*/{CURRENT}") if path.is_symlink()}
    return {model: int(version) for model, version in links.items() if version.isdigit()}


@contextmanager
def _changing(releases: Path, model: str) -> Iterator[None]:
    """Alone, with all that a killed process left undone. Raises BadInput where the releases cannot be changed."""
    versions(releases, model)
    try:
        with locking.writing(releases):
            staging.remove_abandoned(releases / model)
            _settle(releases, model)
            yield
            index.write(releases, _promoted(releases))
    except OSError as error:
        raise staging.unwritable(releases, error) from error


def _settle(releases: Path, model: str) -> None:
    """Record and list what was switched to by a process that was killed before it had done so, and remove what it left."""
    durable.remove_unfinished(releases / model / CURRENT)
    durable.remove_unfinished(releases / layout.CONFIG)
    durable.remove_unfinished(releases / index.INDEX)
    now, entries = current(releases, model), history.read(releases / model)
    recorded = entries[-1].version if entries else None
    _list_served(releases)
    if now is not None and now != recorded:
        history.append(releases / model, history.promotion(now, recorded, "found", None, None))


def _switch(releases: Path, model: str, version: int, how: How, by: str | None, reason: str | None, keys: Keys) -> None:
    model_dir, replaced = releases / model, current(releases, model)
    manifest = _promotable(releases, model, version, keys)
    if how != "deployed" and (changed := files.changed_files(model_dir / str(version), manifest)):
        name, problem = next(iter(changed.items()))
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise BadInput(f"{model} {version} cannot be promoted: {name} {problem}{more}; deploy it again")
    if not (model_dir / str(version) / serving.NAME).is_dir():
        _list_served(releases, without=model)
    durable.link(model_dir / CURRENT, str(version))
    _list_served(releases)
    if replaced != version:  # last, since it tells that all the rest was done
        history.append(model_dir, history.promotion(version, replaced, how, by, reason))


def _promotable(releases: Path, model: str, version: int, keys: Keys) -> Manifest:
    if version not in versions(releases, model):
        raise BadInput(f"{model} has no version {version}; it has {', '.join(map(str, versions(releases, model)))}")
    release = releases / model / str(version)
    keys.verify(release)
    manifest = manifests.read(release)
    if (manifest.model, manifest.version) != (model, version):
        raise BadInput(
            f"{release} holds {manifest.model} {manifest.version}, which was published elsewhere; deploy {model} again"
        )
    if not manifest.promotable:
        raise BadInput(f"{model} {version} failed its checks and cannot be promoted; see its report.html")
    return manifest


def _list_served(releases: Path, without: str | None = None) -> None:
    """List every model that has a promoted release with a TF Serving layout; read back before it takes effect."""
    served = sorted(p.parent.name for p in releases.glob(f"*/{CURRENT}") if (p / serving.NAME).is_dir())
    served = [model for model in served if model != without]
    text = layout.models_config(served)
    if sorted(layout.parse_models_config(text)) != served:
        raise Damaged(f"{layout.CONFIG} does not list the models it was made for: {served}")
    path = releases / layout.CONFIG
    if not path.is_file() or path.read_text() != text:
        durable.write(path, text)
