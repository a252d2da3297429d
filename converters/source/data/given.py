"""What a config gives of inputs, put together: golden's, those to calibrate on, and labelled ones.

Real data are real data: golden takes its samples from `representative` where it has none of its own, and what is given
for golden alone is calibrated on too, also what golden does not keep.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from converters.config.spec import ModelSpec
from converters.contract.settings import EvaluationSpec, GoldenSpec
from converters.contract.values import Signature, Tensors
from converters.reference import golden, labelled
from converters.reference.drawing import SAMPLES
from converters.source.data import ranges, warmup
from converters.source.data.asked import LABELS, Asked, Expected, Read
from converters.source.data.reading import read
from converters.source.live import Live

CALIBRATION = 256
"""Samples that are read to calibrate on. 100 to 500 are usual (tensorflow.org/lite/performance/post_training_quantization)."""
_ALL = 1 << 30


class Given(NamedTuple):
    """Calls by signature, of those whose data are given; `said` and `folders` as in `Read`.

    `calibration` holds those to calibrate on, where they are others than golden's, or more.
    """

    golden: dict[str, list[Tensors]]
    calibration: dict[str, list[Tensors]]
    said: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()


def given(spec: ModelSpec, live: Live) -> Given:
    """Golden and calibration inputs of the config, or else a given SavedModel's own warmup requests. Raises BadInput."""

    def asked(field: str, reference: str, most: int, least: int) -> Asked:
        where, labels = f"{field} ({reference})", spec.evaluation.labels if spec.evaluation else LABELS
        return Asked(where, live.signatures, max(most, least), least, partial(ranges.expected, live), labels)

    kept = spec.golden.samples or SAMPLES
    own, other = spec.golden.data, spec.representative
    reference, field = (own, "golden.data") if own is not None else (other, "representative")
    if reference is None:
        found = warmup.of_model(live)
        return Given(*_calls(found, "its warmup requests", live.signatures, spec.golden, _ALL), found.said)
    both = own is not None and other is not None
    first = read(reference, spec.base, field, asked(field, reference, kept if both else CALIBRATION, kept))
    most = CALIBRATION if other is None else _ALL
    cases, calibration = _calls(first, f"{field} ({reference})", live.signatures, spec.golden, most)
    if not both or other is None:
        return Given(cases, calibration, first.said, first.folders)
    field = "representative"
    second = read(other, spec.base, field, asked(field, other, CALIBRATION, 1))
    _, calibration = _calls(second, f"{field} ({other})", live.signatures, GoldenSpec(samples=2), _ALL, always=True)
    said = tuple(dict.fromkeys((*first.said, *second.said)))
    return Given(cases, calibration, said, (*first.folders, *second.folders))


def labelled_data(
    spec: EvaluationSpec, base: Path, signatures: Mapping[str, Signature], expected: Expected
) -> tuple[dict[str, Any], Read]:
    """The inputs of the signature that is evaluated, and the labels by their name; and what was read. Raises BadInput."""
    key, output = labelled.chosen(spec, signatures)
    of_text = output is not None and signatures[key].outputs[output].dtype == "string"
    asked = Asked(
        where=f"evaluation.data ({spec.data})",
        signatures={key: signatures[key]},
        most=spec.samples,
        least=spec.samples,
        expected=expected,
        labels=spec.labels,
        labelled=True,
        numbered=not of_text,
    )
    found = read(spec.data, base, "evaluation.data", asked)
    return {**found.tensors[key], spec.labels: found.labels}, found


def _calls(
    found: Read,
    where: str,
    signatures: Mapping[str, Signature],
    spec: GoldenSpec,
    most: int,
    always: bool = False,
) -> tuple[dict[str, list[Tensors]], dict[str, list[Tensors]]]:
    """Golden's calls by signature, and those to calibrate on where they are more, or `always`."""
    cases, calibration = {}, {}
    for key, data in found.tensors.items():
        signature = signatures[key]
        cases[key] = golden.from_data(data, key, signature, spec, where)
        everything = golden.from_data(data, key, signature, GoldenSpec(samples=most), where)
        if always or _samples(everything, signature) > _samples(cases[key], signature):
            # The first call of a dynamic batch holds all samples.
            calibration[key] = everything[:1] if signature.dynamic_batch else everything
    return cases, calibration


def _samples(calls: list[Tensors], signature: Signature) -> int:
    return len(next(iter(calls[0].values()))) if signature.dynamic_batch else len(calls)
