"""CSV and TSV: a row is a sample; columns go to inputs by name, or in order.

An input of n elements takes the columns NAME_0 to NAME_(n-1), or NAME[0] and so on; one of a single element takes NAME.
Where the header names no input, or there is none, the columns that are no labels are those of the only input.
"""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.config.data import Located
from converters.contract.values import Signature, TensorSpec
from converters.formats.dtypes import Array, numpy_dtype, objects
from converters.source.data.asked import Asked, Read, fitted, numbers_of, sample_shape, sampled, stacked

_BOOLS = {"0": False, "1": True, "false": False, "true": True}


@dataclass(frozen=True)
class _Row:
    line: int
    cells: list[str]


@dataclass
class _Table:
    """The rows to read, and the names of the columns where there are any. `classes` are all labels that were seen."""

    asked: Asked
    names: list[str] | None
    rows: list[_Row]
    labels: int | None
    classes: set[str]

    def title(self, column: int) -> str:
        """A column's, for messages."""
        return repr(self.names[column]) if self.names else str(column + 1)

    def features(self) -> list[int]:
        """The columns that are no labels."""
        width = len(self.names) if self.names else len(self.rows[0].cells)
        return [column for column in range(width) if column != self.labels]


def read(located: Located, asked: Asked) -> Read:
    """Inputs, and labels where they are asked for, of at most so many rows. Raises BadInput."""
    table = _table(located.path, asked)
    chosen = {key: columns for key in asked.signatures if (columns := _named(table, key)) is not None}
    said: list[str] = []
    if not chosen:
        chosen, said = _in_order(table)
    tensors = {
        key: {name: _array(table, key, name, columns) for name, columns in inputs.items()}
        for key, inputs in chosen.items()
    }
    if not asked.labelled:
        return Read(tensors, None, tuple(said))
    if table.labels is None:
        raise asked.fail(f" has no column {asked.labels!r}; it has {', '.join(table.names or ['no header'])}")
    labels, sentence = _labels(table, table.labels)
    return Read(tensors, labels, (*said, *([sentence] if sentence else [])))


def _table(path: Path, asked: Asked) -> _Table:
    rows = _rows(path, asked)
    first = next(rows, None)
    if first is None:
        raise asked.fail(" is empty")
    names = [cell.strip() for cell in first.cells] if _is_header(first.cells, asked) else None
    labels = names.index(asked.labels) if names and asked.labels in names else None
    if names is None and asked.labelled and _one_more_than_an_input(len(first.cells), asked):
        labels = len(first.cells) - 1
    classes: set[str] = set()

    def all_rows() -> Iterator[_Row]:
        for row in rows if names else [first, *rows]:
            if labels is not None and labels < len(row.cells):
                classes.add(row.cells[labels].strip())
            yield row

    kept = sampled(all_rows(), asked.most)
    if not kept:
        raise asked.fail(" has a header and no rows")
    width = len(first.cells)
    for row in kept:
        if len(row.cells) != width:
            raise asked.fail(f", line {row.line}: it has {len(row.cells)} cells in place of {width}")
    return _Table(asked, names, kept, labels, classes)


def _rows(path: Path, asked: Asked) -> Iterator[_Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            start = file.readline()
            file.seek(0)
            counts = {each: start.count(each) for each in ("\t" if path.suffix.lower() == ".tsv" else ",", ";", "\t")}
            reader = csv.reader(file, delimiter=max(counts, key=lambda each: counts[each]))
            for cells in reader:
                if cells:
                    yield _Row(reader.line_num, cells)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise asked.fail(f" cannot be read as CSV: {error}") from error


def _is_header(cells: Sequence[str], asked: Asked) -> bool:
    """Whether the first row names columns: an input or the labels, or else nothing in it is a number."""
    inputs = [(name, spec) for each in asked.signatures.values() for name, spec in each.inputs.items()]
    names = {cell.strip() for cell in cells}
    if asked.labels in names or any(_index(name, cell) is not None for name, _ in inputs for cell in names):
        return True
    if any(spec.dtype == "string" for _, spec in inputs):
        return False
    return not any(_is_number(cell) for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _index(name: str, column: str) -> int | None:
    """Which element of an input a column is; -1 is all of it."""
    if column == name:
        return -1
    found = re.fullmatch(rf"{re.escape(name)}(?:_(\d+)|\[(\d+)\])", column)
    return int(found[1] or found[2]) if found else None


def _elements(signature: Signature, name: str) -> int | None:
    """How many columns an input takes; None where it takes as many as there are."""
    spec = signature.inputs[name]
    if spec.shape is None or None in (shape := sample_shape(spec, signature)):
        return None
    return math.prod(size for size in shape if size is not None)


def _one_more_than_an_input(width: int, asked: Asked) -> bool:
    return any(
        _elements(signature, name) == width - 1
        for signature in asked.signatures.values()
        if len(signature.inputs) == 1
        for name in signature.inputs
    )


def _named(table: _Table, key: str) -> dict[str, list[int]] | None:
    """The columns of every input of a signature, in order; None where the header names none of them."""
    asked, signature = table.asked, table.asked.signatures[key]
    names = table.names or []
    found = {
        name: {index: column for column, title in enumerate(names) if (index := _index(name, title)) is not None}
        for name in signature.inputs
    }
    if not any(found.values()):
        return None
    columns: dict[str, list[int]] = {}
    for name, known in found.items():
        count = _elements(signature, name)
        if -1 in known and count in (1, None):
            columns[name] = [known[-1]]
            continue
        known.pop(-1, None)
        wanted = range(max(known, default=-1) + 1 if count is None else count)
        missing = [index for index in wanted if index not in known]
        if missing or not wanted:
            title = name if count == 1 else f"{name}_{missing[0] if missing else 0}"
            raise asked.fail(f" has no column {title!r} for signature {key!r}; it has {', '.join(names)}")
        columns[name] = [known[index] for index in wanted]
    return columns


def _in_order(table: _Table) -> tuple[dict[str, dict[str, list[int]]], list[str]]:
    """The columns that are no labels, for each signature that has one input of as many elements."""
    asked, features = table.asked, table.features()
    numeric = [column for column in features if _is_number(table.rows[0].cells[column])]
    chosen: dict[str, dict[str, list[int]]] = {}
    said: list[str] = []
    wanted: list[str] = []
    for key, signature in asked.signatures.items():
        if len(signature.inputs) != 1:
            continue
        (name,) = signature.inputs
        count = _elements(signature, name)
        if count in (None, len(features)):
            chosen[key] = {name: features}
        elif count == len(numeric):
            chosen[key] = {name: numeric}
            left = ", ".join(table.title(column) for column in features if column not in numeric)
            said.append(f"column {left} is no number, and left out")
        wanted.append(f"input {name!r} of {key!r} takes {count}")
    if not wanted:
        raise asked.fail(f" names no input in its header; the inputs by signature are {asked.inputs()}")
    if not chosen:
        raise asked.fail(
            f" has {len(features)} columns beside {asked.labels!r}, but {'; '.join(wanted)}; name them in the header, "
            "as NAME_0, NAME_1 and so on"
        )
    if table.names:
        said.append("the header names no input, so columns are taken in order")
    return chosen, list(dict.fromkeys(said))


def _array(table: _Table, key: str, name: str, columns: Sequence[int]) -> Array:
    asked, signature = table.asked, table.asked.signatures[key]
    spec = signature.inputs[name]
    samples = []
    for row in table.rows:
        values = _values([_cell(table, row, column, spec) for column in columns], spec.dtype)
        sample = values if spec.shape is None else fitted(values, sample_shape(spec, signature))
        if sample is None:
            raise asked.fail(f" gives {len(columns)} columns for input {name!r} of shape {_shown(spec)}")
        samples.append(sample)
    return stacked(samples, asked, name)


def _shown(spec: TensorSpec) -> str:
    return str(list(spec.shape or ()))


def _values(cells: list[Any], dtype: str) -> Array:
    return objects(cells) if dtype == "string" else np.array(cells)


def _cell(table: _Table, row: _Row, column: int, spec: TensorSpec) -> Any:
    """A cell as a value of an input's dtype. Raises BadInput where it is none, or not finite."""
    text = row.cells[column].strip()
    kind = "O" if spec.dtype == "string" else numpy_dtype(spec.dtype).kind
    try:
        if kind == "O":
            return row.cells[column].encode()
        if kind == "b":
            return _BOOLS[text.lower()]
        if kind in "iu":
            return int(text) if text.lstrip("+-").isdigit() else _whole(float(text))
        number = complex(text) if kind == "c" else float(text)
        if not np.isfinite(number):
            raise ValueError(text)
        return number
    except (ValueError, KeyError, OverflowError):
        what = repr(text) if text else "an empty cell"
        raise table.asked.fail(
            f", line {row.line}, column {table.title(column)}: {what} is no {'finite ' if kind not in 'biu' else ''}{spec.dtype}"
        ) from None


def _whole(number: float) -> int:
    if number != int(number):
        raise ValueError(number)
    return int(number)


def _labels(table: _Table, column: int) -> tuple[Array, str | None]:
    texts = [row.cells[column].strip() for row in table.rows]
    if "" in texts:
        line = table.rows[texts.index("")].line
        raise table.asked.fail(f", line {line}, column {table.title(column)}: an empty cell is no label")
    if not all(map(_is_number, table.classes)):
        return numbers_of(texts, table.classes, table.asked)
    numbers = np.array([float(text) for text in texts])
    if not np.isfinite(numbers).all():
        line = table.rows[int(np.argmin(np.isfinite(numbers)))].line
        raise table.asked.fail(f", line {line}, column {table.title(column)}: a label is not finite")
    whole = numbers.astype(np.int64)
    return (whole if np.array_equal(whole, numbers) else numbers), None
