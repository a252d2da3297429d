"""What is known of a release's files, as those who use them meet it: which take what, in which dtype and shape, and give what."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.config.spec import ModelSpec
from converters.contract.preprocessing import Preprocessing
from converters.contract.values import DEFAULT_SIGNATURE, Ends, Scale, Signature, TensorSpec
from converters.reference.golden import Golden
from converters.reference.observed import ObservedTensor
from converters.release.explain import example
from converters.release.explain.example import Example, Size
from converters.release.manifest import Manifest, Row
from converters.targets.registry import TARGETS
from converters.targets.serving import wire

_FLEX = "with select ops"
"""How the runtime is called that a TF Lite file with select TF ops is checked in."""
_DYNAMIC = re.compile(
    r'"op":\s*"(?:Switch|Merge|Enter|Exit|NextIteration|StatelessIf|StatelessWhile|If|While|NonMaxSuppressionV[2345]|Where|'
    r'HashTable(?:V2)?|LookupTable\w+|TensorList\w+|TensorArray\w+)"'
)
"""Ops for which tensorflow.js wants `executeAsync` (tfjs-converter/src/executor/graph_executor.ts)."""
_COLOURS = (1, 3, 4)
_WHITE = 255.0


@dataclass(frozen=True)
class Scaling:
    """What a caller's pixels or other raw values become: (raw - mean) / std by channel. A guess is made of what was seen."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    guessed: bool = False


@dataclass(frozen=True)
class Image:
    """The sizes of an input that may be a picture; None where they are free. `batched` has a dimension for the batch."""

    height: int | None
    width: int | None
    channels: int
    batched: bool


@dataclass(frozen=True)
class Port:
    """An input or output as a file has it: `dtype` and `shape` are the file's, `sample` the shape that the example has.

    `seen` is from where to where golden's values are, and `scale` what integers of a file's ends stand for.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    sample: tuple[int, ...]
    seen: tuple[float, float] | None = None
    scale: Scale | None = None
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] = ()
    given: bool = False

    @property
    def numbers(self) -> str:
        """The dtype of what a caller gives, which integers may stand for."""
        return "float32" if self.scale is not None else self.dtype

    @property
    def shown(self) -> str:
        """float32 [n, 8, 8, 1]"""
        if self.shape is None:
            return f"{self.numbers} of any rank"
        sizes = ["?" if size is None else str(size) for size in self.shape]
        if self.shape and self.shape[0] is None:
            sizes[0] = "n"
        return f"{self.numbers} [{', '.join(sizes)}]"

    @property
    def range(self) -> str:
        """From where to where its values were, for a person; empty where nothing is known."""
        return "" if self.seen is None else f"{self.seen[0]:.4g} to {self.seen[1]:.4g}"

    @property
    def image(self) -> Image | None:
        """Its sizes, where it may be a picture: [n, height, width, channels], or that without n."""
        if self.shape is None or len(self.shape) not in (3, 4) or self.numbers not in ("float32", "int32", "uint8"):
            return None
        height, width, channels = self.shape[-3:]
        batched = len(self.shape) == 4
        if channels not in _COLOURS or 1 in (height, width) or (batched and self.shape[0] not in (None, 1)):
            return None
        return Image(height, width, int(channels or 0), batched)

    @property
    def scaling(self) -> Scaling | None:
        """What the config says, or what pixels of 0 to 255 need to lie where a user's own samples did; None for nothing."""
        told = self.preprocessing
        if told is not None and (told.mean or told.std):
            return Scaling(tuple(told.mean or (0.0,)), tuple(told.std or (1.0,)))
        if (told is not None and told.description) or self.image is None or self.seen is None or not self.given:
            return None
        least, greatest = self.seen
        if least >= 0 and 0 < greatest <= 1:
            return Scaling((0.0,), (_WHITE,), guessed=True)
        return Scaling((_WHITE / 2,), (_WHITE / 2,), guessed=True) if -1 <= least < 0 < greatest <= 1 else None


@dataclass(frozen=True)
class Call:
    """One signature of a file. `rest` says which input or output JSON cannot carry to TF Serving."""

    key: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    example: Example
    rest: str | None = None
    asynchronous: bool = False

    @property
    def ports(self) -> tuple[Port, ...]:
        """Both sides."""
        return (*self.inputs, *self.outputs)

    @property
    def has_text(self) -> bool:
        """Whether strings go in or come out."""
        return any(port.dtype == "string" for port in self.ports)

    @property
    def image(self) -> Port | None:
        """The only input, where it may be a picture."""
        return self.inputs[0] if len(self.inputs) == 1 and self.inputs[0].image is not None else None


@dataclass(frozen=True)
class File:
    """What a runtime is given: a file or folder of a target, with the signatures that it has. `lacking` are those it has not."""

    target: str
    variant: str
    path: str
    rows: tuple[Row, ...]
    calls: tuple[Call, ...]
    lacking: tuple[Row, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every row of it did."""
        return all(row.status == "passed" for row in self.rows)

    @property
    def flex(self) -> bool:
        """Whether it needs TensorFlow's own ops beside TF Lite's."""
        return any(_FLEX in runtime for row in self.rows for runtime in row.runtimes())

    @property
    def fixed(self) -> bool:
        """Whether it takes inputs of one size alone."""
        return any(row.shapes is not None for row in self.rows)

    @property
    def integers(self) -> bool:
        """Whether integers stand for numbers at its ends."""
        return any(port.scale is not None for call in self.calls for port in call.ports)

    @property
    def sizes_known(self) -> bool:
        """Whether no size is free, which is what LiteRT.js takes."""
        return all(port.shape is not None and None not in port.shape for call in self.calls for port in call.ports)

    @property
    def library(self) -> str:
        """The Keras that ran it."""
        return next((name for row in self.rows for name in row.runtimes()), "").partition(" ")[0] or "tf_keras"


def files(root: Path, manifest: Manifest, spec: ModelSpec, told: Golden) -> list[File]:
    """Every file that is in the release, in the manifest's order. Writes the requests and answers of their examples."""
    source = manifest.source.signatures
    kept = {key: cases for key, cases in told.cases.items() if key in source and cases}
    plain = {key: example.write(root, key, cases) for key, cases in kept.items()}
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in manifest.targets:
        if row.path is not None:
            groups.setdefault((row.target, row.variant, row.path), []).append(row)
    made = []
    for (target, variant, path), rows in groups.items():
        calls = []
        for row in rows:
            if row.signature not in plain:
                continue
            key = row.signature
            signature = _fixed(source[key], row)
            apart = told.apart.get(key, False)
            sides = (source[key], signature)
            of = example.write_sized(root, key, kept[key], plain[key], sides, apart=apart) if row.shapes else plain[key]
            if of is not None:
                inputs, outputs = ports(manifest, spec, row, signature, of.shapes)
                asynchronous = target == "tfjs" and variant != "layers" and _dynamic(root / path)
                calls.append(Call(key, inputs, outputs, of, wire.not_in_json(signature), asynchronous))
        lacking = [row for row in manifest.targets if row.unit == rows[0].unit and row.path is None]
        made.append(File(target, variant, path, tuple(rows), tuple(_default_first(calls)), tuple(lacking)))
    return made


def _default_first(calls: Sequence[Call]) -> list[Call]:
    return sorted(calls, key=lambda call: call.key != DEFAULT_SIGNATURE)


def _fixed(signature: Signature, row: Row) -> Signature:
    """The signature as the row's file has it."""
    if row.shapes is None:
        return signature
    inputs = {n: s.model_copy(update={"shape": row.shapes.get(n, s.shape)}) for n, s in signature.inputs.items()}
    batch = next((spec.shape[0] for spec in inputs.values() if spec.shape), None) if signature.dynamic_batch else None

    def sized(spec: TensorSpec) -> TensorSpec:
        return spec.model_copy(update={"shape": (batch, *(spec.shape or ())[1:])}) if spec.dynamic_batch else spec

    return Signature(inputs=inputs, outputs={name: sized(spec) for name, spec in signature.outputs.items()})


def ports(
    manifest: Manifest, spec: ModelSpec, row: Row, signature: Signature, shapes: tuple[Size, Size]
) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of a row's file, whose signature is this; `shapes` are those of an example."""
    ends = row.quantized or Ends()
    observed = manifest.observed.get(row.signature or "")
    given = any(other.signature == row.signature and other.data == "given" for other in manifest.targets)
    sides = (
        (signature.inputs, observed.inputs if observed else {}, ends.inputs, shapes[0]),
        (signature.outputs, observed.outputs if observed else {}, ends.outputs, shapes[1]),
    )

    def port(
        name: str, tensor: TensorSpec, seen: Mapping[str, ObservedTensor], scale: Scale | None, size: Size
    ) -> Port:
        about = seen.get(name)
        limits = (
            None if about is None or about.least is None or about.greatest is None else (about.least, about.greatest)
        )
        return Port(
            name=name,
            dtype=scale.dtype if scale is not None else TARGETS[row.target].holds(tensor.dtype),
            shape=tensor.shape,
            sample=size[name],
            seen=limits,
            scale=scale,
            preprocessing=spec.preprocessing.get(name),
            labels=spec.labels.get(name, ()),
            given=given,
        )

    inputs, outputs = (
        tuple(port(name, tensor, seen, scales.get(name), sizes) for name, tensor in specs.items())
        for specs, seen, scales, sizes in sides
    )
    return inputs, outputs


def _dynamic(model: Path) -> bool:
    return bool(_DYNAMIC.search(model.read_text(errors="replace")))
