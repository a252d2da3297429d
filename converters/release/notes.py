"""What a person should know of a release that nothing speaks against."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.config.spec import ModelSpec
from converters.contract.target import Variant
from converters.contract.values import Case, Data
from converters.reference.observed import extremes
from converters.release.manifest import Row
from converters.targets.registry import TARGETS

MOST_NAMED = 3


def of_inputs(spec: ModelSpec, rows: Sequence[Row], cases: Mapping[str, Sequence[Case]]) -> list[str]:
    """A sentence for the signatures whose inputs nobody gave: what is not known for that, and what to do.

    Nothing is said where no variant loses anything: what is exact is compared with them as well as with any.
    """
    lossy = [row for row in rows if row.path is not None and row.data != "given" and _variant(row).quality is not None]
    kinds: dict[Data, list[str]] = {}
    for row in lossy:
        if row.data is not None and row.signature is not None:
            kinds.setdefault(row.data, []).append(row.signature)
    return [_sentence(spec, kind, [r for r in lossy if r.data == kind], cases) for kind in kinds]


def _sentence(spec: ModelSpec, kind: Data, rows: Sequence[Row], cases: Mapping[str, Sequence[Case]]) -> str:
    keys = list(dict.fromkeys(row.signature or "" for row in rows))
    titles = list(dict.fromkeys(row.unit.title for row in rows))
    calibrated = list(dict.fromkeys(row.unit.title for row in rows if _variant(row).calibrated))
    ranges = [text for key in keys for text in _ranges(cases.get(key, ()))]
    shown = ", ".join(dict.fromkeys(ranges[:MOST_NAMED])) + (", ..." if len(ranges) > MOST_NAMED else "")
    also = (
        f", and {_listed(calibrated)} {'was' if len(calibrated) == 1 else 'were'} calibrated on them"
        if calibrated
        else ""
    )
    return (
        f"inputs were {_HOW[kind]} ({shown}), not given: what {_listed(titles)} would lose on your data is not known{also}; "
        f"{_remedy(spec)}"
    )


_HOW: Mapping[Data, str] = {
    "given": "given",
    "fitted": "fitted to the statistics in the model",
    "drawn": "drawn at random",
}


def _remedy(spec: ModelSpec) -> str:
    if not spec.by_path:
        return f"give samples of it as 'golden.data' in {spec.name}.yaml"
    path = Path(spec.model)
    here = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"give samples of it: fanout deploy {shlex.quote(str(here))} --data PATH"


def _ranges(cases: Iterable[Case]) -> list[str]:
    """For each input that holds numbers, from where to where."""
    values: dict[str, list[np.ndarray[Any, Any]]] = {}
    for case in cases:
        for name, value in case.inputs.items():
            values.setdefault(name, []).append(value)
    told = []
    for name, arrays in values.items():
        if (ends := extremes(arrays)) is not None:
            told.append(f"{name} from {ends[0]:.3g} to {ends[1]:.3g}")
        elif arrays[0].dtype.kind not in "iuf":
            told.append(f"{name} of {arrays[0].dtype if arrays[0].dtype != object else 'text'}")
    return told


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _variant(row: Row) -> Variant:
    return TARGETS[row.target].variant(row.variant)
