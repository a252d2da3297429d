"""What int8 files of small trained models lose, by what they were calibrated on; a table on stdout.

Each model of `trained.SCALES` is trained on scikit-learn's data, seeded, and taken through build, conversion and check three
times: calibrated on training data, on what is made where no data is given, and on standard normal numbers.
"""

import tempfile
from pathlib import Path

import samples
import trained

from converters.reference import golden

KINDS = {"real": "representative", "made": None, "normal": "noise"}
"""What is calibrated on -> the function of the model's module that returns it."""


def line(name: str, kind: str) -> str:
    """One row of the table."""
    representative = KINDS[kind]
    fields = {"representative": f"tiny.py:{representative}"} if representative else {}
    evaluation = {"data": "tiny.py:evaluation", "samples": 360, "max_drop": 1.0}
    with tempfile.TemporaryDirectory() as folder:
        spec = samples.write_spec(Path(folder), trained.code(name), evaluation=evaluation, **fields)
        sample = samples.build(spec, Path(folder))
        (row,) = samples.converted(sample, "tflite", "int8").check()
        (data,) = golden.load(sample.source.golden).data.values()
        found = {check.name: check for check in row.checks if check.name in ("metric", "snr")}
    metric, snr = found.get("metric"), found.get("snr")
    what = data if kind == "made" else kind
    if metric is None or "metric" not in metric.figures:
        return f"| {name} | {what} | {row.status}: {row.reason} | |"
    return f"| {name} | {what} | {metric.figures['metric']:.4f} | {snr.measured if snr else None} | {metric.detail} |"


def main() -> None:
    """Print the table."""
    print(
        "| model | calibrated on | accuracy | snr on golden, dB | live |\n| --- | --- | --- | --- | --- |", flush=True
    )
    for name in trained.SCALES:
        for kind in KINDS:
            print(line(name, kind), flush=True)


if __name__ == "__main__":
    main()
