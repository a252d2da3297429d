"""report.html: one page a person can read, with nothing fetched from anywhere."""

from collections.abc import Sequence

import jinja2

from converters.manifest import Manifest


def render(manifest: Manifest, refusals: Sequence[str], description: str = "") -> str:
    """The page, complete in one file."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("converters", "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    template = environment.get_template("report.html.j2")
    return template.render(manifest=manifest, refusals=refusals, description=description)
