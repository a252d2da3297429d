"""What of a model's current release is what would be made again, and may therefore stay.

Nothing stays that is not verified: the ingredients of its key against what is here now, and its files against the
digests of the manifest. Whatever cannot be verified is made again.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput, Damaged
from converters.contract.layout import (
    BUILD_LOG,
    DESCRIBED,
    EVALUATION,
    GOLDEN,
    KEY,
    METRIC,
    SAVED_MODEL,
    SOURCE,
    log_of,
)
from converters.contract.settings import Tolerance
from converters.contract.values import Source, UnitName
from converters.processes import userland
from converters.release import files, manifest, publish
from converters.release.assemble import Released
from converters.release.manifest import Manifest, Row, SourceRecord
from converters.release.signing import NO_KEYS, Keys
from converters.release.staging import Staging
from converters.source import inputs
from converters.source.watch import Reads
from converters.steps import key
from converters.steps.key import Key, Recipe
from converters.steps.unit import relocated
from converters.targets.registry import TARGETS

_OF_THE_SOURCE = (GOLDEN, EVALUATION, METRIC, BUILD_LOG)


class BuiltFrom(NamedTuple):
    """What the build read, if it is known, and the tolerance that golden was drawn for, if it was drawn."""

    reads: Reads | None
    drawn_for: Tolerance | None


class Reusable(NamedTuple):
    """The current release at `path`, whose source may stay, and these `rows`; with `whole` all of it may."""

    path: Path
    manifest: Manifest
    key: Key
    rows: Mapping[UnitName, list[Row]]
    whole: bool

    @property
    def version(self) -> int:
        """The current release's."""
        return self.manifest.version

    def sentence(self) -> str:
        """What to tell a person of a release that stays whole."""
        return f"unchanged: {self.manifest.model} {self.version} is current"

    def source_record(self) -> SourceRecord:
        """What a new manifest says of the source."""
        record = self.manifest.source
        return record.model_copy(update={"reused_from": record.reused_from or self.version})

    def built_from(self) -> BuiltFrom:
        """What the key says of it."""
        return BuiltFrom(self.key.reads, self.key.drawn_for)

    def released(self) -> Released:
        """The release itself, as if it had just been made."""
        return Released(path=self.path, manifest=self.manifest, promoted=True)

    def copy_source(self, place: Staging, spec: ModelSpec) -> Source:
        """The source, its files copied to where a new version is made. Raises Damaged."""
        for name in filter(_is_source, self.manifest.files):
            self._copy(name, name, place)
        source = Source.model_validate_json((place.release / DESCRIBED).read_bytes())
        builder = userland.split(spec.model, spec.base, "model")[0] if spec.built_by_python else None
        here = relocated(source, Path(), place.release)
        return here.model_copy(update={"version": place.version, "builder": builder, "description": spec.description})

    def copy_variant(self, unit: UnitName, place: Staging) -> list[Row]:
        """The rows of one variant, their files copied likewise. Raises Damaged."""
        rows = self.rows[unit]
        for name in self.manifest.files:
            if name == log_of(*unit) or _belongs(rows, name):
                self._copy(name, self._renamed(name, place), place)
        return [
            row.model_copy(
                update={
                    "path": None if row.path is None else self._renamed(row.path, place),
                    "reused_from": row.reused_from or self.version,
                }
            )
            for row in rows
        ]

    def _renamed(self, name: str, place: Staging) -> str:
        """The path in the new version: a servable's folder, directly below its target's, is named after the version."""
        target, *below = name.split("/")
        if target in TARGETS and below[:1] == [str(self.version)]:
            below[0] = str(place.version)
        return "/".join([target, *below])

    def _copy(self, name: str, new_name: str, place: Staging) -> None:
        """Copy one file, its digest verified on the way."""
        target = place.release / new_name
        if target.exists():  # the SavedModel is the source's and its own target's
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with (self.path / name).open("rb") as old, target.open("wb") as new:
            digest = files.copied(old, new)
        if digest != self.manifest.files[name].sha256:
            raise Damaged(f"{self.path / name} was changed while it was copied; deploy again")


def look(releases: Path, spec: ModelSpec, recipe: Recipe, keys: Keys = NO_KEYS) -> tuple[Reusable | None, list[str]]:
    """What of the current release may stay, by what `key.recipe` says now, if anything, and why the rest may not.

    Nothing stays that is not signed as `keys` would have it.

    Reads files; imports nothing heavy.
    """
    version = publish.current(releases, spec.name)
    if version is None:
        return None, []
    path = releases / spec.name / str(version)
    if unfit := keys.unfit(path):
        return None, [unfit]
    try:
        written = manifest.read(path)
        recorded = Key.model_validate_json((path / KEY).read_bytes())
    except (BadInput, OSError, ValidationError):
        return None, [f"release {version} says not what it was made of"]
    damaged = files.changed_files(path, written)
    changed = (
        (f"release {version} failed" if written.status != "passed" else None)
        or _first(damaged, lambda name: _is_source(name) or name == KEY)
        or key.difference(recorded.source, recipe.source)
        or recorded.reads.changed(spec.base.resolve())
        or _other_draw(recorded, spec)
    )
    if changed:
        return None, [changed]
    rows, reasons = _rows(spec, written, recorded, damaged, recipe)
    different = key.difference(recorded.release, recipe.release) or _first(damaged)
    whole = not different and not reasons
    return Reusable(path, written, recorded, rows, whole), reasons or ([different] if different else [])


def _rows(
    spec: ModelSpec, written: Manifest, recorded: Key, damaged: Mapping[str, str], recipe: Recipe
) -> tuple[dict[UnitName, list[Row]], list[str]]:
    """The rows that may stay, and why others may not."""
    staying, reasons = {}, []
    for unit, rows in written.units().items():
        ingredients = recorded.variants.get("/".join(unit))
        if unit.target not in spec.targets or ingredients is None:
            continue
        now = key.variant(spec, unit, recipe, recorded.reads)
        changed = key.difference(ingredients, now) or _first(damaged, partial(_belongs, rows))
        if changed:
            reasons.append(f"{' '.join(unit)}: {changed}")
        else:
            staying[unit] = rows
    return staying, reasons


def record(
    place: Staging, source: Source, spec: ModelSpec, before: Recipe, built_from: BuiltFrom, units: Iterable[UnitName]
) -> str | None:
    """Write what the release is made of, so that the next deploy can tell what has changed.

    `before` is `key.recipe` from before the build. Nothing is written where it or `built_from` do not tell what was
    really used; returned is why.
    """
    described = relocated(source.model_copy(update={"builder": None}), place.release, Path())
    (place.release / SOURCE).mkdir(exist_ok=True)
    (place.release / DESCRIBED).write_text(described.model_dump_json(indent=1) + "\n")
    reads, drawn_for = built_from
    if reads is None:
        return "a file of the model was changed while it was built"
    for was, now in zip(before, key.recipe(spec), strict=True):
        if different := key.difference(was, now):
            return f"{different} while the model was deployed"
    made_of = Key(
        source=before.source,
        reads=reads,
        drawn_for=drawn_for,
        variants={"/".join(unit): key.variant(spec, unit, before, reads) for unit in units},
        release=before.release,
    )
    (place.release / KEY).write_text(made_of.model_dump_json(indent=1) + "\n")
    return None


def _other_draw(recorded: Key, spec: ModelSpec) -> str | None:
    """Golden's inputs are drawn to differ by far more than the widest tolerance; another one may want others."""
    if recorded.drawn_for is None or recorded.drawn_for == inputs.widest(spec):
        return None
    return "the widest tolerance, for which golden inputs are drawn, has changed"


def _first(problems: Mapping[str, str], concern: Callable[[str], bool] = lambda name: True) -> str | None:
    """The first problem of a file that is of concern, for a person."""
    return next((f"{name} {problem}" for name, problem in problems.items() if concern(name)), None)


def _belongs(rows: Iterable[Row], name: str) -> bool:
    return any(files.belongs(name, row) for row in rows)


def _is_source(name: str) -> bool:
    return name in _OF_THE_SOURCE or name.partition("/")[0] in (SOURCE, SAVED_MODEL)
