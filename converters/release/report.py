"""report.html: one page a person can read, with nothing fetched from anywhere."""

from functools import cache
from pathlib import Path

import jinja2

from converters.contract.layout import log_of
from converters.release import figures
from converters.release.manifest import Manifest


@cache
def _pages() -> jinja2.Environment:
    """Which keeps what it has compiled."""
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("converters.release", ""), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    pages.filters |= figures.FILTERS
    return pages


def render(manifest: Manifest, description: str, root: Path) -> str:
    """The page, complete in one file. `root` is the release's directory, in which converters' logs are looked for."""
    logs = [[log_of(row.target, row.variant, work) for work in ("convert", "layers")] for row in manifest.targets]
    present = [[log for log in of_row if (root / log).is_file()] for of_row in logs]
    return _pages().get_template("report.html.j2").render(
        manifest=manifest, description=description, logs=present,
        classifies=any(row.figure("top1") is not None for row in manifest.targets),
    )  # fmt: skip
