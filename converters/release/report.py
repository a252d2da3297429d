"""report.html: one page by which a person decides, with nothing fetched from anywhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from converters.config.spec import ModelSpec
from converters.contract.layout import log_of
from converters.contract.values import Case
from converters.release import pages, plots, samples
from converters.release.explain.programs import Part
from converters.release.manifest import Manifest


def render(
    manifest: Manifest,
    spec: ModelSpec,
    cases: Mapping[str, Sequence[Case]],
    root: Path,
    before: Sequence[Manifest] = (),
    uses: Sequence[Part] = (),
) -> str:
    """The page, complete in one file. `root` is the release's directory, in which converters' logs are looked for.

    `cases` are golden's by signature, `before` the releases of the model that were made before, the newest first, and
    `uses` the code that USAGE.md has for each kind of file.
    """
    logs = [[log_of(row.target, row.variant, work) for work in ("convert", "layers")] for row in manifest.targets]
    known = {
        **dict.fromkeys(manifest.source.signatures),
        **dict.fromkeys(row.signature or "" for row in manifest.targets),
    }
    return pages.render(
        "report.html.j2",
        manifest=manifest,
        spec=spec,
        logs=[[log for log in of_row if (root / log).is_file()] for of_row in logs],
        keys=list(known),
        numbers={row.identity: number for number, row in enumerate(manifest.targets)},
        classifies=any(row.figure("top1") is not None for row in manifest.targets),
        choice=plots.size_against_loss(manifest),
        latencies=plots.latencies(manifest),
        uses=uses,
        samples=samples.shown(manifest, cases, spec.labels),
        earlier=[manifest, *before] if before else [],
        course=plots.history([*reversed(before), manifest]),
    )
