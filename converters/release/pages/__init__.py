"""Pages of HTML, by Jinja: whatever a model says is text in them."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import jinja2

from converters.release import figures
from converters.release.manifest import Row


def render(template: str, **values: Any) -> str:
    """A page, complete in one file."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> jinja2.Environment:
    """Which keeps what it has compiled."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("converters.release", "pages"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {**figures.FILTERS, "worst": _worst}
    return made


def _worst(rows: Sequence[Row]) -> Row:
    """Of one file's rows, that of the signature that loses most."""
    return min(rows, key=lambda row: (row.status == "passed", row.figure("snr_db") or float("inf")))
