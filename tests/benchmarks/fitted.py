"""What int8 files of small trained models lose, by what they were calibrated on; a table on stdout.

Each model of `trained.SCALES` is trained on scikit-learn's data, seeded, and taken through build, conversion and check three
times: calibrated on training data, on what is made where no data is given, and on standard normal numbers.
"""

import tempfile
from pathlib import Path

import samples
import trained

from converters.contract.values import Artifact
from converters.reference import golden, labelled, measure
from converters.targets.tflite import check

KINDS = {"real": "representative", "made": None, "normal": "noise"}
"""What is calibrated on -> the function of the model's module that returns it."""


def line(name: str, kind: str) -> str:
    """One row of the table: what the deployed file answers on the held-back samples against the live model."""
    representative = KINDS[kind]
    fields = {"representative": f"tiny.py:{representative}"} if representative else {}
    evaluation = {"data": "tiny.py:evaluation", "samples": 360, "max_drop": 1.0}
    with tempfile.TemporaryDirectory() as folder:
        spec = samples.write_spec(Path(folder), trained.code(name), evaluation=evaluation, **fields)
        sample = samples.build(spec, Path(folder))
        held = labelled.load(sample.source.golden.parent, spec.evaluation, sample.source.signatures)
        assert held is not None
        assert held.output is not None
        path = samples.converted(sample, "tflite", "int8").path
        artifact = Artifact(target="tflite", variant="int8", signature=held.signature, path=path)
        (prediction,) = check.run_litert([artifact], {held.signature: [call.inputs for call in held.calls]}, 600.0)
        assert prediction.error is None, prediction.error
        wanted = [call.outputs[held.output] for call in held.calls]
        got = [outputs[held.output] for outputs in prediction.outputs]
        centre = sum(answer.sum(axis=0) for answer in wanted) / len(held.labels)
        figures = measure.fidelity(wanted, got, centres=dict.fromkeys(range(len(wanted)), centre))
        (data,) = golden.load(sample.source.golden).data.values()
        what = data if kind == "made" else kind
        return f"| {name} | {what} | {held.score(prediction.outputs, None):.3f} | {figures['snr_db']:.0f} | {held.live(None):.3f} |"


def main() -> None:
    """Print the table."""
    print("| model | calibrated on | accuracy | snr, dB | live accuracy |\n| --- | --- | --- | --- | --- |", flush=True)
    for name in trained.SCALES:
        for kind in KINDS:
            print(line(name, kind), flush=True)


if __name__ == "__main__":
    main()
