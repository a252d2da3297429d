"""A conversion, or the check of one, as a unit of work: here, or as plain data on another machine.

Files travel by digest through a `store.Store`. The other machine lays them out as they are here, by the same names
below a directory of its own; it then does what would be done here, and whatever it wrote goes back the same way.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from converters.config.spec import ModelSpec
from converters.contract.errors import Damaged
from converters.contract.values import Frozen, Source
from converters.processes import resident
from converters.reference import golden, labelled
from converters.release.manifest import Row, files_of
from converters.release.publish import Staging
from converters.source.watch import Reads
from converters.steps import check as checking
from converters.steps import convert as converting
from converters.steps import key
from converters.steps.convert import Conversion
from converters.steps.store import Store

T = TypeVar("T")
Step = Literal["convert", "check"]

_RELEASE = "release"
_BASE = "base"
"""Holds what the model's Python consists of, which some targets import."""
_HERE = Path()


def convert(source: Source, target: str, variant: str, root: Path, spec: ModelSpec) -> Conversion:
    """Convert below ROOT/release, `root` being laid out as a `release.Staging`'s. Nothing the converter does raises here."""
    return converting.convert(source, target, variant, root / _RELEASE, spec)


def check(conversion: Conversion, source: Source, root: Path, spec: ModelSpec) -> list[Row]:
    """Check what was converted there. What its child processes print goes to `check_log`. Raises Damaged."""
    release = root / _RELEASE
    return checking.check(
        conversion,
        source.signatures,
        golden.load(source.golden),
        spec.targets[conversion.target],
        spec.limits,
        release,
        spec.golden.constant,
        spec.classifiers,
        labelled.load(release, spec.evaluation, source.signatures),
        log=root / check_log(conversion.target, conversion.variant),
    )


def check_log(target: str, variant: str) -> str:
    """Where the log of a check is, below a staging directory."""
    return f"check-{target}-{variant}.log"


class Unit(Frozen):
    """What another machine is told. Paths are relative to a directory laid out as a staging directory.

    `files` are to be there, by SHA-256. `need_mb` is the memory that it will take. `tools` is this machine's `key.tools`.
    """

    step: Step
    target: str
    variant: str
    spec: ModelSpec
    source: Source
    conversion: Conversion | None
    files: dict[str, str]
    store: str
    need_mb: float
    tools: dict[str, str]


class Done(Frozen):
    """What it answers: the conversion, or the rows, and the files that were written, by SHA-256."""

    conversion: Conversion | None = None
    rows: list[Row] = []
    files: dict[str, str] = {}


def to_convert(
    source: Source, target: str, variant: str, place: Staging, spec: ModelSpec, reads: Reads | None, need_mb: float,
    store: Store,
) -> Unit:  # fmt: skip
    """The unit that converts, its files stored. `reads` is what the build of the model read. Raises StoreFailed."""
    used = [source.saved_model, source.golden, source.keras_file, source.representative]
    files = {str(p.relative_to(place.root)): p for path in used if path is not None for p in files_of(path)}
    builder, imported = _python(source, spec, reads)
    moved = relocated(source.model_copy(update={"builder": None}), place.root, _HERE)
    return Unit(
        step="convert",
        target=target,
        variant=variant,
        spec=spec,
        source=moved.model_copy(update={"builder": builder}),
        conversion=None,
        files={name: store.put(path) for name, path in (files | imported).items()},
        store=store.url,
        need_mb=need_mb,
        tools=key.tools(),
    )


def to_check(
    conversion: Conversion, source: Source, place: Staging, spec: ModelSpec, need_mb: float, store: Store
) -> Unit:
    """The unit that checks, its files stored. Raises StoreFailed."""
    used = [source.saved_model, source.golden, place.release / labelled.DATA, place.release / labelled.METRIC]
    used += [artifact.path for artifact in conversion.artifacts if artifact.path is not None]
    files = {str(p.relative_to(place.root)): p for path in used if path.exists() for p in files_of(path)}
    return Unit(
        step="check",
        target=conversion.target,
        variant=conversion.variant,
        spec=spec,
        source=relocated(source.model_copy(update={"builder": None}), place.root, _HERE),
        conversion=relocated(conversion, place.root, _HERE),
        files={name: store.put(path) for name, path in files.items()},
        store=store.url,
        need_mb=need_mb,
        tools=key.tools(),
    )


def do(unit: Unit, root: Path, cache: Path) -> Done:
    """On the other machine: do the unit in the empty directory `root`. Files fetched stay in `cache` for the next one.

    Raises:
        StoreFailed, Damaged: the files could not be exchanged as they are.
    """
    store, near = Store(unit.store), Store(str(cache))
    for name, wanted in unit.files.items():
        _fetch(wanted, below(root, name), store, near)
    (root / _RELEASE).mkdir(exist_ok=True)
    source = relocated(unit.source, _HERE, root)
    conversion, rows = None, []
    if unit.conversion is None:
        made = convert(source, unit.target, unit.variant, root, unit.spec)
        conversion = relocated(made, root, _HERE)
    else:
        with resident.keeping():
            rows = check(relocated(unit.conversion, _HERE, root), source, root, unit.spec)
    written = {str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()}
    new = {n: store.put(p) for n, p in written.items() if n not in unit.files and not n.startswith(f"{_BASE}/")}
    return Done(conversion=conversion, rows=rows, files=new)


def receive(done: Done, root: Path, store: Store) -> Done:
    """Fetch what was written elsewhere to where it would have been written here. Raises StoreFailed, Damaged."""
    for name, wanted in done.files.items():
        store.get(wanted, below(root, name))
    conversion = None if done.conversion is None else relocated(done.conversion, _HERE, root)
    return done.model_copy(update={"conversion": conversion})


def relocated(value: T, old: Path, new: Path) -> T:
    """The value with every path in it, all of which are below `old`, below `new` in its place."""
    found: Any = value
    if isinstance(found, Path):
        found = new / found.relative_to(old)
    elif isinstance(found, Frozen):
        found = found.model_copy(update={n: relocated(getattr(found, n), old, new) for n in type(found).model_fields})
    elif isinstance(found, Mapping):
        found = {name: relocated(item, old, new) for name, item in found.items()}
    elif isinstance(found, list | tuple):
        found = type(found)(relocated(item, old, new) for item in found)
    return found  # type: ignore[no-any-return]


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
        if there != here:
            return f"{name} is {there or 'missing'} there and {here or 'missing'} here"
    return None


def _fetch(wanted: str, target: Path, store: Store, near: Store) -> None:
    """Through the cache, whose files are verified as any store's."""
    if near.holds(wanted):
        near.get(wanted, target)
    else:
        store.get(wanted, target)
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
