"""Labelled evaluation data: the metric of the live model and of every target, each run in its own runtime.

A release keeps what it takes to measure again: `evaluation.npz`, in golden's format, with the cases of two keys, `calls`
(inputs, and the live model's outputs for them) and `labels`; and, where the metric is the user's own function, a copy of
its file as `metric.py`. The function is only ever run from that copy, so one that needs other files of its folder fails
when it is deployed and not when it is checked elsewhere.
"""

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from converters.contract.errors import BadInput, BuilderFailed, Damaged
from converters.contract.layout import EVALUATION, METRIC
from converters.contract.settings import ACCURACY, EvaluationSpec, GoldenSpec, Limits
from converters.contract.values import DEFAULT_SIGNATURE, Case, Frozen, Signature, Tensors
from converters.formats import dtypes
from converters.processes import userland
from converters.processes.child import run
from converters.reference import golden, measure
from converters.reference.golden import Golden

_CALLS, _LABELS = "calls", "labels"


class EvaluationRecord(Frozen):
    """What the manifest says of it: the metric, and what the live model reaches on all samples."""

    metric: str
    better: Literal["higher", "lower"]
    signature: str
    output: str | None
    samples: int
    live: float
    data: str


@dataclass(frozen=True)
class Evaluation:
    """Labelled data of one release, read back. `metric` is the copy of the user's file, if the metric is theirs.

    `withheld` says why that is not to be run, if it is not.
    """

    spec: EvaluationSpec
    signature: str
    output: str | None
    calls: list[Case]
    labels: np.ndarray[Any, Any]
    metric: Path | None
    withheld: str | None = None

    def first(self, samples: int | None) -> "Evaluation":
        """The calls with no more samples than this (but at least one call)."""
        if samples is None or samples >= len(self.labels):
            return self
        taken, left = [], samples
        for call in self.calls:
            size = self._size(call)
            taken.append(call if size <= max(1, left) else _cut(call, left))
            left -= min(size, left)
            if not left:
                break
        labels = self.labels[: samples - left]
        return replace(self, calls=taken, labels=labels)

    def in_sizes(self, signature: Signature, fixed: Signature) -> "Evaluation | None":
        """The same in calls of fixed sizes; None where there are too few samples for one, or of other sizes."""
        cases = [golden.joined(self.calls)] if signature.dynamic_batch else self.calls
        calls = golden.in_sizes(cases, signature, fixed, apart=True, whole=True)
        samples = sum(call.batch for call in calls) if signature.dynamic_batch else len(calls)
        return replace(self, calls=calls, labels=self.labels[:samples]) if calls else None

    def _size(self, call: Case) -> int:
        return 1 if len(self.calls) == len(self.labels) else call.batch

    def score(self, outputs: Sequence[Tensors], limits: Limits | None) -> float:
        """The metric of these outputs, one for each call. The user's function runs in a child, or without limits here.

        Raises:
            BadInput: the outputs do not fit the labels, or the user's function raised; ChildFailed: it did not return.
        """
        together = {name: _joined([given[name] for given in outputs], len(self.labels)) for name in outputs[0]}
        if self.metric is None:
            assert self.output is not None
            try:
                return measure.accuracy(together[self.output], self.labels)
            except ValueError as error:
                raise BadInput(f"evaluation: output {self.output!r}: {error}") from error
        try:
            arguments = (self.metric, self.spec.name, together, self.labels)
            return _theirs(*arguments) if limits is None else run(_theirs, *arguments, limits=limits).value
        except BuilderFailed as error:
            where = f"it is run from its copy in the release, without the other files of {self.spec.metric}'s folder"
            raise BadInput(f"evaluation.metric: {error}; {where}") from error

    def live(self, limits: Limits | None) -> float:
        """The metric of the live model's recorded outputs. Raises as `score`."""
        return self.score([call.outputs for call in self.calls], limits)

    def record(self, limits: Limits) -> EvaluationRecord:
        """For the manifest. Raises as `score`."""
        digest = hashlib.sha256()
        for array in [*(value for call in self.calls for _, value in sorted(call.inputs.items())), self.labels]:
            digest.update(f"{array.dtype.name}{array.shape}".encode() + dtypes.content(array))
        return EvaluationRecord(
            metric=self.spec.name,
            better=self.spec.better,
            signature=self.signature,
            output=self.output,
            samples=len(self.labels),
            live=self.live(limits),
            data=f"sha256:{digest.hexdigest()}",
        )


def record(
    spec: EvaluationSpec,
    base: Path,
    signatures: Mapping[str, Signature],
    call: Callable[[str, Tensors], Tensors],
    out_dir: Path,
    data: Mapping[str, Any],
) -> None:
    """Run the live model (`call`, with a signature's key) on `data`, inputs and labels, and write all into `out_dir`.

    Raises:
        BadInput: the data, the signature, the output or the metric do not fit; names the config's field.
    """
    key, output = chosen(spec, signatures)
    labels = _labels(data, spec)
    everything = GoldenSpec(samples=max(2, spec.samples))
    inputs = golden.from_data(data, key, signatures[key], everything, f"evaluation.data ({spec.data})")
    if signatures[key].dynamic_batch:
        inputs = list(_batches(inputs[0], spec.batch, spec.samples))
        samples = sum(len(next(iter(given.values()))) for given in inputs)
    else:
        inputs = inputs[: spec.samples]
        samples = len(inputs)
    total = len(np.asarray(data[next(iter(signatures[key].inputs))]))
    if len(labels) != total:
        raise BadInput(f"evaluation.data ({spec.data}) gives {len(labels)} labels for {total} samples")
    labels = labels[:samples]
    calls = [Case(inputs=given, outputs=call(key, given)) for given in inputs]
    cases = {_CALLS: calls, _LABELS: [Case(inputs={}, outputs={_LABELS: labels})]}
    golden.save(Golden(cases=cases), out_dir / EVALUATION)
    metric = None
    if spec.metric != ACCURACY:
        source, _ = userland.split(spec.metric, base, "evaluation.metric")
        metric = Path(shutil.copyfile(source, out_dir / METRIC))
    # Here already, so that a metric that cannot be computed at all is bad input and not a red row.
    live = Evaluation(spec, key, output, calls, labels, metric).live(None)
    if not np.isfinite(live):
        raise BadInput(f"evaluation.metric ({spec.metric}) is {live} for the live model; it must be a finite number")


def load(
    release: Path, spec: EvaluationSpec | None, signatures: Mapping[str, Signature], withheld: str | None = None
) -> Evaluation | None:
    """What `record` wrote into a release; None where the config asks for none. `withheld`: why a metric of its own is not
    to be run.

    Raises:
        Damaged: the files are missing or cannot be read.
    """
    if spec is None:
        return None
    key, output = chosen(spec, signatures)
    cases = golden.load(release / EVALUATION).cases
    try:
        labels = cases[_LABELS][0].outputs[_LABELS]
        calls = cases[_CALLS]
    except (KeyError, IndexError) as error:
        raise Damaged(f"{release / EVALUATION} holds no labelled data: {error} is missing") from error
    metric = release / METRIC if spec.metric != ACCURACY else None
    if metric is not None and not metric.is_file():
        raise Damaged(f"{metric} is missing, and with it the metric {spec.name!r}")
    return Evaluation(spec, key, output, calls, labels, metric, withheld if metric is not None else None)


def chosen(spec: EvaluationSpec, signatures: Mapping[str, Signature]) -> tuple[str, str | None]:
    """The signature and output that are evaluated; no output is chosen for a metric that gets all of them. Raises BadInput."""
    key = spec.signature or (next(iter(signatures)) if len(signatures) == 1 else DEFAULT_SIGNATURE)
    if key not in signatures:
        raise BadInput(f"evaluation.signature: the model has no {key!r}; choose from {', '.join(sorted(signatures))}")
    outputs = signatures[key].outputs
    if spec.output is not None and spec.output not in outputs:
        raise BadInput(f"evaluation.output: {key!r} has no {spec.output!r}; choose from {', '.join(sorted(outputs))}")
    if spec.output is None and spec.metric == ACCURACY and len(outputs) > 1:
        raise BadInput(f"evaluation.output: {key!r} has {', '.join(sorted(outputs))}; say which one the labels are for")
    return key, spec.output or (next(iter(outputs)) if len(outputs) == 1 else None)


def _labels(data: Mapping[str, Any], spec: EvaluationSpec) -> np.ndarray[Any, Any]:
    labels = np.asarray(data[spec.labels])
    if labels.ndim == 0:
        raise BadInput(f"evaluation.data ({spec.data}): {spec.labels!r} must have one label for each sample")
    return dtypes.as_dtype(labels, "string") if dtypes.dtype_name(labels) == "string" else labels


def _cut(call: Case, samples: int) -> Case:
    """The first samples of a batch."""
    inputs = {name: value[:samples] for name, value in call.inputs.items()}
    batched = {name for name, value in call.outputs.items() if value.ndim and len(value) == call.batch}
    return Case(inputs=inputs, outputs={n: v[:samples] if n in batched else v for n, v in call.outputs.items()})


def _batches(inputs: Tensors, batch: int, samples: int) -> Iterator[Tensors]:
    total = min(samples, len(next(iter(inputs.values()))))
    for start in range(0, total, batch):
        yield {name: value[start : min(start + batch, total)] for name, value in inputs.items()}


def _joined(arrays: Sequence[np.ndarray[Any, Any]], samples: int) -> np.ndarray[Any, Any]:
    """The outputs of all calls along the first dimension: the batches', or one element for each call of one sample."""
    if all(array.ndim for array in arrays) and sum(len(array) for array in arrays) == samples:
        return np.concatenate(arrays)
    return np.stack(arrays) if len({array.shape for array in arrays}) == 1 else np.array([*arrays, None], object)[:-1]


def _theirs(path: Path, function: str, outputs: Tensors, labels: np.ndarray[Any, Any]) -> float:
    """Call the user's metric, from its copy; nothing is written beside that."""
    sys.dont_write_bytecode = True
    metric = getattr(userland.load(path), function, None)
    if not callable(metric):
        raise BadInput(f"evaluation.metric: {path} has no function {function!r}")
    value = userland.guarded(path, lambda: metric(outputs, labels))
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise BadInput(f"evaluation.metric: {function} returned {type(value).__name__}; return a number") from error
