"""A unit of work as plain data, for another machine.

Files travel by digest through a `store.Store`. The other machine lays them out as they are here, by the same names
below a directory of its own; it then does what would be done here, and whatever it wrote goes back the same way.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from converters.config.spec import ModelSpec
from converters.contract.errors import Damaged
from converters.contract.layout import EVALUATION, METRIC, check_log
from converters.contract.values import Frozen, Source
from converters.processes import resident
from converters.release.files import files_of
from converters.release.manifest import Row
from converters.source.watch import Reads
from converters.steps import key
from converters.steps.check import check
from converters.steps.convert import Conversion, convert
from converters.steps.store import Store
from converters.steps.unit import Unit, relocated

_BASE = "base"
"""Holds what the model's Python consists of, which some targets import."""
_HERE = Path()


class Parcel(Frozen):
    """What another machine is told: to convert the unit, or to check its `conversion`.

    Paths are relative to a directory laid out as a staging directory. `files` are to be there, by SHA-256. `need_mb` is the
    memory that it will take. `tools` is this machine's `key.tools`.
    """

    unit: Unit
    conversion: Conversion | None
    files: dict[str, str]
    store: str
    need_mb: float
    tools: dict[str, str]

    @property
    def step(self) -> Literal["convert", "check"]:
        """Which of the two."""
        return "convert" if self.conversion is None else "check"


class Done(Frozen):
    """What it answers: the conversion, or the rows, and the files that were written, by SHA-256."""

    conversion: Conversion | None = None
    rows: list[Row] = []
    files: dict[str, str] = {}


def to_convert(unit: Unit, reads: Reads | None, need_mb: float, store: Store) -> Parcel:
    """What converts the unit, its files stored. `reads` is what the build of the model read. Raises StoreFailed."""
    source = unit.source
    used = [source.saved_model, source.golden, source.keras_file, source.representative]
    builder, imported = _python(source, unit.spec, reads)
    return _parcel(unit, None, [path for path in used if path is not None], need_mb, store, builder, imported)


def to_check(unit: Unit, conversion: Conversion, need_mb: float, store: Store) -> Parcel:
    """What checks the unit, its files stored. Raises StoreFailed."""
    used = [unit.source.saved_model, unit.source.golden, unit.release / EVALUATION, unit.release / METRIC]
    used += [artifact.path for artifact in conversion.artifacts if artifact.path is not None]
    return _parcel(unit, conversion, [path for path in used if path.exists()], need_mb, store)


def _parcel(
    unit: Unit,
    conversion: Conversion | None,
    used: Sequence[Path],
    need_mb: float,
    store: Store,
    builder: Path | None = None,
    imported: Mapping[str, Path] | None = None,
) -> Parcel:
    root = unit.release.parent
    files = {str(path.relative_to(root)): path for each in used for path in files_of(each)} | dict(imported or {})
    plain = unit.model_copy(update={"source": unit.source.model_copy(update={"builder": None}), "log": None})
    moved = _relocated_unit(plain, root, _HERE)
    source = moved.source.model_copy(update={"builder": builder})
    return Parcel(
        unit=moved.model_copy(update={"source": source}),
        conversion=None if conversion is None else relocated(conversion, root, _HERE),
        files={name: store.put(path) for name, path in files.items()},
        store=store.url,
        need_mb=need_mb,
        tools=key.tools(),
    )


def do(parcel: Parcel, root: Path, cache: Path) -> Done:
    """On the other machine: do the unit in the empty directory `root`. Files fetched stay in `cache` for the next one.

    Raises:
        StoreFailed, Damaged: the files could not be exchanged as they are.
    """
    store, near = Store(parcel.store), Store(str(cache))
    for name, digest in parcel.files.items():
        _fetch(digest, below(root, name), store, near)
    unit = _relocated_unit(parcel.unit, _HERE, root)
    unit.release.mkdir(exist_ok=True)
    conversion, rows = None, []
    if parcel.conversion is None:
        conversion = relocated(convert(unit), root, _HERE)
    else:
        with resident.keeping():
            logged = unit.model_copy(update={"log": root / check_log(unit.target, unit.variant)})
            rows = check(logged, relocated(parcel.conversion, _HERE, root))
    written = {str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()}
    new = {n: store.put(p) for n, p in written.items() if n not in parcel.files and not n.startswith(f"{_BASE}/")}
    return Done(conversion=conversion, rows=rows, files=new)


def receive(done: Done, root: Path, store: Store) -> Done:
    """Fetch what was written elsewhere to where it would have been written here. Raises StoreFailed, Damaged."""
    for name, digest in done.files.items():
        store.get(digest, below(root, name))
    conversion = None if done.conversion is None else relocated(done.conversion, _HERE, root)
    return done.model_copy(update={"conversion": conversion})


def _relocated_unit(unit: Unit, old: Path, new: Path) -> Unit:
    """But for the spec, whose paths are the user's own."""
    places = {name: relocated(getattr(unit, name), old, new) for name in ("source", "release", "log")}
    return unit.model_copy(update=places)


def below(root: Path, name: str) -> Path:
    """ROOT/NAME. Raises Damaged where the name leads out of it."""
    path = root / name
    if Path(name).is_absolute() or ".." in path.parts:
        raise Damaged(f"a file named {name!r} came from another machine; it is no place in {root}")
    return path


def difference(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str | None:
    """What keeps two machines with these `key.tools` from making the same, for a person; None where nothing does."""
    for name in [*ours, *theirs]:
        there, here = theirs.get(name), ours.get(name)
        if there != here and name.startswith("the "):
            return f"{name} is another there"
        if there != here and name.startswith("$"):  # only its digest is known, since a value may be a secret
            return f"{name} is {_set(there)} there and {_set(here, another=there is not None)} here"
        if there != here:
            return f"{name} is {there or 'missing'} there and {here or 'missing'} here"
    return None


def _fetch(digest: str, target: Path, store: Store, near: Store) -> None:
    """Through the cache, whose files are verified as any store's."""
    if near.holds(digest):
        near.get(digest, target)
    else:
        store.get(digest, target)
        near.put(target)


def _python(source: Source, spec: ModelSpec, reads: Reads | None) -> tuple[Path | None, dict[str, Path]]:
    """Where the builder will be, and the files below its folder that it was made of, by where they will be."""
    if source.builder is None:
        return None, {}
    base = spec.base.resolve()
    home = base if base in source.builder.parents else source.builder.parent
    used: Sequence[Path] = [source.builder, *(base / name for name in (reads.files if reads else ()))]
    files = {f"{_BASE}/{path.relative_to(home)}": path for path in used if home in path.parents and path.is_file()}
    return Path(_BASE) / source.builder.relative_to(home), files


def _set(value: str | None, *, another: bool = False) -> str:
    return "not set" if value is None else "set to something else" if another else "set"
