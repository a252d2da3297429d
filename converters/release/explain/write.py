"""Writing all that a release says of itself: what its files are given and return, programs, USAGE.md, the model card."""

import json
from pathlib import Path

from converters.config.spec import ModelSpec
from converters.contract.layout import CARD, LABELS, USAGE
from converters.reference.golden import Golden
from converters.release.explain import card, facts
from converters.release.explain.facts import Call
from converters.release.explain.programs import Part, Writer, parts
from converters.release.manifest import Manifest


def write(root: Path, manifest: Manifest, spec: ModelSpec, golden: Golden) -> list[Part]:
    """Write below the release's directory `root`, from rows that may have been made for another release, and golden.

    Returns the parts of USAGE.md. Needs no TensorFlow: what is known is in the manifest, golden and the files' names.
    """
    files = facts.files(root, manifest, spec, golden)
    signatures = _signatures(files)
    writer = Writer(manifest)
    explained = parts(writer, files)
    for program in (program for part in explained for program in part.programs if program.path is not None):
        (root / (program.path or "")).parent.mkdir(exist_ok=True)
        (root / (program.path or "")).write_text(program.text)
    if spec.labels:
        (root / LABELS).parent.mkdir(exist_ok=True)
        (root / LABELS).write_text(json.dumps(spec.labels, ensure_ascii=False) + "\n")
    told = {"signatures": signatures, "status": manifest.status}
    (root / USAGE).write_text(writer.text(USAGE, parts=explained, **told))
    text = writer.text(
        CARD, head=card.front_matter(manifest, spec, signatures), spec=spec, created=manifest.created[:10],
        evaluation=manifest.evaluation, notes=manifest.notes, rows=[row for row in manifest.targets if row.path is not None],
        **told,
    )  # fmt: skip
    (root / CARD).write_text(text)
    return explained


def _signatures(files: list[facts.File]) -> list[Call]:
    """Each of the model's own signatures, as the SavedModel has it."""
    first: dict[str, Call] = {}
    for file in sorted(files, key=lambda file: file.target != "saved_model"):
        for call in file.calls:
            first.setdefault(call.key, call)
    return list(first.values())
