"""A release whose steps took a known time, and a clock of the test's own."""

import os
from pathlib import Path

from converters.release.manifest import Manifest, Row, SourceRecord


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def released(releases: Path, model: str = "toy") -> None:
    """A current release that took 10 s to build, 2 to export, and 8 + 4 for each of two variants."""
    took = {"convert": 8.0, "check": 4.0}
    rows = [
        Row(target="tflite", variant=variant, signature=key, status="passed", seconds=took)
        for variant in ("float32", "int8")
        for key in ("a", "b")
    ]
    source = SourceRecord(kind="module", digest="sha256:0", signatures={}, seconds={"build": 10.0, "export": 2.0})
    manifest = Manifest(
        model=model, version=1, status="passed", created="2026-01-01T00:00:00Z", seconds=30.0, source=source,
        environment={}, targets=rows,
    )  # fmt: skip
    (releases / model / "1").mkdir(parents=True)
    (releases / model / "1" / "manifest.json").write_text(manifest.to_json())
    os.symlink("1", releases / model / "current")
