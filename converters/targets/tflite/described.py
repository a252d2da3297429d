"""What a file says of itself to whoever loads it: TensorFlow Lite Metadata, which Android Studio, MediaPipe and others read.

The format is tensorflow_lite_support/metadata/metadata_schema.fbs: a flatbuffer of its own among the file's metadata, and
files that it names in a zip archive at the file's end. Only the tables that are used here are written.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converters.contract.preprocessing import Preprocessing
from converters.contract.values import Case, Source
from converters.reference.observed import extremes
from converters.targets.tflite import flatbuffer

NAME = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
_PARSER = "1.0.0"
"""The oldest version of the format that has what is written here."""
_FEATURE, _IMAGE = 1, 2
"""ContentProperties: numbers of any kind, and a picture's."""
_COLOURS: Mapping[str | None, int] = {"rgb": 1, "grayscale": 2}
"""ColorSpaceType, which has no word for blue, green and red."""
_NORMALIZATION = 1
"""ProcessUnitOptions."""
_AXIS_LABELS = 2
"""AssociatedFileType: a name for each element of the last dimension, one a line."""
_ZEROS = (1980, 1, 1, 0, 0, 0)


def described(content: bytes, source: Source, cases: Mapping[str, Sequence[Case]]) -> bytes:
    """The file with the model's name, description and version, of each input and output its name and observed range, and of
    inputs what raw values become: a text, (raw - mean) / std, and the order of colours.

    `cases` are golden's by signature, in which ranges are observed. Labels of outputs are the archive's files.
    """
    model = flatbuffer.parse(content)
    writer = _Writer()
    subgraphs: list[int | None] = [None] * len(model.subgraphs)
    files: dict[str, Sequence[str]] = {}
    for key, definition in flatbuffer.definitions(model).items():
        sides = [
            _Side(
                definition.inputs,
                model.subgraphs[definition.subgraphIndex].inputs,
                _ranges(cases.get(key, ()), "inputs"),
            ),
            _Side(
                definition.outputs,
                model.subgraphs[definition.subgraphIndex].outputs,
                _ranges(cases.get(key, ()), "outputs"),
            ),
        ]
        labels = {name: source.labels[name] for name in sides[1].names if name in source.labels}
        files |= {_file(name): lines for name, lines in labels.items()}
        subgraphs[definition.subgraphIndex] = writer.subgraph(key, sides, labels, source.preprocessing)
    model_table = writer.model(source, [each if each is not None else writer.table(10, {}) for each in subgraphs])
    flatbuffer.add_metadata(model, NAME, writer.finished(model_table))
    return _with_files(flatbuffer.pack(model), files)


class _Side:
    """A signature's inputs or outputs in the order of its subgraph's."""

    def __init__(self, entries: Any, order: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
        by_tensor = {int(entry.tensorIndex): entry.name.decode() for entry in entries or ()}
        self.names = [by_tensor.get(int(index), "") for index in (order if order is not None else ())]
        self.ranges = ranges


class _Writer:
    """Builds the flatbuffer. Offsets of tables are numbers; slots are those of the schema's fields, in their order."""

    def __init__(self) -> None:
        import flatbuffers

        self._builder = flatbuffers.Builder(1024)

    def model(self, source: Source, subgraphs: Sequence[int]) -> int:
        texts = {0: source.model, 1: source.description, 2: str(source.version), 7: _PARSER}
        return self.table(8, {**self._texts(texts), 3: self._vector(subgraphs)})

    def subgraph(
        self,
        key: str,
        sides: Sequence[_Side],
        labels: Mapping[str, Sequence[str]],
        preprocessing: Mapping[str, Preprocessing],
    ) -> int:
        given, returned = sides
        inputs = self._vector(
            [self._tensor(name, given.ranges.get(name), False, preprocessing.get(name)) for name in given.names]
        )
        outputs = self._vector(
            [self._tensor(name, returned.ranges.get(name), name in labels) for name in returned.names]
        )
        return self.table(10, {**self._texts({0: key}), 2: inputs, 3: outputs})

    def _tensor(
        self, name: str, seen: tuple[float, float] | None, labelled: bool, becomes: Preprocessing | None = None
    ) -> int:
        fields = self._texts({0: name, 1: "" if becomes is None else becomes.description})
        colour = None if becomes is None else _COLOURS.get(becomes.color)
        if colour is None:
            fields[3] = self.table(3, {1: self.table(0, {})}, {0: _FEATURE})
        else:
            fields[3] = self.table(3, {1: self.table(2, {}, {0: colour})}, {0: _IMAGE})
        if becomes is not None and becomes.std:
            mean, std = (
                self._builder.CreateNumpyVector(np.array(each, np.float32)) for each in (becomes.mean, becomes.std)
            )
            unit = self.table(2, {1: self.table(2, {0: mean, 1: std})}, {0: _NORMALIZATION})
            fields[4] = self._vector([unit])
        if seen is not None:
            low, high = (self._builder.CreateNumpyVector(np.array([number], np.float32)) for number in seen)
            fields[5] = self.table(2, {0: high, 1: low})
        if labelled:
            fields[6] = self._vector([self.table(5, self._texts({0: _file(name)}), {2: _AXIS_LABELS})])
        return self.table(7, fields)

    def table(self, slots: int, offsets: Mapping[int, int], small: Mapping[int, int] | None = None) -> int:
        """A table with these offsets, and numbers of one byte, by slot."""
        self._builder.StartObject(slots)
        for slot, offset in offsets.items():
            self._builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, number in (small or {}).items():
            self._builder.PrependUint8Slot(slot, number, 0)
        return int(self._builder.EndObject())

    def _texts(self, texts: Mapping[int, str]) -> dict[int, int]:
        return {slot: int(self._builder.CreateString(text)) for slot, text in texts.items() if text}

    def _vector(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return int(self._builder.EndVector())

    def finished(self, root: int) -> bytes:
        self._builder.Finish(root, file_identifier=_IDENTIFIER)
        return bytes(self._builder.Output())


def _file(output: str) -> str:
    """The archive's name for an output's labels."""
    plain = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in output)
    return f"{plain}_labels.txt"


def _ranges(cases: Sequence[Case], side: str) -> dict[str, tuple[float, float]]:
    """The least and greatest finite value of each input or output that holds numbers."""
    names = dict.fromkeys(name for case in cases for name in getattr(case, side))
    ends = {
        name: extremes(getattr(case, side)[name] for case in cases if name in getattr(case, side)) for name in names
    }
    return {name: each for name, each in ends.items() if each is not None}


def _with_files(content: bytes, files: Mapping[str, Sequence[str]]) -> bytes:
    if not files:
        return content
    whole = io.BytesIO(content)
    with zipfile.ZipFile(whole, "a") as archive:
        for name, lines in files.items():
            archive.writestr(zipfile.ZipInfo(name, _ZEROS), "\n".join(lines) + "\n")
    return whole.getvalue()


def told(model: Any) -> dict[str, Any] | None:
    """What is read of it: name, description, version, and by signature what is said of inputs and outputs; None without."""
    content = flatbuffer.metadata(model).get(NAME)
    if content is None:
        return None
    root = _Table.of(content)
    return {
        "name": root.text(0),
        "description": root.text(1),
        "version": root.text(2),
        "signatures": {
            each.text(0): {side: [_tensor(entry) for entry in each.tables(slot)] for side, slot in _SIDES.items()}
            for each in root.tables(3)
        },
    }


_SIDES = {"inputs": 2, "outputs": 3}


def _tensor(entry: "_Table") -> dict[str, Any]:
    stats = entry.table(5)
    told: dict[str, Any] = {"name": entry.text(0)}
    if stats is not None:
        told |= {"low": stats.numbers(1)[0], "high": stats.numbers(0)[0]}
    if labels := [each.text(0) for each in entry.tables(6)]:
        told["labels"] = labels[0]
    if (text := entry.text(1)) != "":
        told["preprocessing"] = text
    for unit in entry.tables(4):
        options = unit.table(1)
        if unit.byte(0) == _NORMALIZATION and options is not None:
            told |= {"mean": options.numbers(0), "std": options.numbers(1)}
    content = entry.table(3)
    properties = content.table(1) if content is not None and content.byte(0) == _IMAGE else None
    if properties is not None:
        told["color"] = {number: name for name, number in _COLOURS.items()}.get(properties.byte(0))
    return told


class _Table:
    """A table of a flatbuffer, its fields by slot."""

    def __init__(self, table: Any) -> None:
        self._table = table

    @classmethod
    def of(cls, content: bytes) -> "_Table":
        from flatbuffers import encode, packer, table

        return cls(table.Table(content, encode.Get(packer.uoffset, content, 0)))

    def text(self, slot: int) -> str:
        place = self._place(slot)
        return bytes(self._table.String(place)).decode() if place else ""

    def numbers(self, slot: int) -> list[float]:
        """A vector of float32."""
        place = self._place(slot)
        start, count = self._table.Vector(place - self._table.Pos), self._table.VectorLen(place - self._table.Pos)
        return [float(number) for number in np.frombuffer(self._table.Bytes, "<f4", count, start)]

    def byte(self, slot: int) -> int:
        """A number of one byte; 0 where the table has none."""
        place = self._place(slot)
        return int(self._table.Bytes[place]) if place else 0

    def table(self, slot: int) -> "_Table | None":
        from flatbuffers import table

        place = self._place(slot)
        return _Table(table.Table(self._table.Bytes, self._table.Indirect(place))) if place else None

    def tables(self, slot: int) -> "list[_Table]":
        from flatbuffers import table

        place = self._place(slot)
        if not place:
            return []
        start, count = self._table.Vector(place - self._table.Pos), self._table.VectorLen(place - self._table.Pos)
        places = [self._table.Indirect(start + 4 * number) for number in range(count)]
        return [_Table(table.Table(self._table.Bytes, each)) for each in places]

    def _place(self, slot: int) -> int:
        """Where a field is; 0 where the table has none."""
        offset = int(self._table.Offset(4 + 2 * slot))
        return offset + int(self._table.Pos) if offset else 0
