"""What of a model's current release is what would be made again, and may therefore be kept.

Nothing is kept that is not verified: the ingredients of its key against what is here now, and its files against the
digests of the manifest. Whatever cannot be verified is made again.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from converters.config.spec import ModelSpec
from converters.contract import layout
from converters.contract.errors import BadInput, Damaged
from converters.contract.layout import GOLDEN, KEY, SAVED_MODEL, log_of
from converters.contract.settings import Tolerance
from converters.contract.values import Source, UnitName
from converters.processes import userland
from converters.release import files, manifest, publish
from converters.release.assemble import Released
from converters.release.manifest import Manifest, Row, SourceRecord
from converters.source import inputs
from converters.source.watch import Reads
from converters.steps import key
from converters.steps.key import Key, Known
from converters.targets.registry import TARGETS

SOURCE = "source"
"""The release's folder of what other targets are made from, beside the SavedModel: Keras file, calibration inputs."""
_DESCRIBED = f"{SOURCE}/source.json"
_BUILD_LOG = "logs/build.log"


class BuiltFrom(NamedTuple):
    """What the build read, if it is known, and the tolerance that golden was drawn for, if it was drawn."""

    reads: Reads | None
    drawn_for: Tolerance | None


@dataclass(frozen=True)
class Kept:
    """What of the current release at `path` stays; empty where nothing does.

    `reasons` say what has changed, for a person. With `whole` the release itself is what a deploy would make.
    """

    path: Path | None = None
    manifest: Manifest | None = None
    whole: bool = False
    source: bool = False
    rows: dict[UnitName, list[Row]] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    key: Key | None = None

    @property
    def version(self) -> int:
        """The current release's."""
        return self._written().version

    def sentence(self) -> str:
        """What to tell a person of a release that is kept whole."""
        return f"unchanged: {self._written().model} {self.version} is current"

    def source_record(self) -> SourceRecord:
        """What the manifest says of the kept source."""
        written = self._written()
        return written.source.model_copy(update={"reused_from": written.source.reused_from or written.version})

    def built_from(self) -> "BuiltFrom":
        """What the key says of it."""
        assert self.key is not None, "nothing is kept"
        return BuiltFrom(self.key.reads, self.key.drawn_for)

    def released(self) -> Released:
        """The release itself, as if it had just been made."""
        assert self.path is not None, "nothing is kept"
        return Released(path=self.path, manifest=self._written(), refusals=[], promoted=True)

    def copy_source(self, place: publish.Staging, spec: ModelSpec) -> Source:
        """The kept source, its files copied to where a new version is made. Raises Damaged."""
        for name in self._written().files:
            if _is_source(name):
                self._copy(name, name, place)
        return _read_source(place.release, place.version, spec)

    def copy_variant(self, unit: UnitName, place: publish.Staging) -> list[Row]:
        """The kept rows of one variant, their files copied likewise. Raises Damaged."""
        written = self._written()
        rows = self.rows[unit]
        for name in written.files:
            if name == log_of(*unit) or any(files.belongs(name, row) for row in rows):
                self._copy(name, _renamed(name, written.version, place.version), place)
        return [
            row.model_copy(
                update={
                    "path": None if row.path is None else _renamed(row.path, written.version, place.version),
                    "reused_from": row.reused_from or written.version,
                }
            )
            for row in rows
        ]

    def _written(self) -> Manifest:
        assert self.manifest is not None, "nothing is kept"
        return self.manifest

    def _copy(self, name: str, new_name: str, place: publish.Staging) -> None:
        """Copy one file, its digest verified on the way."""
        assert self.path is not None, "nothing is kept"
        target = place.release / new_name
        if target.exists():  # the SavedModel is the source's and its own target's
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        found = hashlib.sha256()
        with (self.path / name).open("rb") as old, target.open("wb") as new:
            while block := old.read(1 << 20):
                found.update(block)
                new.write(block)
        if found.hexdigest() != self._written().files[name].sha256:
            raise Damaged(f"{self.path / name} was changed while it was copied; deploy again")


def look(releases: Path, spec: ModelSpec, known: Known) -> Kept:
    """What may be kept of the current release, with what is `key.known` now. Reads files; imports nothing heavy."""
    version = publish.current(releases, spec.name)
    if version is None:
        return Kept()
    path = releases / spec.name / str(version)
    try:
        written = manifest.read(path)
        recorded = Key.model_validate_json((path / KEY).read_bytes())
    except (BadInput, OSError, ValidationError):
        return Kept(reasons=(f"release {version} says not what it was made of",))
    damaged = files.changed_files(path, written)
    changed = (
        (f"release {version} failed" if written.status != "passed" else None)
        or next((f"{name} {problem}" for name, problem in damaged.items() if _is_source(name) or name == KEY), None)
        or key.difference(recorded.source, known["source"])
        or recorded.reads.changed(spec.base.resolve())
        or _other_draw(recorded, spec)
    )
    if changed:
        return Kept(reasons=(changed,))
    rows, reasons = _rows(spec, written, recorded, damaged, known)
    different = key.difference(recorded.release, known["release"]) or next(
        (f"{name} {problem}" for name, problem in damaged.items()), None
    )
    whole = not different and not reasons
    return Kept(path, written, whole, True, rows, tuple(reasons) or ((different,) if different else ()), recorded)


def _rows(
    spec: ModelSpec, written: Manifest, recorded: Key, damaged: dict[str, str], known: Known
) -> tuple[dict[UnitName, list[Row]], list[str]]:
    """The rows that may be kept, by target and variant, and why others may not."""
    kept, reasons = {}, []
    for unit, rows in written.units().items():
        ingredients = recorded.variants.get("/".join(unit))
        if unit.target not in spec.targets or ingredients is None:
            continue
        changed = key.difference(ingredients, key.variant(spec, unit, known, recorded.reads)) or next(
            (f"{n} {problem}" for n, problem in damaged.items() if any(files.belongs(n, row) for row in rows)), None
        )
        if changed:
            reasons.append(f"{' '.join(unit)}: {changed}")
        else:
            kept[unit] = rows
    return kept, reasons


def record(
    place: publish.Staging,
    made: Source,
    spec: ModelSpec,
    before: Known,
    built_from: BuiltFrom,
    planned: Iterable[UnitName],
) -> str | None:
    """Write what the release is made of, so that the next deploy can tell what has changed.

    `before` is `key.known` from before the build. Nothing is written where it or `built_from` do not tell what was
    really used; returned is why.
    """
    _write_source(made, place.release)
    reads, drawn_for = built_from
    if reads is None:
        return "a file of the model was changed while it was built"
    now = key.known(spec)
    for part, ingredients in before.items():
        if different := key.difference(ingredients, now[part]):
            return f"{different} while the model was deployed"
    found = Key(
        source=before["source"],
        reads=reads,
        drawn_for=drawn_for,
        variants={"/".join(unit): key.variant(spec, unit, before, reads) for unit in planned},
        release=before["release"],
    )
    (place.release / KEY).write_text(found.model_dump_json(indent=1) + "\n")
    return None


def _write_source(made: Source, root: Path) -> None:
    """Write the Source, its paths relative to the release; the builder's is found through the config."""
    paths = {name: _inside(getattr(made, name), root) for name in _PATHS}
    described = made.model_copy(update={**paths, "builder": None})
    (root / SOURCE).mkdir(exist_ok=True)
    (root / _DESCRIBED).write_text(described.model_dump_json(indent=1) + "\n")


def _read_source(root: Path, version: int, spec: ModelSpec) -> Source:
    described = Source.model_validate_json((root / _DESCRIBED).read_bytes())
    paths = {name: None if (path := getattr(described, name)) is None else root / path for name in _PATHS}
    builder = userland.split(spec.model, spec.base, "model")[0] if spec.built_by_python else None
    return described.model_copy(update={**paths, "version": version, "builder": builder})


_PATHS = ("saved_model", "golden", "keras_file", "representative")


def _inside(path: Path | None, root: Path) -> Path | None:
    return None if path is None else path.relative_to(root)


def _other_draw(recorded: Key, spec: ModelSpec) -> str | None:
    """Golden's inputs are drawn to differ by far more than the widest tolerance; another one may want others."""
    wanted = inputs.widest(spec)
    if recorded.drawn_for is None or recorded.drawn_for == wanted:
        return None
    return "the widest tolerance, for which golden inputs are drawn, has changed"


def _is_source(name: str) -> bool:
    return name in (GOLDEN, layout.EVALUATION, layout.METRIC, _BUILD_LOG) or name.partition("/")[0] in (
        SOURCE,
        SAVED_MODEL,
    )


def _renamed(name: str, old: int, new: int) -> str:
    """The path in the new version: a servable's folder, directly below its target's, is named after the version."""
    parts = name.split("/")
    if len(parts) > 1 and parts[0] in TARGETS and parts[1] == str(old):
        parts[1] = str(new)
    return "/".join(parts)
