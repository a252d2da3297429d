"""Runs `fanout check` on mutated releases, and shows of each mutant that is not caught what it computes instead.

A mutant is a copy of one artifact of a release, changed by one of `mutations`, with a manifest whose digests were
rewritten to match. It is

- caught: a row of it is not passed any more;
- equal: it is not caught, and on random legal inputs that golden does not hold it returns the original's bits;
- within: likewise, but for differences within the row's tolerance;
- a hole: it is not caught, and differs by more than the tolerance on a legal input.

An input is legal for an artifact if the model may be given it, and the original is within tolerance of the model there:
a quantized file is not made for inputs beyond the ranges that it was calibrated on.
"""

import io
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import mutations
import numpy as np
from mutations import Written
from rich.console import Console
from rich.table import Table

from converters.config.spec import ModelSpec
from converters.contract import layout
from converters.contract.layout import CONFIG, GOLDEN, SAVED_MODEL
from converters.contract.settings import Tolerance
from converters.contract.values import Artifact, Case, Prediction, Signature, Tensors
from converters.processes import child
from converters.reference import golden, measure
from converters.reference.golden import Golden
from converters.release import files, manifest
from converters.release.manifest import Manifest, Row
from converters.steps.recheck import recheck
from converters.targets.registry import TARGETS

COMPUTING = frozenset(
    {
        *("weights zeroed", "bit flipped", "sign changed", "weights shifted", "channel zeroed", "weights swapped"),
        *("scale changed", "zero point changed", "activation changed", "operands swapped", "outputs swapped"),
        *("older file", "another's file", "wrong shard", "shards reordered", "layer order changed", "asset changed"),
    }
)
"""Kinds that change what is computed, if anything. One of another kind must be caught whatever it computes."""

Legal = Callable[[np.random.Generator], dict[str, Tensors]]
"""Draws many inputs that the model may be given, by signature."""


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant. `outcome` is caught, equal, within or hole."""

    target: str
    variant: str
    kind: str
    what: str
    outcome: str
    detail: str


@dataclass(frozen=True)
class Mutant:
    """A mutated release: its directory, and the rows of its manifest by the signature that each is of."""

    written: Written
    release: Path
    rows: dict[str | None, str | None]


def examine(
    release: Path,
    place: Path,
    pool: ThreadPoolExecutor,
    legal: Legal,
    *,
    seed: int = 0,
    older: Path | None = None,
    share: int = 1,
) -> list[Outcome]:
    """Every mutant of every artifact of a release; with `share`, that part of them, spread over all kinds."""
    written = manifest.read(release)
    known = dict.fromkeys((row.target, row.variant) for row in written.targets if row.path is not None)

    def of(number: int, key: tuple[str, str]) -> list[Outcome]:
        found = child.run(mutations.write, release, *key, place, seed, older).value[number % share :: share]
        made = [_mutant(written, release, *key, one) for one in found]
        outcomes = _judged(made, written, release, key, place, legal, seed)
        for mutant in made:
            shutil.rmtree(mutant.release)
        return outcomes

    return [outcome for found in pool.map(of, range(len(known)), known) for outcome in found]


def _mutant(written: Manifest, release: Path, target: str, variant: str, one: Written) -> Mutant:
    """Make the copy a release of that artifact alone, beside the SavedModel that it was made of."""
    for name in (GOLDEN, CONFIG):
        shutil.copy(release / name, one.folder / name)
    if not (one.folder / SAVED_MODEL).exists():
        shutil.copytree(release / SAVED_MODEL, one.folder / SAVED_MODEL)
    rows = [row for row in written.targets if (row.target, row.variant) == (target, variant) and row.path]
    write_manifest(written, rows, one.folder)
    return Mutant(one, one.folder, {row.signature: row.signature for row in rows})


def write_manifest(written: Manifest, rows: Sequence[Row], folder: Path) -> None:
    """A manifest of these rows, with the digests of what is there."""
    fresh = written.model_copy(update={"targets": list(rows), "files": files.record_files(folder)})
    (folder / layout.MANIFEST).write_text(fresh.sealed().to_json())


def compose(
    parts: Sequence[tuple[Path, Sequence[Row]]], place: Path
) -> tuple[Path, dict[tuple[int, str | None], str | None]]:
    """One release that holds the rows of several, each under a signature key of its own.

    tensorflow.js starts a Node and a Chromium for each check, and runs in them whatever a release has. Returns its
    directory, and the new key by (number of the part, key).
    """
    place.mkdir()
    first = manifest.read(parts[0][0])
    signatures: dict[str, Signature] = {}
    cases: dict[str, list[Case]] = {}
    rows, keys = [], {}
    for number, (folder, own) in enumerate(parts):
        reference, known = golden.load(folder / GOLDEN), manifest.read(folder).source.signatures
        shutil.copytree(folder, place / str(number), dirs_exist_ok=True)
        for row in own:
            key = f"{row.signature}@{number}"
            keys[number, row.signature] = key
            signatures[key], cases[key] = known[row.signature or ""], reference.cases[row.signature or ""]
            rows.append(row.model_copy(update={"signature": key, "path": f"{number}/{row.path}"}))
    golden.save(Golden(cases=cases), place / GOLDEN)
    shutil.copy(parts[0][0] / CONFIG, place / CONFIG)
    source = first.source.model_copy(update={"signatures": signatures})
    write_manifest(first.model_copy(update={"source": source}), rows, place)
    return place, keys


def _judged(
    made: Sequence[Mutant],
    written: Manifest,
    release: Path,
    key: tuple[str, str],
    place: Path,
    legal: Legal,
    seed: int,
) -> list[Outcome]:
    # What is lossy is compared with the SavedModel of its release, so it cannot be checked in another's.
    apart = key[0] != "tfjs" or TARGETS[key[0]].variant(key[1]).quality is not None
    red = [_red_rows(manifest.read(m.release), recheck(m.release)) for m in made] if apart else None
    if red is None:
        folder, keys = compose([(m.release, manifest.read(m.release).targets) for m in made], place / "-".join(key))
        rows = {row.signature: row for row in recheck(folder).targets}
        red = [
            {s: rows[keys[n, s]].reason or "" for s in m.rows if rows[keys[n, s]].status != "passed"}
            for n, m in enumerate(made)
        ]
        shutil.rmtree(folder)
    spec = ModelSpec.model_validate_json((release / CONFIG).read_bytes())
    tolerance = (
        spec.targets[key[0]].of(spec.targets[key[0]].tolerance, key[1]) or TARGETS[key[0]].variant(key[1]).tolerance
    )
    shown = _Shown(written, release, key, legal, seed, tolerance)
    unseen = [(m, s) for m, found in zip(made, red, strict=True) for s in m.rows if s not in found]
    differences = shown.of([(m.release, s) for m, s in unseen])
    outcomes = []
    for mutant, found in zip(made, red, strict=True):
        left = [d for (m, _), d in zip(unseen, differences, strict=True) if m is mutant]
        kind, what = mutant.written.kind, mutant.written.what
        if kind not in COMPUTING:
            outcome, detail = ("caught", next(iter(found.values()))) if found else ("hole", "not caught")
        elif any(d.outcome == "hole" for d in left):
            outcome, detail = next((d.outcome, d.detail) for d in left if d.outcome == "hole")
        elif found:
            outcome, detail = "caught", next(iter(found.values()))
        else:
            outcome = "equal" if all(d.outcome == "equal" for d in left) else "within"
            detail = "; ".join(d.detail for d in left)
        outcomes.append(Outcome(*key, kind, what, outcome, detail))
    return outcomes


def _red_rows(before: Manifest, after: Manifest) -> dict[str | None, str]:
    return {row.signature: row.reason or "" for row in after.targets if row.status != "passed"}


@dataclass(frozen=True)
class Difference:
    """What a mutant that was not caught computes: equal, within or hole."""

    outcome: str
    detail: str


class _Shown:
    """Runs the original and mutants on random inputs, and the SavedModel for what the model itself computes."""

    def __init__(
        self,
        written: Manifest,
        release: Path,
        key: tuple[str, str],
        legal: Legal,
        seed: int,
        tolerance: Tolerance,
    ) -> None:
        self.written, self.release, self.key = written, release, key
        self.tolerance = tolerance
        self.inputs = legal(np.random.default_rng(seed + 1000))

    def of(self, mutants: Sequence[tuple[Path, str | None]]) -> list[Difference]:
        """A difference for each mutant's signature."""
        originals = {s: (self.release, s) for _, s in mutants if s is not None}
        found = self._run([*originals.values(), *mutants], *self.key)
        references = dict(zip(originals, self._run(list(originals.values()), "saved_model", "default"), strict=True))
        known = dict(zip(originals, found, strict=False))
        return [
            Difference("hole", "a weights file is compared byte by byte")
            if s is None
            else self._compare(references[s], known[s], got, self.written.source.signatures[s])
            for (_, s), got in zip(mutants, found[len(originals) :], strict=True)
        ]

    def _run(self, places: Sequence[tuple[Path, str | None]], target: str, variant: str) -> list[Prediction]:
        paths = {r.signature: r.path for r in self.written.targets if (r.target, r.variant) == (target, variant)}
        converter = TARGETS[target]
        artifacts = [
            Artifact(target=target, variant=variant, signature=s, path=root / (paths[s] or ""))
            for root, s in places
            if s
        ]
        cases = {s: [self.inputs[s]] for _, s in places if s}
        if not artifacts:
            return []
        structure = child.run(converter.inspect, artifacts[0]).value
        runtime = converter.runtime(structure.runtimes[0])
        if target == "tfjs":
            return list(child.run(runtime.run, artifacts, cases, 600.0, fresh=runtime.fresh).value)
        return [child.run(runtime.run, [a], cases, 600.0, fresh=runtime.fresh).value[0] for a in artifacts]

    def _compare(self, reference: Prediction, known: Prediction, got: Prediction, signature: Signature) -> Difference:
        if got.error is not None:
            return Difference("hole", f"it fails on random inputs: {got.error}")
        largest, equal = 0.0, True
        for name in signature.outputs:
            want, original, mutant = (p.outputs[0][name] for p in (reference, known, got))
            equal = equal and mutant.tobytes() == original.tobytes()
            inexact = want.dtype.kind == "f"
            limit = self.tolerance.error if inexact else self.tolerance.mismatch
            scale = measure.scale_of([want])
            changes = [
                measure.measure(o, m, scale)
                for w, o, m in zip(want, original, mutant, strict=True)
                if not inexact or measure.measure(w, o, scale) <= limit
            ]
            worst = float(np.mean(changes)) if not inexact else max(np.nan_to_num(changes, nan=np.inf), default=0.0)
            largest = max(largest, worst / limit if limit else worst)
            if worst > limit:
                return Difference("hole", f"{name} is off by {worst:.3g} on a legal input, limit {limit:g}")
        if equal:
            return Difference("equal", f"the same bits for {len(want)} random inputs")
        return Difference("within", f"{largest:.2g} of the tolerance at most for {len(want)} random inputs")


def table(outcomes: Sequence[Outcome]) -> Table:
    """Mutation x target: caught / all, and of those not caught how many are equal or within tolerance."""
    columns = list(dict.fromkeys((o.target, o.variant) for o in outcomes))
    made = Table(box=None, header_style="bold", pad_edge=False)
    made.add_column("mutation")
    for target, variant in columns:
        made.add_column(f"{target}\n{variant if variant != 'default' else ''}", justify="right")
    for kind in dict.fromkeys(o.kind for o in outcomes):
        cells = []
        for column in columns:
            found = Counter(o.outcome for o in outcomes if (o.target, o.variant) == column and o.kind == kind)
            others = [f"{found[n]} {n}" for n in ("equal", "within", "hole") if found[n]]
            cells.append(", ".join([f"{found['caught']}/{found.total()}", *others]) if found else "")
        made.add_row(kind, *cells)
    total = Counter(o.outcome for o in outcomes)
    made.caption = f"{len(outcomes)} mutants: " + ", ".join(f"{n} {name}" for name, n in total.most_common())
    return made


def show(outcomes: Sequence[Outcome]) -> str:
    """The table as text."""
    console = Console(width=220, file=io.StringIO())
    console.print(table(outcomes))
    return str(console.file.getvalue())


def holes(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each."""
    return [f"{o.target} {o.variant}: {o.kind} ({o.what}): {o.detail}" for o in outcomes if o.outcome == "hole"]


def by_outcome(outcomes: Sequence[Outcome]) -> Mapping[str, int]:
    """How many there are of each."""
    return Counter(o.outcome for o in outcomes)
