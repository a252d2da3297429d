"""Releases in another place, which others read: a directory, or a URL that fsspec opens (s3://, gs://, abfs://, sftp://, webdav://).

URL/NAME/VERSION/...    a release's files as they are here, its manifest the last of them: what has none is no release yet
URL/NAME/current        text, the promoted version; written when that is whole, so that who follows it finds a whole release
URL/models.config       what a ModelServer that reads this place is told; it follows from all `current`

An object store has no rename of folders, no symlinks and no locks. What it has is that a file appears whole or not at all;
elsewhere a file is written beside and renamed. Nobody but the releases directory that a place belongs to writes there.
"""

import re
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import NamedTuple

from converters.contract import secrets
from converters.contract.errors import BadInput, Damaged, SignatureFailed, StoreFailed
from converters.contract.layout import MANIFEST, SIGNATURE
from converters.contract.names import MODEL as NAME
from converters.release import durable
from converters.release import manifest as manifests
from converters.release.files import copied
from converters.release.manifest import FileRecord, Manifest
from converters.release.place import Place
from converters.release.publish import CURRENT
from converters.release.signing import NO_KEYS, Keys
from converters.targets import serving
from converters.targets.serving import layout

_PART = ".part"
_TRIES = 5
"""How often models.config is written where others write it at the same time."""


_NUMBER = re.compile("[0-9]{1,18}")


class Sent(NamedTuple):
    """What it took to have a release there: files that were sent, and their bytes."""

    files: int
    bytes: int


class Mirror:
    """The place at `url`.

    Raises:
        BadInput: fsspec cannot open it, or what it needs for such a URL is not installed.
        StoreFailed: it does not answer.
    """

    def __init__(self, url: str) -> None:
        self._place = Place(url, "the place")
        self._fs, self._path = self._place.fs, self._place.path

    @property
    def url(self) -> str:
        """Where it is, without what is secret in it."""
        return self._place.url

    def publish(self, release: Path, keys: Keys = NO_KEYS) -> Sent:
        """Have a version there, whole, and make it the one that is current there.

        What an earlier call that was interrupted has sent is read back, and sent again only where its digest is wrong.

        Raises:
            SignatureFailed: `keys` do not trust it.
            Damaged: a file is not what the manifest says.
            BadInput: there is another release of that version.
            StoreFailed: the place cannot be read or written.
        """
        keys.verify(release)
        written = manifests.read(release)
        with self._place.access("written"):
            sent = self._send(release, written)
            if self.current(written.model) != written.version:
                self._appear(f"{written.model}/{CURRENT}", f"{written.version}\n".encode())
            self._list_served()
        return sent

    def current(self, model: str) -> int | None:
        """The version that is current there, if any. Raises Damaged, StoreFailed."""
        with self._place.access("read"):
            content = self._content(f"{model}/{CURRENT}")
        if content is None:
            return None
        text = content.decode(errors="replace").strip()
        if not _NUMBER.fullmatch(text):
            raise Damaged(f"{self.url}/{model}/{CURRENT} holds no version but {text[:40]!r}; publish the model again")
        return int(text)

    def prune(self, model: str, here: Collection[int]) -> list[int]:
        """Remove versions that are none of those `here` any more, nor newer than they, nor current there; returns them.

        Raises:
            Damaged: what is current there cannot be told.
            StoreFailed: the place cannot be read or written.
        """
        with self._place.access("written"):
            old = [version for version in self._versions(model) if version not in here and version < max(here)]
            removed = [version for version in old if version != self.current(model)]
            for folder in (f"{model}/{version}" for version in removed):
                # Its manifest first: without one the rest is no release.
                for name in sorted(self._present(folder), key=lambda name: name != MANIFEST):
                    self._fs.rm_file(self._path(f"{folder}/{name}"))
                if self._fs.exists(self._path(folder)):  # an object store has no empty ones
                    self._fs.rm(self._path(folder), recursive=True)
        return removed

    def _versions(self, model: str) -> list[int]:
        self._fs.invalidate_cache()
        try:
            found = [PurePosixPath(path).name for path in self._fs.ls(self._path(model), detail=False)]
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in found if _NUMBER.fullmatch(name))

    @contextmanager
    def fetch(self, model: str, version: int, keys: Keys = NO_KEYS) -> Iterator[Path]:
        """A copy of a release there, in a temporary directory; what is wrong with it is wrong with the copy.

        Of a file that the manifest does not list only the name is taken, and of a larger one than it says no more than shows
        that. Of a release that `keys` do not trust nothing but the manifest is fetched.

        Raises:
            BadInput: there is no such release, or its manifest is none.
            Damaged: the name of a file leads out of the release.
            StoreFailed: the place cannot be read.
        """
        with TemporaryDirectory(prefix="fanout-fetched-") as place:
            root = Path(place, model, str(version))
            root.mkdir(parents=True)
            with self._place.access("read"):
                for name in (MANIFEST, SIGNATURE):
                    if (content := self._content(f"{model}/{version}/{name}")) is not None:
                        (root / name).write_bytes(content)
            if not (root / MANIFEST).is_file():
                raise BadInput(f"{self.url}/{model}/{version} is no release: it has no {MANIFEST}")
            try:
                keys.verify(root)
            except SignatureFailed:
                yield root
                return
            with self._place.access("read"):
                self._fetch(root, manifests.read(root).files, f"{model}/{version}")
            durable.settle(root)
            yield root

    def _fetch(self, root: Path, listed: dict[str, FileRecord], place: str) -> None:
        for name in self._present(place):
            if name in (MANIFEST, SIGNATURE):
                continue
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
                raise Damaged(f"{self.url}/{place} holds {name!r}, whose name leads out of it")
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            most = listed[name].bytes + 1 if name in listed else 0
            with target.open("wb") as local, self._fs.open(self._path(f"{place}/{name}"), "rb") as remote:
                while block := remote.read(min(most, 1 << 20)):
                    local.write(block)
                    most -= len(block)

    def _send(self, release: Path, written: Manifest) -> Sent:
        place, text = f"{written.model}/{written.version}", (release / MANIFEST).read_bytes()
        if self._is_there(place, text):
            return Sent(0, 0)
        records = dict(written.files)
        if (release / SIGNATURE).is_file():
            signature = (release / SIGNATURE).read_bytes()
            records[SIGNATURE] = FileRecord(sha256=sha256(signature).hexdigest(), bytes=len(signature))
        present = self._present(place)
        for name in present.keys() - records.keys():
            self._fs.rm_file(self._path(f"{place}/{name}"))
        missing = {
            name: record
            for name, record in records.items()
            if present.get(name) != record.bytes or self._digest(f"{place}/{name}") != record.sha256
        }
        for folder in sorted({f"{place}/{name}".rpartition("/")[0] for name in missing}):
            self._fs.makedirs(self._path(folder), exist_ok=True)
        for name, record in missing.items():
            with (release / name).open("rb") as local, self._fs.open(self._path(f"{place}/{name}"), "wb") as remote:
                if copied(local, remote) != record.sha256:
                    raise Damaged(f"{release / name} is not what the manifest says; it was not published, deploy again")
        arrived = self._present(place)
        if short := next((name for name, record in records.items() if arrived.get(name) != record.bytes), None):
            raise StoreFailed(f"{self.url}/{place}/{short} has not arrived whole; publish again")
        if not self._is_there(place, text):
            self._appear(f"{place}/{MANIFEST}", text)
        return Sent(len(missing) + 1, sum(record.bytes for record in missing.values()) + len(text))

    def _is_there(self, place: str, manifest: bytes) -> bool:
        there = self._content(f"{place}/{MANIFEST}")
        if there not in (None, manifest):
            raise BadInput(
                f"{self.url}/{place} is another release, and none is ever changed; deploy a new version, or publish to a "
                "place that no other releases directory is published to"
            )
        return there is not None

    def _list_served(self) -> None:
        """Write models.config until it is what all `current` say: who writes it last has seen what all others switched."""
        for _ in range(_TRIES):
            text = layout.config_of(self._served())
            if self._content(layout.CONFIG) == text.encode():
                return
            try:
                self._appear(layout.CONFIG, text.encode())
            except FileNotFoundError:  # another took this one's part for one that was left behind
                continue
        raise StoreFailed(f"{self.url}/{layout.CONFIG} is written by others all the time; publish again")

    def _served(self) -> dict[str, str]:
        """Model -> the base path of its current release, of each that has a TF Serving layout."""
        paths = {}
        self._fs.invalidate_cache()
        for model in sorted(PurePosixPath(found).name for found in self._fs.ls(self._place.root, detail=False)):
            if (version := self.current(model)) is None:
                continue
            text = self._content(f"{model}/{version}/{MANIFEST}")
            files = Manifest.model_validate_json(text).files if text is not None else {}
            if any(name.startswith(f"{serving.NAME}/") for name in files):
                paths[model] = f"{self.url}/{model}/{version}/{serving.NAME}"
        return paths

    def _appear(self, name: str, content: bytes) -> None:
        """Have a file's new content seen whole or not at all, and remove parts that killed processes left of such."""
        folder, _, base = self._path(name).rpartition("/")
        self._fs.makedirs(folder, exist_ok=True)
        self._fs.invalidate_cache()
        for left in self._fs.ls(folder, detail=False):
            if PurePosixPath(left).name.startswith(f".{base}.") and left.endswith(_PART):
                self._fs.rm_file(left)
        part = f"{folder}/.{base}.{uuid.uuid4().hex}{_PART}"
        self._fs.pipe_file(part, content)
        self._fs.mv(part, f"{folder}/{base}")

    def _present(self, place: str) -> dict[str, int]:
        """The files below, by their relative paths, and how large they are."""
        self._fs.invalidate_cache()
        folder = self._path(place)
        found = self._fs.find(folder, detail=True)
        start = len(str(self._fs._strip_protocol(folder)).rstrip("/")) + 1
        return {str(path)[start:]: info["size"] for path, info in found.items()}

    def _content(self, name: str) -> bytes | None:
        try:
            return bytes(self._fs.cat_file(self._path(name)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _digest(self, name: str) -> str:
        content = sha256()
        with self._fs.open(self._path(name), "rb") as remote:
            while block := remote.read(1 << 20):
                content.update(block)
        return content.hexdigest()


@contextmanager
def fetched(url: str, keys: Keys = NO_KEYS) -> Iterator[Path]:
    """As `Mirror.fetch`, of URL/NAME/VERSION or URL/NAME/current. Raises BadInput, Damaged, StoreFailed."""
    place, model, which = ["", "", *url.rstrip("/").rsplit("/", 2)][-3:]
    if "://" not in f"{place}/" or not NAME.fullmatch(model) or not (which == CURRENT or _NUMBER.fullmatch(which)):
        raise BadInput(f"{secrets.shown(url)} names no release; give URL/NAME/VERSION or URL/NAME/{CURRENT}")
    mirror = Mirror(place)
    version = mirror.current(model) if which == CURRENT else int(which)
    if version is None:
        raise BadInput(f"{secrets.shown(url)}: no release of {model} is current there")
    with mirror.fetch(model, version, keys) as root:
        yield root
